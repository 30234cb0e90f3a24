"""Update the paths of source files after a folder, archive or bucket was moved.

In: the old and the new path. Out: ``Relocated``. The paths change in one commit; source files are
not opened, with one exception. Among several files of one instance, the first by path is its
holder, so new paths may make a former duplicate the holder; that file is then read.
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
from warehouse.ingest import planned_batches
from warehouse.listing import listing_table
from warehouse.planned import plan_table, replace_plan
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
    """Result of a relocation."""

    moved: int = 0
    """Known files whose path has changed."""
    kept: int = 0
    """Known files below the old path that keep their path, because another file, with a different
    instance or size, is known at their new path, or one that keeps its path, too."""
    planned: int = 0
    """Files of planned batches whose path has changed."""
    version: int = 0
    """Version of the warehouse afterwards."""
    seconds: float = 0.0


def relocate(
    root: str | os.PathLike[str], old: str | os.PathLike[str], new: str | os.PathLike[str],
    settings: IngestSettings | None = None,
) -> Relocated:  # fmt: skip
    """Replace a prefix of the paths of known files, in one commit.

    Parameters
    ----------
    root
        Folder of the warehouse.
    old, new
        Folders, files, archives or ``s3://bucket/prefix``; the path ``OLD/a/1.dcm`` becomes
        ``NEW/a/1.dcm``.
    settings
        How to read former duplicates that become the holder of their instance.

    Returns
    -------
    Relocated
        How many known and planned files have a new path, and how many kept the old one.

    Raises
    ------
    UsageError
        No known or planned file is below the old path, both paths are equal, or one is in a bucket
        and the other is not UTF-8.
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
        planned = _move_plans(root, before, after)
        if not moving.num_rows and not planned:
            raise UsageError(f"no known file is in {path_text(before) or '/'}")
        moved = commit_moves(connection, root, moving, "relocate")
    promote_duplicates(root, settings or IngestSettings(workers=1))
    return Relocated(
        moved=moved, kept=moving.num_rows - moved, planned=planned,
        version=delta.newest_files(root)[0], seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def _place(given: str | os.PathLike[str]) -> str:
    if is_object(given):
        return str(given).rstrip("/")
    # "/" becomes an empty prefix: all others are followed by a slash, too.
    return os.path.abspath(os.fspath(given)).rstrip("/")


def _is_text(place: str) -> bool:
    return path_text(place) == place


def _prefixes(old: str, new: str) -> Iterator[dict[str, str]]:
    """Yield the prefixes of paths in ``files``, where paths that are not UTF-8 are file URLs."""
    if _is_text(old):
        yield {"old": old, "new": path_text(new)}
    if not is_object(old) and not is_object(new):
        yield {
            "old": f"file://{quote(os.fsencode(old))}",
            "new": f"file://{quote(os.fsencode(new))}",
        }


def _with_prefix(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the table ``beneath`` with the schema ``MOVING``: every path with its new prefix."""
    return connection.sql(
        "select old, prefix.new || substr(old, length(prefix.old) + 1) as new, "
        "cast(null as timestamp) as modified_at from beneath"
    ).to_arrow_table().cast(MOVING)  # fmt: skip


def _renamed(connection: duckdb.DuckDBPyConnection, before: str, after: str) -> pa.Table:
    """Return the same if a path is not UTF-8: paths may become file URLs, or stop being ones."""
    paths = [path for (path,) in connection.execute("select old from beneath").fetchall()]
    renamed = [_new_path(path, before, after) for path in paths]
    times = pa.nulls(len(paths), MOVING.field("modified_at").type)
    return pa.table([paths, renamed, times], schema=MOVING)


def _new_path(path: str, before: str, after: str) -> str:
    """Return the path of a file after the move; the same if it is not beneath the old place.

    In the path of an archive member, the part after ``.zip`` is not part of a file name.
    """
    archive = re.search(r"\.zip(?=!/)", path, re.IGNORECASE)
    end = archive.end() if archive else len(path)
    found = os.fsdecode(local_path(path[:end]))
    if found != before and not found.startswith((f"{before}/", f"{before}!/")):
        return path
    return path_text(after + found[len(before) :]) + path[end:]


def _move_plans(root: Path, before: str, after: str) -> int:
    """Give files of planned batches their new paths; return how many have one."""
    count = 0
    for batch in planned_batches(root):
        rows = plan_table(root, batch).to_pylist()
        moved = {row["path"]: _new_path(row["path"], before, after) for row in rows}
        changed = {old for old, new in moved.items() if new != old}
        if not changed:
            continue
        # A file that is planned at its new path, too, is read once.
        changed = {old for old in changed if moved[old] not in moved.keys() - changed}
        kept = []
        for row in rows:
            if moved[row["path"]] != row["path"] and row["path"] not in changed:
                continue
            archive = row["archive"] and _new_path(row["archive"], before, after)
            kept.append((*(row | {"path": moved[row["path"]], "archive": archive}).values(),))
        replace_plan(root, batch, listing_table(sorted(kept)))
        count += len(changed)
    return count
