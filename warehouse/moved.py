"""Recognize files that were moved since the last ingest, and update their paths.

In: the listing of an ingest. Out: the number of moved files, which are deleted from ``unseen``. A
file counts as moved if it has the name, size and modification time of a known file that no longer
exists, and its first bytes have an element with the SOP Instance UID of that file. Nothing else of
it is read. A file with another modification time may have changed and is read as a new file.
"""

from __future__ import annotations

import os
import re
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from warehouse.dicom.objects import is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import ARCHIVE_SEPARATOR
from warehouse.sqlfiles import statement
from warehouse.store import delta, locks
from warehouse.store.moves import MOVING, commit_moves

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

HEAD_BYTES = 4_096
"""Number of bytes searched for the SOP Instance UID, which is in the file meta information."""

_HEADERS: tuple[tuple[bytes, int, Literal["little", "big"]], ...] = (
    (b"\2\0\3\0UI", 2, "little"),  # MediaStorageSOPInstanceUID, always explicit VR little endian
    (b"\x08\0\x18\0UI", 2, "little"),  # SOPInstanceUID: explicit VR, implicit VR, big endian
    (b"\x08\0\x18\0", 4, "little"),
    (b"\0\x08\0\x18UI", 2, "big"),
)
"""First bytes of the elements with the UID, and size and byte order of the length that follows."""


def find_and_commit_moves(listing: duckdb.DuckDBPyConnection, root: Path) -> int:
    """Commit the new paths of moved files; return how many there are.

    Raises
    ------
    WriteFailed
        Nothing was changed.
    """
    _restore_listing(listing)
    if listing.execute("from unseen limit 1").fetchall() == []:
        return 0
    if not _are_known(root):
        return 0
    rows = listing.execute(statement("maybe_moved")).fetchall()
    taken: dict[str, str] = {}
    for new, candidates in groupby(rows, key=lambda row: str(row[1])):
        gone = [(old, uid) for old, _, uid in candidates if old not in taken and _is_gone(old)]
        head = _head(new) if gone else b""
        old = next((old for old, uid in gone if _has_uid(head, uid)), None)
        if old is not None:
            taken[old] = new
    if not taken:
        return 0
    times = pa.nulls(len(taken), MOVING.field("modified_at").type)
    moving = pa.table([list(taken), list(taken.values()), times], schema=MOVING)
    with locks.writing(root), listing.cursor() as connection:
        moved = commit_moves(connection, root, moving, "move")
    listing.register("taken", moving)
    listing.execute("delete from unseen where path in (select new from taken)")
    listing.unregister("taken")
    return moved


def put_off_moved(listing: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Move files that may be moved ones from ``unseen`` to ``put_off`` until all files are listed.

    If the known file of the same name, size and time is listed later, the file was not moved.
    """
    if not _are_known(root):
        return
    listing.execute("create table if not exists put_off as from unseen limit 0")
    movable = f"select distinct new from ({statement('maybe_moved')})"
    listing.execute(f"create temp table movable as {movable}")
    listing.execute("insert into put_off from unseen where path in (from movable)")
    listing.execute("delete from unseen where path in (from movable)")
    listing.execute("drop table movable")


def _are_known(root: Path) -> bool:
    """Return whether any file is known, which may have moved."""
    _, (*parts, _empty) = delta.newest_files(root)
    return bool(parts)


def _restore_listing(listing: duckdb.DuckDBPyConnection) -> None:
    listing.execute("create table if not exists put_off as from unseen limit 0")
    listing.execute("insert into unseen from put_off")
    listing.execute("drop table put_off")


def _is_gone(path: str) -> bool:
    """Return whether a file no longer exists; False for archive members, objects and on errors."""
    if is_object(path) or ARCHIVE_SEPARATOR in path:
        return False
    try:
        os.lstat(local_path(path))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _has_uid(head: bytes, uid: str) -> bool:
    """Return whether an element of a head has exactly this UID, not a longer one.

    Padding does not count: some writers pad with spaces, more than one byte, or not at all.
    """
    value = uid.encode()
    for begin, size, order in _HEADERS:
        for found in re.finditer(re.escape(begin), head):
            start = found.end() + size
            length = int.from_bytes(head[found.end() : start], order)
            if head[start : start + length].strip(b" \0") == value:
                return True
    return False


def _head(path: str) -> bytes:
    if is_object(path):
        return b""
    try:
        descriptor = os.open(local_path(path), os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""
