"""Files of an ingest that are known, and lay elsewhere before → known where they lie now.

In: the listing of an ingest. Out: how many were moved; they are no longer ``unseen``. A file was
moved if name, size and time are those of a known one that is gone, and its first bytes hold the
SOP Instance UID of that. Nothing else of it is read. A file of another time may have been changed:
it is read as any new one.
"""

from __future__ import annotations

import os
from itertools import groupby
from typing import TYPE_CHECKING

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
"""Bytes of a file in which its SOP Instance UID is looked for: the file meta has it."""


def take_moved(listing: duckdb.DuckDBPyConnection, root: Path) -> int:
    """Let known files lie where they were found; return how many.

    Raises
    ------
    WriteFailed
        Nothing was changed.
    """
    _take_back(listing)
    if listing.execute("from unseen limit 1").fetchall() == []:
        return 0
    _, (*parts, _empty) = delta.newest_files(root)
    if not parts:
        return 0  # nothing is known that could have moved
    rows = listing.execute(statement("maybe_moved")).fetchall()
    taken: dict[str, str] = {}
    for new, candidates in groupby(rows, key=lambda row: str(row[1])):
        gone = [(old, uid) for old, _, uid in candidates if old not in taken and _is_gone(old)]
        head = _head(new) if gone else b""
        old = next((old for old, uid in gone if uid.encode() in head), None)
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


def put_off_moved(listing: duckdb.DuckDBPyConnection) -> None:
    """Take files that may have been moved out of ``unseen`` while not all files are listed.

    Where a known file of the same name, size and time is listed later, it has not moved.
    """
    listing.execute("create table if not exists put_off as from unseen limit 0")
    movable = f"select distinct new from ({statement('maybe_moved')})"
    listing.execute(f"create temp table movable as {movable}")
    listing.execute("insert into put_off from unseen where path in (from movable)")
    listing.execute("delete from unseen where path in (from movable)")
    listing.execute("drop table movable")


def _take_back(listing: duckdb.DuckDBPyConnection) -> None:
    listing.execute("create table if not exists put_off as from unseen limit 0")
    listing.execute("insert into unseen from put_off")
    listing.execute("drop table put_off")


def _is_gone(path: str) -> bool:
    """Tell whether a file is not there, and is no member or object; in doubt it is there."""
    if is_object(path) or ARCHIVE_SEPARATOR in path:
        return False
    try:
        os.lstat(local_path(path))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
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
