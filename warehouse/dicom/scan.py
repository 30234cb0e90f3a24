"""List folders, files, zip archives and buckets as source files. Nothing is skipped silently.

In: paths given by the user. Out: a stream of ``SourceFile`` and, for inaccessible paths,
``Unreadable``. Only folders and the central directories of archives are read. The readers decide
whether a file is DICOM.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import quote

from warehouse.dicom.archive import directory
from warehouse.dicom.objects import find_objects, is_object, list_objects
from warehouse.errors import Rejected, SourceNotFound
from warehouse.settings import S3Access

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ARCHIVE_SEPARATOR = "!/"
"""Separator between the path of an archive and the name of its member, as in Java's JAR URLs."""

MAX_RATIO = 100
"""An archive or member that unpacks to more than this times its size may be a zip bomb …"""

MAX_UNCHECKED_BYTES = 256 << 20
"""… and is rejected if it would also unpack to more than this many bytes."""


# One process creates it for every listed file; a dataclass would take four times as long.
class SourceFile(NamedTuple):
    """One file to read; in a zip archive, one member."""

    path: str
    """Absolute path, for archive members ``/data/a.zip!/folder/1.dcm``; the key of ``files``."""
    size_bytes: int | None
    modified_us: int | None
    """Modification time in microseconds since 1970; for members, that of the archive."""
    archive: str | None = None
    member: str | None = None
    access: S3Access | None = None
    """Access to an object in a bucket; None for files."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A path that cannot be read; becomes a rejected row of ``files``."""

    path: str
    reason: str


Met: TypeAlias = "str | SourceFile | Unreadable"
"""Result of a walk; a file of which only the path is known is represented by its path."""


def discover(
    sources: Iterable[str | os.PathLike[str]],
    *,
    patterns: Sequence[str] = (),
    exclude: str = "",
    s3: S3Access | None = None,
) -> Iterator[SourceFile | Unreadable]:
    """List every file below the given files and folders, every object below the given keys.

    Parameters
    ----------
    sources
        Files, folders, zip archives and ``s3://bucket/prefix``, in any mix.
    patterns
        Case-insensitive shell patterns for file names; without any, every file is listed.
    exclude
        A folder to leave out: the warehouse itself.
    s3
        Access to buckets.

    Raises
    ------
    SourceNotFound
        A source does not exist. Raised before anything is listed, unless it is a bucket. A prefix
        without objects is not an error, because buckets have no folders.
    BucketUnreachable
    """
    return stat_entries(walk(sources, patterns=patterns, exclude=exclude, s3=s3), patterns)


def walk(
    sources: Iterable[str | os.PathLike[str]],
    *,
    patterns: Sequence[str] = (),
    exclude: str = "",
    s3: S3Access | None = None,
) -> Iterator[Met]:
    """Find the paths that ``discover`` lists, without calling ``stat`` on files.

    One call lists all names in a folder, but size and time need a call per file. So this part is
    fast, and the work of ``stat_entries`` can be shared among processes.
    """
    roots = [str(source) if is_object(source) else os.path.abspath(source) for source in sources]
    for root in roots:
        if not is_object(root) and not os.path.lexists(root):
            raise SourceNotFound(path_text(root))
    exclude = os.path.abspath(exclude) if exclude else ""
    return _walk_roots(roots, _lowered(patterns), exclude, s3 or S3Access())


def stat_entries(
    met: Iterable[Met], patterns: Sequence[str] = ()
) -> Iterator[SourceFile | Unreadable]:
    """Stat the files that a walk has found, in its order; archives become their members.

    Examples
    --------
    >>> [item.reason for item in stat_entries(["/nowhere.dcm"])]
    ['cannot be opened: No such file or directory']
    """
    lowered = _lowered(patterns)
    for item in met:
        if isinstance(item, str):
            yield from _list_file(item, lowered)
        else:
            yield item


def _lowered(patterns: Sequence[str]) -> list[str]:
    return [pattern.lower() for pattern in patterns]


def _walk_roots(
    roots: Sequence[str], patterns: Sequence[str], exclude: str, s3: S3Access
) -> Iterator[Met]:
    for root in roots:
        if is_object(root):
            yield from _list_bucket(root, patterns, s3)
        elif os.path.isdir(root):
            yield from _walk_folder(root, exclude)
        else:
            yield root


def _walk_folder(root: str, exclude: str) -> Iterator[str | Unreadable]:
    """Yield the files of a folder, recursively, in the order of their paths.

    Uses an explicit stack, because folders may be nested deeper than Python calls. Each entry has
    the identities of its parent folders, so that links cannot cause loops.
    """
    left_out: tuple[int, int] | None = None
    top: Iterator[tuple[str, bool]] = iter([(root, True)])
    waiting: list[tuple[str, Iterator[tuple[str, bool]], tuple[tuple[int, int], ...]]] = [
        ("", top, ())
    ]
    while waiting:
        prefix, names, above = waiting[-1]
        for name, is_folder in names:
            path = prefix + name
            if not is_folder:
                yield path
                continue
            try:
                identity = _identity(path)
                # Compare device and inode, not the path: a link may lead to the folder. It may be
                # created during the walk, so it is looked for after the folder that may be it.
                left_out = left_out or _identity(exclude)
                if identity is not None and identity == left_out:
                    continue
                with os.scandir(path) as entries:
                    # Directory entries have the file type; only links need a stat.
                    found = [(entry.name, leads_to_folder(entry)) for entry in entries]
            except OSError as error:
                yield Unreadable(path_text(path), f"folder cannot be listed: {error.strerror}")
                continue
            if identity in above:
                yield Unreadable(path_text(path), "link back to a folder above it: not followed")
                continue
            below = above if identity is None else (*above, identity)
            # Sort folder names with their slash, which sorts after "-" and before letters.
            found.sort(key=_as_in_paths)
            waiting.append((os.path.join(path, ""), iter(found), below))
            break
        else:
            waiting.pop()


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; False if that cannot be determined."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _as_in_paths(entry: tuple[str, bool]) -> str:
    name, is_folder = entry
    if is_folder:
        return name + "/"
    return name + ARCHIVE_SEPARATOR if name.lower().endswith(".zip") else name


def _identity(folder: str) -> tuple[int, int] | None:
    """Return device and inode of a folder; None if it cannot be reached."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _list_file(path: str, patterns: Sequence[str]) -> Iterable[SourceFile | Unreadable]:
    # Not a generator, whose overhead per file would dominate in large archives.
    is_archive = path.lower().endswith(".zip")
    if not is_archive and patterns and not _matches(os.path.basename(path), patterns):
        return ()
    try:
        status = os.stat(path)
    except OSError as error:
        return (Unreadable(path_text(path), f"cannot be opened: {error.strerror}"),)
    if not stat.S_ISREG(status.st_mode):
        return (Unreadable(path_text(path), "not a regular file"),)
    if is_archive:
        return _list_archive(path, patterns)
    return (SourceFile(path_text(path), status.st_size, status.st_mtime_ns // 1000),)


def _list_archive(path: str, patterns: Sequence[str]) -> Iterator[SourceFile | Unreadable]:
    text = path_text(path)
    if os.path.isdir(path + ARCHIVE_SEPARATOR):
        yield Unreadable(
            text,
            "beside this zip archive is a folder of its name and '!', so that members and files "
            "would have the same paths: not opened; rename the folder",
        )
        return
    try:
        found = directory(path)
    except OSError as error:
        yield Unreadable(text, f"cannot be opened: {error.strerror}")
        return
    except Rejected as why:
        yield Unreadable(text, why.reason)
        return
    members = [info for info in found.members.values() if not info.is_dir()]
    unpacked = sum(info.file_size for info in members)
    if unpacked > MAX_UNCHECKED_BYTES and unpacked > MAX_RATIO * max(found.size_bytes, 1):
        times = unpacked // max(found.size_bytes, 1)
        yield Unreadable(
            text,
            f"zip archive would unpack to {unpacked} bytes, {times} times its size: refused as a "
            "possible zip bomb",
        )
        return
    for info in members:
        if not _matches(info.filename.rsplit("/", 1)[-1], patterns):
            continue
        name = f"{text}{ARCHIVE_SEPARATOR}{path_text(info.filename)}"
        if info.filename.lower().endswith(".zip"):
            yield Unreadable(name, "zip archive inside a zip archive: not opened")
        elif info.filename in found.overlapping:
            yield Unreadable(
                name,
                "member shares its bytes with another one: refused as a possible zip bomb",
            )
        elif info.file_size > MAX_UNCHECKED_BYTES and info.file_size > MAX_RATIO * max(
            info.compress_size, 1
        ):
            yield Unreadable(
                name,
                f"member would unpack to {info.file_size} bytes: refused as a possible zip bomb",
            )
        else:
            yield SourceFile(name, info.file_size, found.modified_us, path, info.filename)


def _list_bucket(
    url: str, patterns: Sequence[str], s3: S3Access
) -> Iterator[SourceFile | Unreadable]:
    for path, size, modified in list_objects(url, s3):
        if path.lower().endswith(".zip"):
            yield Unreadable(path, "zip archive in a bucket: not opened; copy it to a folder")
        elif not _matches(path.rsplit("/", 1)[-1], patterns):
            continue
        elif not size:
            yield Unreadable(path, "empty object")
        else:
            yield SourceFile(path, size, modified, access=s3)


def list_again(paths: Sequence[str], s3: S3Access) -> list[SourceFile | None]:
    """List known objects again; None for those that no longer exist."""
    return [
        None if found is None else SourceFile(*found, access=s3)
        for found in find_objects(paths, s3)
    ]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def path_text(path: str) -> str:
    """Return the path as in ``files``: unchanged, or a file URL if it is not valid UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return path
