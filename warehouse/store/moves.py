"""Commit new paths of known files.

In: old and new paths. Out: the number of moved files. Only `path` and `modified_at` of ``files``
and ``path`` of ``instances`` change; header rows stay, and no file is parsed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, locks, tables
from warehouse.store.delta import Change
from warehouse.store.duck import view_files
from warehouse.store.merge import readable_as_dictionary
from warehouse.store.stage import write_part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from warehouse.store.layout import Part

THREADS = 2
"""Parts written at a time."""

MOVING = pa.schema(
    [("old", pa.string()), ("new", pa.string()), ("modified_at", pa.timestamp("us"))]
)
"""Files to move; a time is given only if the file at the new path has another one."""


def commit_moves(
    connection: duckdb.DuckDBPyConnection, root: Path, moving: pa.Table, operation: str
) -> int:
    """Change the paths of known files in one commit; return how many were changed.

    Parameters
    ----------
    moving
        ``MOVING``. A file is not moved if its new path already has a row with a different instance
        or size.

    Raises
    ------
    WriteFailed
        Nothing was changed.
    """
    written: list[tuple[str, str, Part]] = []
    committing = False
    with locks.locked(root):
        base = delta.snapshot(root)
        view_files(connection, base.paths("files"))
        connection.register("moving", moving)
        connection.execute(statement("moves"))
        moves = connection.sql("from moves").to_arrow_table().combine_chunks()
        connection.unregister("moving")
        if not moves.num_rows:
            return 0
        of_part = _of_part(root, moves)
        asked = [("files", part) for part in _parts_of_files(base.parts["files"], moves)]
        asked += [("instances", part) for part in base.parts["instances"]]
        try:
            with ThreadPoolExecutor(THREADS) as threads:
                made = threads.map(
                    lambda one: _moved(root, one[0], one[1], of_part(one[0], one[1])), asked
                )
                for table, old, new in made:
                    if new is not None:
                        written.append((table, old, new))
            changes = {
                name: Change(
                    [new for table, _, new in written if table == name and new.rows],
                    [old for table, old, _ in written if table == name],
                )
                for name in ("files", "instances")
            }
            committing = True
            delta.commit(root, changes, base, operation)
        except BaseException:
            if not committing:
                for table, _, new in written:
                    (layout.table_folder(root, table) / new.path).unlink(missing_ok=True)
            raise
        for table, _, new in written:
            if not new.rows:
                (layout.table_folder(root, table) / new.path).unlink(missing_ok=True)
    return int(moves.num_rows)


def _parts_of_files(parts: tuple[str, ...], moves: pa.Table) -> list[str]:
    batches = {*moves["batch"].unique().to_pylist(), *moves["other_batch"].unique().to_pylist()}
    return [part for part in parts if int(layout.batch_of_part(part)) in batches]


def _of_part(root: Path, moves: pa.Table) -> Callable[[str, str], pa.Table]:
    """Return a function that selects the moves of one part, which is faster than searching all."""
    orders = {
        column: _in_order(moves[column].combine_chunks())
        for column in ("instance_id", "batch", "other_batch")
    }

    def between(column: str, low: int, high: int) -> pa.Table:
        places, keys = orders[column]
        first, behind = np.searchsorted(keys, low), np.searchsorted(keys, high, "right")
        return moves.take(pa.array(places[first:behind]))

    def of_part(table: str, part: str) -> pa.Table:
        if table == "files":
            batch = int(layout.batch_of_part(part))
            found = [between(column, batch, batch) for column in ("batch", "other_batch")]
            return pa.concat_tables(found).combine_chunks()
        with pq.ParquetFile(layout.table_folder(root, table) / part) as parquet:
            ids = parquet.read(columns=["instance_id"])["instance_id"].to_numpy()
        return between("instance_id", int(ids.min()), int(ids.max())).combine_chunks()

    return of_part


def _in_order(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of values in sort order, and the sorted values, without nulls."""
    places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    values = column.drop_null().to_numpy()
    order = np.argsort(values, kind="stable")
    return places[order], values[order]


def _moved(root: Path, table: str, part: str, moves: pa.Table) -> tuple[str, str, Part | None]:
    """Write a copy of a part with the new paths; None if no row changes."""
    path = layout.table_folder(root, table) / part
    given_up = moves.filter(moves["gives_up"])["new"] if table == "files" else None
    schema = tables.named(table).stored_schema
    with pq.ParquetFile(path) as parquet:
        paths = parquet.read(columns=["path"])["path"]
        is_here = pc.any(pc.is_in(paths, moves["old"])).as_py() or (
            given_up is not None and pc.any(pc.is_in(paths, given_up)).as_py()
        )
    if not is_here:
        return table, part, None
    coded = [
        name for name in readable_as_dictionary(pq.read_metadata(path), _coded(schema))
        if name != "path"
    ]  # fmt: skip
    rows_written = 0

    def write(target: str) -> None:
        nonlocal rows_written
        with pq.ParquetFile(path, read_dictionary=coded) as parquet:
            writer: pq.ParquetWriter | None = None
            for number in range(parquet.num_row_groups):
                rows = _renamed(parquet.read_row_group(number), table, moves, given_up)
                if writer is None:
                    writer = pq.ParquetWriter(
                        target,
                        rows.schema,
                        compression="zstd",
                        store_schema=False,
                        use_dictionary=coded,
                    )
                writer.write_table(rows, row_group_size=max(1, rows.num_rows))
                rows_written += rows.num_rows
            assert writer is not None
            writer.close()

    batch = layout.batch_of_part(part)
    made = write_part(root, table, batch, 0, write, 0)
    return table, part, layout.Part(made.path, rows_written, made.size_bytes)


def _coded(schema: pa.Schema) -> pa.Schema:
    """Return a schema with dictionary types for text, to write dictionaries as they were read."""
    text, coded = pa.string(), pa.dictionary(pa.int32(), pa.string())
    return pa.schema((field.name, coded if field.type == text else field.type) for field in schema)


def _renamed(
    rows: pa.Table, table: str, moves: pa.Table, given_up: pa.ChunkedArray | None
) -> pa.Table:
    if given_up is not None and len(given_up):
        rows = rows.filter(pc.invert(pc.is_in(rows["path"], given_up)))
    place = pc.index_in(rows["path"], moves["old"])
    for name, column in (("path", "new"), ("modified_at", "modified_at")):
        if name in rows.column_names:
            moved = pc.if_else(place.is_valid(), moves[column].take(place), rows[name])
            value = moved.cast(rows.schema.field(name).type)
            rows = rows.set_column(rows.column_names.index(name), name, value)
    # A part of `files` has few rows in one row group, so sorting it restores its order.
    return rows.sort_by("path") if table == "files" else rows
