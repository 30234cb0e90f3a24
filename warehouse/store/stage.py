"""Write portions of rows as Parquet files that no table references yet.

In: the rows that ``warehouse.elements`` extracted from some files of a batch. Out: ``Staged``:
parts on disk, and the rows of ``files`` and ``instances`` in memory. A worker process runs this
module; readers see the rows only after ``warehouse.store.commit`` has committed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.elements.schema import INLINE_BYTES
from warehouse.errors import WriteFailed
from warehouse.settings import Mode
from warehouse.stages import Stage, during
from warehouse.store import layout, tables
from warehouse.store.attributes import gather
from warehouse.store.crossing import Crossing
from warehouse.store.instances import instances_of
from warehouse.store.layout import Part
from warehouse.store.rows import write_rows
from warehouse.store.schema import FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from warehouse.elements.extract import Outcome, Portion
    from warehouse.store.tables import StoredTable


@dataclass(frozen=True, slots=True)
class Staged:
    """The parts of one portion, and the rows that the commit needs in memory."""

    parts: dict[str, Part]
    """Table → part, except for ``instances``, ``files`` and tables without rows."""
    rows: Crossing
    """Rows of ``files`` (schema ``FILES``) and of ``instances``."""
    count: int
    """Number of files."""
    rejected: int
    """Number of rejected files."""
    left_out: pa.Array
    """Ids of instances whose rows are not in the part, because another file holds them."""

    @property
    def files(self) -> pa.Table:
        """``FILES``, one row per file; the commit determines the final status."""
        return self.rows.tables[0]

    @property
    def instances(self) -> pa.Table:
        """Rows of ``instances``."""
        return self.rows.tables[1]


def stage(
    root: Path, batch: str, chunk: int, portion: Portion, mode: Mode, *, keep_blobs: bool
) -> Staged:
    """Write the rows and the long binary values of a portion, and derive its instances.

    Raises
    ------
    WriteFailed
    """
    with during(Stage.INSTANCES):
        attributes = gather(portion.rows)
        files = _files(portion.outcomes, mode)
        instances = instances_of(files, attributes, _nameless(portion.rows, attributes))
        files = _identified(files, instances)
        rejected = sum(outcome.instance_id is None for outcome in portion.outcomes)
        rows = Crossing(files, instances)
        staged = Staged({}, rows, files.num_rows, rejected, _losers(files))
    try:
        with during(Stage.WRITE):
            _write(root, batch, chunk, portion, staged, mode, keep_blobs=keep_blobs)
    except BaseException:
        discard(root, [staged])
        raise
    return staged


def discard(root: Path, staged: Iterable[Staged]) -> None:
    """Delete staged parts that will not be committed."""
    for portion in staged:
        layout.drop_parts(root, portion.parts.items())


def _write(
    root: Path, batch: str, chunk: int, portion: Portion, staged: Staged, mode: Mode, *,
    keep_blobs: bool,
) -> None:  # fmt: skip
    parts = staged.parts
    rows = _rows_of_mode(portion.rows, mode)
    if len(staged.left_out):
        rows = rows.filter(pc.invert(pc.is_in(rows["instance_id"], staged.left_out)))
    if rows.num_rows:
        # Rows are already sorted: sorting in the readers is cheaper than in a database.
        parts["elements"] = _write_table(root, tables.named("elements"), batch, chunk, rows)
    kept = _blobs_of(rows, portion.blobs) if keep_blobs else portion.blobs.slice(0, 0)
    if kept.num_rows:
        # Write without compression: the commit compresses only the values that are new.
        parts["blobs"] = write_small(root, "blobs", batch, chunk, kept, compression="none")
    for derive in dict.fromkeys(table.derive for table in tables.REGISTRY if table.derive):
        for name, made in derive(portion, mode).items():
            if made.num_rows:
                parts[name] = _write_table(root, tables.named(name), batch, chunk, made)


def _write_table(root: Path, table: StoredTable, batch: str, chunk: int, rows: pa.Table) -> Part:
    """Write rows that are already in the sort order of their table."""
    if not table.is_long:
        return write_small(root, table.name, batch, chunk, rows)
    return write_part(root, table.name, batch, chunk, partial(write_rows, rows), rows.num_rows)


def _losers(files: pa.Table) -> pa.Array:
    """Return the ids of instances that an earlier file of this portion holds.

    The first of all files by path holds an instance, so a later file of this portion never does.
    Leaving out its rows here saves the commit a copy of the part. Conflicts with stored files are
    resolved at commit.
    """
    keys = files["instance_key"]
    if pc.count_distinct(keys).as_py() == len(keys) - keys.null_count:
        return pa.array([], pa.int64())
    holders: dict[str, tuple[str, int]] = {}
    losers = []
    rows = (files[name].to_pylist() for name in ("instance_key", "path", "instance_id"))
    for key, path, instance_id in zip(*rows, strict=True):
        if key is None:
            continue
        holder = holders.setdefault(key, (path, instance_id))
        if holder[1] != instance_id:
            holders[key] = min(holder, (path, instance_id))
            losers.append(max(holder, (path, instance_id))[1])
    return pa.array(losers, pa.int64())


def _identified(files: pa.Table, instances: pa.Table) -> pa.Table:
    """Add instance_key and SOPInstanceUID to the rows of ``files``."""
    place = pc.index_in(files["instance_id"], instances["instance_id"])
    for name in ("instance_key", "SOPInstanceUID"):
        number = files.schema.get_field_index(name)
        files = files.set_column(number, FILES.field(name), instances[name].take(place))
    return files


def _nameless(rows: pa.Table, attributes: pa.Table) -> pa.Table:
    """Return the rows of instances without any SOP Instance UID, even in the file meta."""
    named = pc.or_(
        pc.fill_null(pc.not_equal(attributes["SOPInstanceUID"], ""), False),
        pc.fill_null(pc.not_equal(attributes["MediaStorageSOPInstanceUID"], ""), False),
    )
    names = attributes["instance_id"].filter(named)
    if len(names) == pc.count_distinct(rows["instance_id"]).as_py():
        # Return a new table: a slice would keep all rows in memory until the commit.
        return rows.schema.empty_table()
    return rows.filter(pc.invert(pc.is_in(rows["instance_id"], names)))


def write_small(
    root: Path, table: str, batch: str, chunk: int, rows: pa.Table, compression: str = "zstd"
) -> Part:
    """Write an Arrow table as one part, with row groups of at most 64 MiB."""
    groups = max(1, rows.nbytes // (64 << 20))
    size = max(1, rows.num_rows // groups)
    return write_part(
        root, table, batch, chunk,
        # Leave out the Arrow schema: it repeats the Parquet schema in a quarter of a small part.
        lambda path: pq.write_table(
            rows, path, compression=compression, row_group_size=size, store_schema=False
        ),
        rows.num_rows,
    )  # fmt: skip


def write_part(
    root: Path, table: str, batch: str, chunk: int, write: Callable[[str], None], rows: int
) -> Part:
    """Write one part of a table by a function; a partial file is deleted if that fails.

    Raises
    ------
    WriteFailed
    """
    part = layout.part_name(batch, chunk)
    target = layout.table_folder(root, table) / part
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(str(target))
        size = target.stat().st_size
        part = layout.sealed(layout.table_folder(root, table), part)
    except BaseException as error:
        target.unlink(missing_ok=True)
        # Arrow raises an OSError without errno if Parquet cannot encode these rows.
        if isinstance(error, OSError) and error.errno is not None:
            raise WriteFailed(f"rows of {table}", error) from error
        raise
    return Part(part, rows, size)


def _files(outcomes: list[Outcome], mode: Mode) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "path": [outcome.source.path for outcome in outcomes],
        "status": [
            "rejected" if outcome.instance_id is None else "ingested" for outcome in outcomes
        ],
        "reason": [outcome.reason for outcome in outcomes],
        "error_offset": [outcome.offset for outcome in outcomes],
        "size_bytes": [outcome.source.size_bytes for outcome in outcomes],
        "modified_at": [outcome.source.modified_us for outcome in outcomes],
        "mode": [mode.value] * len(outcomes),
        "reader": [outcome.reader for outcome in outcomes],
        "instance_id": [outcome.instance_id for outcome in outcomes],
        # The key columns come from `instances`.
        "instance_key": [None] * len(outcomes),
        "SOPInstanceUID": [None] * len(outcomes),
        "TransferSyntaxUID": [outcome.transfer_syntax for outcome in outcomes],
        "pixel_offset": [outcome.pixels and outcome.pixels.offset for outcome in outcomes],
        "pixel_length": [outcome.pixels and outcome.pixels.length for outcome in outcomes],
        "is_encapsulated": [outcome.pixels and outcome.pixels.encapsulated for outcome in outcomes],
    }
    return pa.table(columns, schema=FILES)


def _rows_of_mode(rows: pa.Table, mode: Mode) -> pa.Table:
    """Return the rows that an import mode stores."""
    if mode is Mode.FULL:
        return rows
    if mode is Mode.MINIMAL:
        return rows.schema.empty_table()
    private_tag = _mask(rows["tag"], _is_private)
    private_path = _mask(
        rows["path"], lambda path: any(_is_private(step) for step in path.split("."))
    )
    return rows.filter(pc.invert(pc.or_(private_tag, private_path)))


def _is_private(step: str) -> bool:
    """Return whether a tag, or a step of a path that is a tag, has an odd group number."""
    return len(step) >= 8 and step[:8].isalnum() and _odd(step[:4]) and _is_hex(step[:8])


def _odd(group: str) -> bool:
    return group[-1] in "13579BDF"


def _is_hex(text: str) -> bool:
    return all(character in "0123456789ABCDEF" for character in text)


def _mask(column: pa.ChunkedArray, test: object) -> pa.ChunkedArray:
    """Apply a test to each distinct value of a dictionary-encoded column; return a mask."""
    unified = column.unify_dictionaries().combine_chunks()
    if isinstance(unified, pa.ChunkedArray):
        unified = (
            pa.concat_arrays(unified.chunks) if unified.num_chunks else pa.array([], column.type)
        )
    assert callable(test)
    answers = pa.array([bool(test(value)) for value in unified.dictionary.to_pylist()], pa.bool_())
    return answers.take(unified.indices)


def _blobs_of(rows: pa.Table, blobs: pa.Table) -> pa.Table:
    """Return the long values that stored rows reference."""
    pointed = rows.filter(pc.greater(rows["length"], INLINE_BYTES))["sha256"].unique()
    kept = pc.is_in(blobs["sha256"], pointed)
    # Usually all values are needed; then copying them is avoided.
    return blobs if pc.all(kept).as_py() else blobs.filter(kept)
