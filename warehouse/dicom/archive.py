"""Zip archives: list the members once, and open each without parsing the directory again.

In: the path of an archive, the name of a member. Out: the directory, or a stream of one member. The
central directory is read once per process and archive, as long as the archive is unchanged; a
member is then one seek. No archive stays open, so that its disk can be unmounted.

An archive is untrusted. Its declared sizes may be wrong, so members with an absurd size are
rejected, and a stream ends at the declared size and is checked against its CRC-32.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import threading
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from warehouse.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DIRECTORY_BYTES = 64 << 20
"""A longer central directory, of half a million members or more, is rejected before it is read."""

KEPT_MEMBERS = 200_000
"""Number of members cached, of one or several archives; the last archive is always cached."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED, _PATCHED = 0x41, 0x20
_UTF8 = 0x800
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError,
    struct.error, OverflowError, MemoryError,
)  # fmt: skip

_Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Directory:
    """The parsed central directory of an archive."""

    members: dict[str, zipfile.ZipInfo]
    """Members by name; if several have the same name, the last one, as with ``unzip``."""
    overlapping: frozenset[str]
    """Members that share bytes with another one, as in zip bombs."""
    size_bytes: int
    modified_us: int


_kept: dict[str, tuple[_Identity, Directory]] = {}
_lock = threading.Lock()


def directory(archive: str) -> Directory:
    """Return the members of an archive, from a cache if the file is unchanged.

    Raises
    ------
    OSError
        The archive cannot be opened.
    Rejected
        It is damaged, or its directory is longer than ``MAX_DIRECTORY_BYTES``.
    """
    with _opened(archive) as file:
        return _directory(archive, file)


@contextmanager
def open_member(archive: str, member: str) -> Iterator[zipfile.ZipExtFile]:
    """Open a member for reading; its CRC-32 is checked at the end.

    Raises
    ------
    OSError
        The archive cannot be opened or read.
    Rejected
        There is no such member, or it cannot be unpacked; reading raises it too.
    """
    with _opened(archive) as file:
        info = _directory(archive, file).members.get(member)
        try:
            if info is None:
                raise Rejected("the zip archive has no such member any more")
            _check(info, file)
            with zipfile.ZipExtFile(file, "r", info) as unpacked:
                yield unpacked
        except _DAMAGED as error:
            raise Rejected("broken zip archive: the member cannot be unpacked") from error


@contextmanager
def _opened(archive: str) -> Iterator[IO[bytes]]:
    # O_NONBLOCK: a file swapped for a FIFO since it was listed must not block the run.
    descriptor = os.open(archive, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        yield file


def _directory(archive: str, file: IO[bytes]) -> Directory:
    status = os.fstat(file.fileno())
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    with _lock:
        known = _kept.get(archive)
        if known is not None and known[0] == identity:
            return known[1]
    found = _read_directory(file, status)
    with _lock:
        _kept.pop(archive, None)
        _kept[archive] = identity, found
        total = sum(len(kept.members) for _, kept in _kept.values())
        while total > KEPT_MEMBERS and len(_kept) > 1:
            total -= len(_kept.pop(next(iter(_kept)))[1].members)
    return found


def _read_directory(file: IO[bytes], status: os.stat_result) -> Directory:
    if not stat.S_ISREG(status.st_mode):
        raise Rejected("not a regular file")
    try:
        # A private function of the standard library, which ZipFile itself calls first.
        end: Any = zipfile._EndRecData(file)  # type: ignore[attr-defined] # noqa: SLF001
        length = end[5] if end else 0
        if length > MAX_DIRECTORY_BYTES:
            raise Rejected(
                f"zip archive with a directory of {length} bytes, more than "
                f"{MAX_DIRECTORY_BYTES}: refused; unpack it into a folder"
            )
        file.seek(0)
        with zipfile.ZipFile(file) as opened:
            infos = opened.NameToInfo
    except _DAMAGED as error:
        raise Rejected(f"broken zip archive: {error}") from error
    return Directory(infos, _overlapping(infos), status.st_size, status.st_mtime_ns // 1000)


def _overlapping(infos: dict[str, zipfile.ZipInfo]) -> frozenset[str]:
    """Return the members that overlap the one before them."""
    found: set[str] = set()
    end, last = 0, ""
    for name, info in sorted(infos.items(), key=lambda pair: pair[1].header_offset):
        if info.header_offset < end:
            found |= {last, name}
        stop = info.header_offset + _LOCAL_HEADER.size + info.compress_size
        if stop > end:
            end, last = stop, name
    return frozenset(found)


def _check(info: zipfile.ZipInfo, file: IO[bytes]) -> None:
    """Seek to the bytes of a member, after comparing its local header with the directory."""
    if info.flag_bits & _ENCRYPTED:
        raise Rejected("zip member is encrypted")
    if info.compress_type not in _METHODS:
        method = info.compress_type
        raise Rejected(
            f"zip member is compressed by method {method}, which cannot be unpacked here"
        )
    if info.flag_bits & _PATCHED:
        raise zipfile.BadZipFile("compressed patched data")
    file.seek(info.header_offset)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    name = file.read(name_length).decode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    if magic != b"PK\3\4" or name != info.orig_filename:
        raise zipfile.BadZipFile("the directory means another member")
    file.seek(extra_length, os.SEEK_CUR)
