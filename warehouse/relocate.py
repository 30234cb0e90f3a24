"""Update the paths of source files after a folder, archive or bucket was moved.

In: the old and the new path. Out: ``Relocated``. No source is opened; the paths change in one
commit. Of several files of one instance the first by path holds it, so a former duplicate may hold
it afterwards, which is then read.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa

from warehouse.dicom.objects import is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import path_text
from warehouse.errors import UsageError
from warehouse.read_batches import promote_duplicates
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import statement
from warehouse.store import delta, locks
from warehouse.store.duck import lent, view_files
from warehouse.store.marker import require
from warehouse.store.moves import MOVING, commit_moves

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


@dataclass(frozen=True, slots=True)
class Relocated:
    """What a relocation did."""

    moved: int = 0
    """Known files that have another path now."""
    kept: int = 0
    """Known files beneath the old place that stay as they are: another file is known at their
    new path, with an instance or a size of its own."""
    version: int = 0
    """Version of the warehouse afterwards."""
    seconds: float = 0.0


def relocate(
    root: str | os.PathLike[str], old: str | os.PathLike[str], new: str | os.PathLike[str],
    settings: IngestSettings | None = None,
) -> Relocated:  # fmt: skip
    """Replace the first part of the paths of known files, in one commit.

    Parameters
    ----------
    root
        Folder of the warehouse.
    old, new
        Folders, files, archives or ``s3://bucket/prefix``; of a path that is known as
        ``OLD/a/1.dcm`` the new one is ``NEW/a/1.dcm``.
    settings
        How to read former duplicates that hold their instance from now on.

    Returns
    -------
    Relocated
        How many files have a new path, and how many could not be given one.

    Raises
    ------
    UsageError
        No known file lies beneath the old place, both are the same, or one is in a bucket and the
        name of the other is not UTF-8.
    NotAWarehouse, LayoutMismatch, WriteFailed
    """
    root = Path(os.path.abspath(root))
    require(root)
    started = time.monotonic()
    before, after = _place(old), _place(new)
    if before == after:
        raise UsageError("both places are the same")
    are_text = _is_text(before) and _is_text(after)
    if not are_text and (is_object(before) or is_object(after)):
        raise UsageError("names in a bucket are UTF-8, and that of the folder is not; rename it")
    with locks.writing(root), lent() as connection:
        view_files(connection, delta.newest_files(root)[1])
        prefixes = list(_prefixes(before, after))
        connection.execute("set variable prefixes = $1", [prefixes])
        connection.execute(f"create temp table beneath as {statement('moves_by_prefix')}")
        moving = _with_prefix(connection) if are_text else _renamed(connection, before, after)
        if not moving.num_rows:
            raise UsageError(f"no known file lies beneath {path_text(before)}")
        moved = commit_moves(connection, root, moving, "relocate")
    promote_duplicates(root, settings or IngestSettings(workers=1))
    return Relocated(
        moved=moved, kept=moving.num_rows - moved, version=delta.newest_files(root)[0],
        seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def _place(given: str | os.PathLike[str]) -> str:
    if is_object(given):
        return str(given).rstrip("/")
    return os.path.abspath(os.fspath(given))


def _is_text(place: str) -> bool:
    return path_text(place) == place


def _prefixes(old: str, new: str) -> Iterator[dict[str, str]]:
    """Yield how paths in ``files`` begin: those that are not UTF-8 are file URLs."""
    if _is_text(old):
        yield {"old": old, "new": path_text(new)}
    if not is_object(old) and not is_object(new):
        yield {
            "old": f"file://{quote(os.fsencode(old))}",
            "new": f"file://{quote(os.fsencode(new))}",
        }


def _with_prefix(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return ``MOVING`` for the table ``beneath``: every path with its new prefix."""
    return connection.sql(
        "select old, prefix.new || substr(old, length(prefix.old) + 1) as new, "
        "cast(null as timestamp) as modified_at from beneath"
    ).to_arrow_table().cast(MOVING)  # fmt: skip


def _renamed(connection: duckdb.DuckDBPyConnection, before: str, after: str) -> pa.Table:
    """Return the same where a place is not UTF-8: a path may become a file URL, or be one no more.

    What follows ``.zip`` in the path of an archive member is not part of the name of a file.
    """
    paths = [path for (path,) in connection.execute("select old from beneath").fetchall()]
    renamed = []
    for path in paths:
        archive = re.search(r"\.zip(?=!/)", path, re.IGNORECASE)
        end = archive.end() if archive else len(path)
        found = os.fsdecode(local_path(path[:end]))
        renamed.append(path_text(after + found[len(before) :]) + path[end:])
    times = pa.nulls(len(paths), MOVING.field("modified_at").type)
    return pa.table([paths, renamed, times], schema=MOVING)
