"""Compaction: merge many small parts into few, with the same rows in the same order.

In: the folder of a warehouse. Out: ``Compacted``. Parts of several batches can be merged, because
the batch of a row follows from its id, whose upper bits are the batch number. Only rows of
``files`` have no such id, so its parts are merged only within a batch
(docs/decisions/0014-parts-of-several-batches.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import StoreError
from warehouse.store import delta, layout, locks, tables
from warehouse.store.delta import Change
from warehouse.store.marker import require
from warehouse.store.merge import merge
from warehouse.store.rows import write_pieces
from warehouse.store.stage import write_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.store.delta import Snapshot
    from warehouse.store.layout import Part
    from warehouse.store.tables import StoredTable

FAN_IN = 256
"""Number of parts merged at once; their files are open at the same time."""

_GROUP_BYTES = 64 << 20
"""In-memory size of a row group of tables that are not long, as in an ingest."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """Result of a compaction."""

    before: dict[str, int] = field(default_factory=dict)
    """Table → number of parts."""
    after: dict[str, int] = field(default_factory=dict)
    version: int = 0
    """Version of the warehouse afterwards; unchanged if there was nothing to merge."""


def compact(root: Path) -> Compacted:
    """Merge adjacent small parts; rows, their order and encodings stay the same.

    The merged parts stay on disk for readers of older versions, until a vacuum. Ingests may commit
    meanwhile; a part that one of them replaces is not merged.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    WriteFailed
        Groups of parts that were already committed stay merged; nothing else was changed.
    """
    require(root)
    with locks.writing(root):
        found = delta.snapshot(root)
        while groups := _groups(delta.snapshot(root)):
            done = _merge_groups(root, groups)
            # Do not wait until none is left: other writers may add parts faster than this merges.
            if done and all(len(parts) < FAN_IN for _, parts in groups):
                break
        made = delta.snapshot(root)
    return Compacted(_count(found), _count(made), made.version)


def _count(snapshot: Snapshot) -> dict[str, int]:
    return {table: len(parts) for table, parts in snapshot.parts.items()}


def _groups(snapshot: Snapshot) -> list[tuple[str, list[str]]]:
    """Return the parts to merge, a list per new part."""
    groups = []
    for table in tables.REGISTRY:
        folder = layout.table_folder(snapshot.root, table.name)
        parts = sorted(
            snapshot.parts[table.name], key=lambda part: (int(layout.batch_of_part(part)), part)
        )
        sizes = [(part, _size(folder / part, table)) for part in parts]
        groups += [(table.name, group) for group in _runs(sizes, table) if len(group) > 1]
    return groups


def _size(path: Path, table: StoredTable) -> int:
    if table.has_long_values:
        return path.stat().st_size
    rows: int = pq.read_metadata(path).num_rows
    return rows


def _runs(sizes: list[tuple[str, int]], table: StoredTable) -> Iterator[list[str]]:
    """Split the parts of a table, in order, into groups below the target size.

    A part of at least half the target size is not merged again, so that rows are not rewritten each
    time some are added.
    """
    run: list[str] = []
    total = 0
    for part, size in sizes:
        is_full = size > table.part_size // 2
        is_other = table.is_of_one_batch and run and _batch(run[0]) != _batch(part)
        if is_full or is_other or total + size > table.part_size or len(run) == FAN_IN:
            yield run
            run, total = [], 0
        if not is_full:
            run.append(part)
            total += size
    yield run


def _batch(part: str) -> str:
    return layout.batch_of_part(part)


def _merge_groups(root: Path, groups: list[tuple[str, list[str]]]) -> bool:
    """Write the merged parts, and replace the old ones in one transaction.

    Returns whether all old parts were still there.
    """
    merged: list[tuple[str, list[str], Part]] = []
    committing = False
    try:
        for name, parts in groups:
            merged.append((name, parts, _merged(root, tables.named(name), parts)))
        with locks.locked(root):
            base = delta.snapshot(root)
            changes = {table: Change(is_rearranged=True) for table in tables.names()}
            for table, parts, part in merged:
                if set(parts) <= set(base.parts[table]):
                    changes[table].add.append(part)
                    changes[table].remove.extend(parts)
            kept = {part.path for change in changes.values() for part in change.add}
            # From here on the parts may belong to a version, so they are never deleted.
            committing = True
            if kept:
                delta.commit(root, changes, base, "compact")
    except BaseException:
        if not committing:
            layout.drop_parts(root, [(table, part) for table, _, part in merged])
        raise
    late = [(table, part) for table, _, part in merged if part.path not in kept]
    layout.drop_parts(root, late)
    return not late


def _merged(root: Path, table: StoredTable, parts: list[str]) -> Part:
    folder = layout.table_folder(root, table.name)
    paths = [folder / part for part in parts]
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    schema = table.schema
    pieces = merge(paths, schema, table.order, table.rows_at_once)
    write = partial(write_pieces if table.is_long else _write_pieces, pieces, schema)
    part = write_part(root, table.name, _batch(parts[0]), 0, write, rows)
    written = pq.read_metadata(folder / part.path).num_rows
    if written != rows:
        (folder / part.path).unlink()
        raise StoreError(
            f"{written:,} of {rows:,} rows of {table.name} were merged; nothing was changed. "
            "This is a defect, please report it"
        )
    return part


def _write_pieces(pieces: Iterator[pa.Table], schema: pa.Schema, path: str) -> None:
    """Write a table without a sort key, in row groups of about the same size as in an ingest."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        held_bytes = 0
        for piece in pieces:
            held.append(piece)
            # Looking up a column by name in a table of a hundred takes 0.1 ms, so do it once.
            held_bytes += piece.nbytes
            if held_bytes >= _GROUP_BYTES:
                writer.write_table(pa.concat_tables(held))
                held.clear()
                held_bytes = 0
        if held:
            writer.write_table(pa.concat_tables(held))
