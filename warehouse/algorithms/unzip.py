"""Unpack an untrusted ZIP file.

In: a file and an empty folder. Out: its files, without a common parent folder and without files
that file managers add. Symbolic links and paths outside of the folder are skipped; the unpacked
size is limited.
"""

from __future__ import annotations

import errno
import lzma
import posixpath
import shutil
import zipfile
import zlib
from typing import TYPE_CHECKING

from warehouse.errors import ValueRefused

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILES = 100_000
MAX_BYTES = 16 << 30
MAX_RATIO = 1000
"""Maximum ratio of unpacked to compressed size."""

MAX_DEPTH = 200
"""Maximum number of levels of folders."""

_OF_THE_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE,
    errno.ENFILE, errno.EFBIG,
}  # fmt: skip
"""Errors that do not come from the content of a ZIP file."""

_IGNORED = {".DS_Store", "desktop.ini"}


def unzip(source: Path, target: Path) -> list[str]:
    """Unpack a ZIP file into a folder.

    Returns
    -------
    list of str
        Paths of the written files, relative to ``target``.

    Raises
    ------
    ValueRefused
        It is damaged, or exceeds the limits.
    OSError
        The folder has no room for its files, or cannot be written.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if _is_safe_file(member)]
            size = sum(member.file_size for member in members)
            limit = min(MAX_BYTES, max(source.stat().st_size, 1024) * MAX_RATIO)
            if len(members) > MAX_FILES or size > limit:
                raise ValueRefused("the ZIP file has too many files or bytes when unpacked")  # noqa: TRY301
            if any(member.filename.count("/") > MAX_DEPTH for member in members):
                raise ValueRefused(  # noqa: TRY301
                    f"the folders of the ZIP file have more than {MAX_DEPTH} levels"
                )
            shared = _common_folder([member.filename for member in members])
            written = []
            for member in members:
                path = member.filename[len(shared) :]
                destination = target / path
                destination.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as file, destination.open("xb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                written.append(path)
            return written
    except ValueRefused:
        raise
    except OSError as error:
        # Names of members that are too long, or that are both file and folder, are the archive's.
        if error.errno in _OF_THE_DISK:
            raise
        raise ValueRefused("the ZIP file cannot be unpacked: it is damaged") from None
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError,
        ValueError, EOFError,
    ):  # fmt: skip
        raise ValueRefused("the ZIP file cannot be unpacked: it is damaged") from None


def _is_safe_file(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is a file to unpack: no link, no path outside, not ignored."""
    name = member.filename
    parts = name.split("/")
    is_link = member.external_attr >> 16 & 0o170000 == 0o120000
    if member.is_dir() or is_link or parts[-1] in _IGNORED or "__MACOSX" in parts:
        return False
    is_plain = posixpath.normpath(name) == name and not name.startswith("/") and "\\" not in name
    return is_plain and ".." not in parts and "\0" not in name


def _common_folder(names: list[str]) -> str:
    """Return the deepest folder common to all names, as ``folder/``; empty if there is none.

    >>> _common_folder(["a/b/c.txt", "a/b/d.txt"])
    'a/b/'
    """
    folders = [name.split("/")[:-1] for name in names]
    common = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) != 1:
            break
        common.append(parts[0])
    return "".join(f"{part}/" for part in common)
