"""Portions of rows → Parquet files that no table names yet.

In: what station 2 extracted from some files of a batch. Out: ``Staged``: parts on disk and the
rows of ``files`` in memory. A worker process runs this; nothing here is visible to a reader until
``warehouse.store.commit`` takes it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.elements.schema import ELEMENTS, INLINE_BYTES
from warehouse.errors import WriteFailed
from warehouse.settings import Mode
from warehouse.sqlfiles import read_models
from warehouse.store import layout
from warehouse.store.attributes import gather
from warehouse.store.delta import Part
from warehouse.store.duck import connect
from warehouse.store.rows import write_rows
from warehouse.store.schema import FILES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import duckdb

    from warehouse.elements.extract import Outcome, Portion


@dataclass(frozen=True, slots=True)
class Staged:
    """What one portion left on disk, and its rows of ``files``."""

    parts: dict[str, Part]
    """Table → part; tables without rows are missing."""
    files: pa.Table
    """``FILES``, one row per file, not yet judged against the warehouse."""


def open_stage(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open a connection that knows the definition of ``instances``; serves many portions."""
    connection = connect(threads)
    for name, schema in {"elements": ELEMENTS, "files": FILES}.items():
        connection.register(name, schema.empty_table())
    connection.register("instance_attributes", gather(ELEMENTS.empty_table()))
    for model in read_models():
        if model.layer == "0_macros" or model.name == "instances_from_elements":
            connection.execute(model.sql)
    return connection


def stage(
    connection: duckdb.DuckDBPyConnection, root: Path, batch: str, chunk: int, portion: Portion,
    mode: Mode, *, keep_blobs: bool,
) -> Staged:  # fmt: skip
    """Write the rows of a portion, its instances and its long binary values.

    Raises
    ------
    WriteFailed
    """
    files = _files(portion.outcomes, mode)
    instances = _instances(connection, portion.rows, files)
    files = _identified(files, instances)
    staged = Staged({}, files)
    try:
        _write(
            connection, root, batch, chunk, portion, instances, staged, mode, keep_blobs=keep_blobs
        )
    except BaseException:
        for table, part in staged.parts.items():
            (layout.table_folder(root, table) / part.path).unlink(missing_ok=True)
        raise
    return staged


def _write(
    connection: duckdb.DuckDBPyConnection, root: Path, batch: str, chunk: int, portion: Portion,
    instances: pa.Table, staged: Staged, mode: Mode, *, keep_blobs: bool,
) -> None:  # fmt: skip
    rows = _kept(portion.rows, mode)
    if rows.num_rows:
        # In order already: readers sort, because they can do it cheaper than any database.
        staged.parts["elements"] = write_part(
            root, "elements", batch, chunk, partial(write_rows, rows), rows.num_rows
        )
    if instances.num_rows:
        staged.parts["instances"] = write_small(root, "instances", batch, chunk, instances)
    blobs = _blobs_of(rows, portion.blobs) if keep_blobs else portion.blobs.slice(0, 0)
    if blobs.num_rows:
        # Not compressed: the commit compresses those that are new, once.
        staged.parts["blobs"] = write_small(root, "blobs", batch, chunk, blobs, compression="none")


def write_small(
    root: Path, table: str, batch: str, chunk: int, rows: pa.Table, compression: str = "zstd"
) -> Part:
    """Write an Arrow table as one part; row groups hold at most 64 MiB of it."""
    groups = max(1, rows.nbytes // (64 << 20))
    size = max(1, rows.num_rows // groups)
    return write_part(
        root, table, batch, chunk,
        lambda path: pq.write_table(rows, path, compression=compression, row_group_size=size),
        rows.num_rows,
    )  # fmt: skip


def write_part(
    root: Path, table: str, batch: str, chunk: int, write: Callable[[str], None], rows: int
) -> Part:
    """Let a function write one part of a table; what it began is removed if it fails.

    Raises
    ------
    WriteFailed
    """
    part = layout.part_name(batch, chunk)
    target = layout.table_folder(root, table) / part
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(str(target))
    except OSError as error:
        target.unlink(missing_ok=True)
        raise WriteFailed(f"rows of {table}", error) from error
    return Part(part, rows, target.stat().st_size)


def _files(outcomes: list[Outcome], mode: Mode) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "path": outcome.source.path,
            "status": "rejected" if outcome.instance_id is None else "ingested",
            "reason": outcome.reason,
            "error_offset": outcome.offset,
            "size_bytes": outcome.source.size_bytes,
            "modified_at": outcome.source.modified_us,
            "mode": mode.value,
            "reader": outcome.reader,
            "instance_id": outcome.instance_id,
            "TransferSyntaxUID": outcome.transfer_syntax,
            "pixel_offset": outcome.pixels.offset if outcome.pixels else None,
            "pixel_length": outcome.pixels.length if outcome.pixels else None,
            "is_encapsulated": outcome.pixels.encapsulated if outcome.pixels else None,
        }
        for outcome in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=FILES)


def _instances(connection: duckdb.DuckDBPyConnection, rows: pa.Table, files: pa.Table) -> pa.Table:
    """Ask the definition of ``instances`` about rows that are still in memory."""
    connection.register("elements", rows)
    connection.register("files", files)
    connection.register("instance_attributes", gather(rows))
    return connection.sql("from instances_from_elements order by instance_id").to_arrow_table()


def _identified(files: pa.Table, instances: pa.Table) -> pa.Table:
    """Fill identity into the rows of ``files`` from their instances."""
    place = pc.index_in(files["instance_id"], instances["instance_id"])
    for name in ("instance_key", "SOPInstanceUID"):
        number = files.schema.get_field_index(name)
        files = files.set_column(number, FILES.field(name), instances[name].take(place))
    return files


def _kept(rows: pa.Table, mode: Mode) -> pa.Table:
    """Return the rows that an import mode keeps."""
    if mode is Mode.FULL:
        return rows
    if mode is Mode.MINIMAL:
        return rows.slice(0, 0)
    private_tag = _mask(rows["tag"], _is_private)
    private_path = _mask(
        rows["path"], lambda path: any(_is_private(step) for step in path.split("."))
    )
    return rows.filter(pc.invert(pc.or_(private_tag, private_path)))


def _is_private(step: str) -> bool:
    """Tell whether a tag, or a step of a path written as a tag, is of an odd group."""
    return len(step) >= 8 and step[:8].isalnum() and _odd(step[:4]) and _is_hex(step[:8])


def _odd(group: str) -> bool:
    return group[-1] in "13579BDF"


def _is_hex(text: str) -> bool:
    return all(character in "0123456789ABCDEF" for character in text)


def _mask(column: pa.ChunkedArray, test: object) -> pa.ChunkedArray:
    """Test each distinct value of a dictionary-encoded column once."""
    unified = column.unify_dictionaries().combine_chunks()
    if isinstance(unified, pa.ChunkedArray):
        unified = (
            pa.concat_arrays(unified.chunks) if unified.num_chunks else pa.array([], column.type)
        )
    assert callable(test)
    answers = pa.array([bool(test(value)) for value in unified.dictionary.to_pylist()], pa.bool_())
    return answers.take(unified.indices)


def _blobs_of(rows: pa.Table, blobs: pa.Table) -> pa.Table:
    """Return the long values that some kept row points to."""
    pointed = rows.filter(pc.greater(rows["length"], INLINE_BYTES))["sha256"].unique()
    return blobs.filter(pc.is_in(blobs["sha256"], pointed))
