"""Derive the table ``instances`` again, or read every source file again.

In: the folder of a warehouse. Out: ``Rebuilt``. sql/2_entities defines ``instances``; its rows were
computed and stored when the files were ingested. A rebuild updates the stored rows after a
definition or a reader has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.ingest import run_batch, stored_batches
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import by_name, macros_for, statement
from warehouse.store import delta, layout, locks
from warehouse.store.delta import Change
from warehouse.store.duck import lent, set_stored, view_files
from warehouse.store.marker import require
from warehouse.store.schema import STORED_AS
from warehouse.store.stage import write_part
from warehouse.store.tables import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import duckdb
    import numpy as np
    from numpy.typing import NDArray

    from warehouse.store.delta import Snapshot
    from warehouse.store.layout import Part

SLICE = 20_000
"""Instances derived at a time, each with some hundred columns in memory."""

FROM_PRIVATE = {"ge_sequence_name": "pulse_sequence_name"}
"""Attribute from a private element → column of ``instances`` derived from it."""

_BETWEEN = "instance_id between getvariable('first') and getvariable('last')"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Result of a rebuild."""

    instances: int = 0
    """Instances derived, or files read again."""
    parts: int = 0
    """Parts of ``instances``, or batches, that were rewritten."""
    version: int = 0
    """Version of the warehouse afterwards."""
    unreachable: int = 0
    """Files that could not be opened or read; their rows are kept."""


def rebuild(root: Path) -> Rebuilt:
    """Derive ``instances`` from ``elements`` again, in one transaction.

    Only parts whose content differs are written. An instance read in mode minimal has no elements,
    so its row is kept. For an instance read in mode normal, the columns from private elements are
    kept. If it has no UID, its whole row is kept, because its key is a digest of all elements.

    Other writers may commit meanwhile. Parts that they have replaced, by copies of the old rows,
    are derived in a further transaction.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    WriteFailed
        Nothing was changed, except for the parts of preceding transactions.
    """
    require(root)
    seen = parts = 0
    done: set[str] = set()
    with locks.writing(root):
        while True:
            base = delta.snapshot(root)
            asked = [part for part in base.parts["instances"] if part not in done]
            rows, ours, late = _rebuild_parts(root, base, asked)
            seen += rows - sum(part.rows for part in late)
            parts += len(ours)
            done |= {*asked, *(part.path for part in ours)}
            if not late:
                break
    return Rebuilt(seen, parts, delta.newest_files(root)[0])


def _rebuild_parts(
    root: Path, base: Snapshot, parts: Iterable[str]
) -> tuple[int, list[Part], list[Part]]:
    """Derive some parts of a version again and commit those that differ.

    Returns the number of rows, the committed parts, and those that were not committed because
    another writer has replaced the old part.
    """
    written: dict[str, Part] = {}
    seen = 0
    committing = False
    try:
        with lent() as connection:
            _make_views(connection, base)
            for run in _runs(root, parts):
                together = pa.concat_tables(run.values()).combine_chunks()
                derived = pa.concat_tables(_derived(connection, base, together))
                place = 0
                for part, stored in run.items():
                    made = derived.slice(place, stored.num_rows)
                    place += stored.num_rows
                    if not made.equals(stored):
                        written[part] = _write(root, part, made)
                seen += place
        with locks.locked(root):
            newest = delta.snapshot(root)
            ours = {old: new for old, new in written.items() if old in newest.parts["instances"]}
            committing = bool(ours)
            if ours:
                change = Change(list(ours.values()), list(ours))
                delta.commit(root, {"instances": change}, newest, "rebuild")
    except BaseException:
        if not committing:
            layout.drop_parts(root, [("instances", part) for part in written.values()])
        raise
    late = [new for old, new in written.items() if old not in ours]
    layout.drop_parts(root, [("instances", part) for part in late])
    return seen, list(ours.values()), late


def read_anew(root: Path, settings: IngestSettings | None = None) -> Rebuilt:
    """Read the files of every batch again, in the mode in which the batch was read before.

    Rows of files that no longer exist, or cannot be opened or read, are kept. Each batch is one
    transaction, so the call can be stopped and run again.
    """
    settings = settings or IngestSettings()
    files, unreachable, batches = 0, 0, stored_batches(root)
    for batch in batches:
        mode = mode_of_batch(root, batch) or settings.mode
        report = run_batch(root, batch, replace(settings, mode=mode))
        files += report.files - report.unreachable
        unreachable += report.unreachable
    return Rebuilt(files, len(batches), delta.newest_files(root)[0], unreachable)


def mode_of_batch(root: Path, batch: str) -> Mode | None:
    """Return the most complete mode in which files of a batch were read; None without files."""
    with lent() as connection:
        view_files(connection, delta.newest_files(root)[1])
        connection.execute("set variable batch = $1", [batch])
        found = connection.execute(statement("mode_of_batch")).fetchall()
    return Mode.parse(found[0][0]) if found else None


def _make_views(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Create the views that define ``instances``, restricted to a range of ids."""
    view_files(connection, snapshot.paths("files"))
    connection.execute(f"create temp table holders as {statement('modes_of_holders')}")
    set_stored(connection, {table: snapshot.paths(table) for table in ("elements", "files")})
    views = ("instance_attributes", "instances_from_elements")
    for macro in macros_for("elements", "files", *views):
        connection.execute(macro.sql)
    for name in ("elements", "files"):
        query = by_name(name).query
        connection.execute(f"create or replace view {name} as from ({query}) where {_BETWEEN}")
    for name in views:
        connection.execute(by_name(name).sql)


def _runs(root: Path, parts: Iterable[str]) -> Iterator[dict[str, pa.Table]]:
    """Yield parts with their rows, in groups of at least ``SLICE`` rows, each planned once."""
    run: dict[str, pa.Table] = {}
    for part in parts:
        run[part] = _read(root, part)
        if sum(rows.num_rows for rows in run.values()) >= SLICE:
            yield run
            run = {}
    if run:
        yield run


def _derived(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, stored: pa.Table
) -> Iterator[pa.Table]:
    """Yield the newly derived version of these rows, ``SLICE`` at a time."""
    for start in range(0, max(stored.num_rows, 1), SLICE):
        old = stored.slice(start, SLICE)
        if not old.num_rows:
            yield old
            continue
        ids = old["instance_id"].to_numpy()
        first, last = int(ids.min()), int(ids.max())
        connection.execute("set variable first = $1", [first])
        connection.execute("set variable last = $1", [last])
        paths = _parts_between(snapshot, first, last)
        set_stored(connection, {"elements": paths, "files": snapshot.paths("files")})
        # A relation would plan the view twice: when it is created and when rows are fetched.
        connection.execute("create or replace temp table derived as from instances_from_elements")
        answer = connection.sql("from derived").to_arrow_table().rename_columns(STORED_AS)
        new = _aligned(answer, ids).cast(stored.schema)
        held = connection.sql(f"from holders where {_BETWEEN}").to_arrow_table()
        modes = held["mode"].take(pc.index_in(pa.array(ids), held["instance_id"]))
        yield _merged(old, new, modes)


def _aligned(rows: pa.Table, ids: NDArray[np.int64]) -> pa.Table:
    """Return the rows with these ids, in this order, with a row of nulls for each missing id."""
    return rows.take(pc.index_in(pa.array(ids), rows["instance_id"]))


def _merged(old: pa.Table, new: pa.Table, modes: pa.ChunkedArray) -> pa.Table:
    """Merge derived and stored rows by import mode, which may have left elements unstored."""
    is_full = pc.equal(modes, Mode.FULL.value)
    is_named = pc.or_(
        pc.fill_null(pc.not_equal(old["SOPInstanceUID"], ""), False),
        pc.fill_null(pc.not_equal(old["MediaStorageSOPInstanceUID"], ""), False),
    )
    is_kept = pc.or_(
        pc.equal(modes, Mode.MINIMAL.value), pc.and_(pc.invert(is_full), pc.invert(is_named))
    )
    columns = []
    for name in old.schema.names:
        before, now = old[name].combine_chunks(), new[name].combine_chunks()
        if name == "instance_key":
            # `files`, runs and values name an instance by the key under which it was read.
            now = pc.if_else(is_named.combine_chunks(), before, now)
        some = pc.coalesce(now, before) if name in FROM_PRIVATE.values() else now
        partly = pc.if_else(is_kept.combine_chunks(), before, some)
        columns.append(pc.if_else(is_full.combine_chunks(), now, partly))
    return pa.Table.from_arrays(columns, schema=old.schema)


def _parts_between(snapshot: Snapshot, first: int, last: int) -> list[str]:
    """Return the parts of ``elements`` that may have rows of these ids, by their statistics."""
    *paths, empty = snapshot.paths("elements")
    return [*(path for path in paths if _may_hold(path, first, last)), empty]


def _may_hold(path: str, first: int, last: int) -> bool:
    metadata = pq.read_metadata(path)
    place = metadata.schema.names.index("instance_id")
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(place).statistics
        if statistics is None or not statistics.has_min_max:
            return True
        if statistics.min <= last and statistics.max >= first:
            return True
    return False


def _read(root: Path, part: str) -> pa.Table:
    path = layout.table_folder(root, "instances") / part
    schema = named("instances").schema
    with pq.ParquetFile(path) as parquet:
        return parquet.read(columns=schema.names).cast(schema)


def _write(root: Path, part: str, rows: pa.Table) -> Part:
    groups = max(1, rows.nbytes // (64 << 20))
    write = partial(
        pq.write_table, rows, compression="zstd", row_group_size=max(1, rows.num_rows // groups)
    )
    return write_part(root, "instances", layout.batch_of_part(part), 0, write, rows.num_rows)
