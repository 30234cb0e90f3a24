"""List the files of a planned or committed batch.

In: the key of a batch. Out: its ``SourceFile`` and ``Unreadable`` objects, ordered by path. A plan
is a Parquet table in ``_batches/KEY``; the files of a committed batch are rows of ``files``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.dicom.objects import is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import SourceFile, Unreadable, discover, list_again
from warehouse.dicom.source import holding_file
from warehouse.errors import WriteFailed
from warehouse.listing import listing_row, listing_table, source
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout
from warehouse.store.duck import lent
from warehouse.store.ledger import view_ledger

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from warehouse.settings import IngestSettings

GONE = "no longer there"
"""Reason given for a known file that should be read again but no longer exists."""


def write_plan(items: list[SourceFile | Unreadable]) -> bytes:
    """Return the files of a batch as Parquet, for ``read_plan``, without credentials."""
    return _as_parquet(listing_table([listing_row(item) for item in items]))


def read_plan(root: Path, batch: str, settings: IngestSettings) -> list[SourceFile | Unreadable]:
    """Return the files of a planned batch."""
    return [source(*row.values(), s3=settings.s3) for row in plan_table(root, batch).to_pylist()]


def replace_plan(root: Path, batch: str, rows: pa.Table) -> None:
    """Replace the files of a planned batch, ``LISTING``; a batch without files is not planned."""
    plan = layout.claims_folder(root) / batch
    draft = plan.with_name(f".{batch}")
    try:
        draft.write_bytes(_as_parquet(rows) if rows.num_rows else b"")
        draft.replace(plan)
    except OSError as error:
        raise WriteFailed("a planned batch", error) from error


def _as_parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue())


def forget_planned(listing: duckdb.DuckDBPyConnection, root: Path, batch: str) -> None:
    """Delete the files of a planned batch from ``unseen`` if they have not changed since."""
    listing.register("planned", plan_table(root, batch))
    listing.execute(statement("forget_planned"))


def plan_table(root: Path, batch: str) -> pa.Table:
    """Return the files of a planned batch, ``LISTING``."""
    return pq.read_table(pa.BufferReader((layout.claims_folder(root) / batch).read_bytes()))


def name_to_read(
    connection: duckdb.DuckDBPyConnection, root: Path, items: list[SourceFile | Unreadable]
) -> None:
    """Create the tables ``files`` and ``to_read``, as a survey does, for the files of one batch."""
    view_ledger(connection, delta.newest_files(root)[1])
    paths = pa.array([item.path for item in items], pa.string())
    connection.register("named", pa.table({"path": paths}))
    connection.execute(
        "create table to_read as select named.path, files.reason as reason_before "
        "from named left join files using (path)"
    )


def files_of_batch(
    root: Path, batch: str, settings: IngestSettings
) -> tuple[list[SourceFile | Unreadable], int]:
    """Return the existing files of a committed batch, and the id of the instance in the first one.

    Unchanged files keep their ids. If one has changed, or if the ids are not those of consecutive
    files, all ids are new, so that two runs of a cohort can be compared by them. A file that cannot
    be read keeps its rows, so no other file may get its id.
    """
    rows = _rows_of_batch(root, batch)
    items = listed_again([path for path, *_ in rows], settings)
    there = [item for item in items if not (isinstance(item, Unreadable) and item.reason == GONE)]
    first = layout.first_id(batch)
    sources = [item for item in there if isinstance(item, SourceFile)]
    ids = {path: instance_id for path, instance_id, *_ in rows if instance_id is not None}
    if not ids:
        return there, first
    states = {path: (size, time) for path, _, size, time in rows}
    is_changed = any(
        item.path in ids and (item.size_bytes, item.modified_us) != states[item.path]
        for item in sources
    )
    places = {item.path: place for place, item in enumerate(sources)}
    begins = {instance_id - places.get(path, 0) for path, instance_id in ids.items()}
    if not is_changed and ids.keys() <= places.keys() and len(begins) == 1:
        return there, begins.pop()
    following = max(ids.values()) + 1
    is_full = following + len(sources) > first + (1 << layout.ID_BITS)
    is_free = min(ids.values()) >= first + len(sources)
    return there, first if is_full and is_free else following


def following_id(root: Path, batch: str) -> int:
    """Return the id after those of the stored instances of a batch, or the first id of the batch.

    A run that was killed after its commit leaves the plan, and files may be moved before the batch
    is run again: another file at such a path must not get the id of the moved one.
    """
    ids = [row[1] for row in _rows_of_batch(root, batch) if row[1] is not None]
    return max(ids) + 1 if ids else layout.first_id(batch)


def _rows_of_batch(root: Path, batch: str) -> list[tuple[str, int | None, int, int]]:
    """Return path, instance id, size and time of the stored files of a batch."""
    with lent() as connection:
        view_ledger(connection, delta.newest_files(root)[1])
        connection.execute("set variable batch = $1", [batch])
        return connection.execute(statement("files_of_batch")).fetchall()


def listed_again(paths: list[str], settings: IngestSettings) -> list[SourceFile | Unreadable]:
    """List known files again, in the given order; vanished files are ``Unreadable``."""
    objects = [path for path in paths if is_object(path)]
    known = dict(zip(objects, list_again(objects, settings.s3) if objects else (), strict=True))
    items: list[SourceFile | Unreadable] = []
    archive, members = "", dict[str, SourceFile | Unreadable]()
    for path in paths:
        if path in known:
            items.append(known[path] or Unreadable(path, GONE))
            continue
        holding = holding_file(path)
        # Paths are sorted, so the members of an archive are consecutive.
        if holding == path or holding != archive:
            archive, members = holding, _found_in(holding)
        items.append(members.get(path) or Unreadable(path, GONE))
    return items


def _found_in(path: str) -> dict[str, SourceFile | Unreadable]:
    """List a file, or the members of an archive; return them by path."""
    try:
        return {item.path: item for item in discover([os.fsdecode(local_path(path))])}
    except FileNotFoundError:
        return {}
