"""Unpack an untrusted ZIP file.

In: a file and an empty folder. Out: its files, without the one folder that all share and without
what file managers add. Names that lead out of the folder are left out; bytes are bounded.
"""

from __future__ import annotations

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
"""Bytes that one byte of the file may become."""

_IGNORED = {".DS_Store", "desktop.ini"}


def unzip(source: Path, target: Path) -> list[str]:
    """Unpack a ZIP file.

    Returns
    -------
    list of str
        Paths of what was written, below ``target``.

    Raises
    ------
    ValueRefused
        It cannot be read, or is beyond the limits; nothing more is written from then on.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if _is_wanted(member)]
            size = sum(member.file_size for member in members)
            most = min(MAX_BYTES, max(source.stat().st_size, 1024) * MAX_RATIO)
            if len(members) > MAX_FILES or size > most:
                raise ValueRefused("the ZIP file unpacks to more than it may")  # noqa: TRY301
            shared = _shared([member.filename for member in members])
            written = []
            for member in members:
                path = member.filename[len(shared) :]
                place = target / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as file, place.open("xb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                written.append(path)
            return written
    except ValueRefused:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError):
        raise ValueRefused("the ZIP file cannot be unpacked: it is damaged") from None


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    name = member.filename
    parts = name.split("/")
    is_link = member.external_attr >> 16 & 0o170000 == 0o120000
    if member.is_dir() or is_link or parts[-1] in _IGNORED or "__MACOSX" in parts:
        return False
    is_plain = posixpath.normpath(name) == name and not name.startswith("/") and "\\" not in name
    return is_plain and ".." not in parts and "\0" not in name


def _shared(names: list[str]) -> str:
    """Return the folder that all names begin with, as ``folder/``.

    >>> _shared(["a/b/c.txt", "a/b/d.txt"])
    'a/b/'
    """
    folders = [name.split("/")[:-1] for name in names]
    same = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) != 1:
            break
        same.append(parts[0])
    return "".join(f"{part}/" for part in same)
