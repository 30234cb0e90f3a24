"""Sizes of a version of the store, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.store import layout

if TYPE_CHECKING:
    from warehouse.store.delta import Snapshot


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Size of one stored table."""

    name: str
    rows: int
    parts: int
    """Number of Parquet files."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Size and version of a warehouse."""

    root: str
    version: int
    layout: int
    tables: list[TableFacts]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """Size of one column of a stored table, in all its parts."""

    table: str
    name: str
    stored_bytes: int
    """Compressed size on disk."""
    plain_bytes: int
    """Encoded size before compression."""
    encodings: list[str]
    compressions: list[str]


def describe_columns(snapshot: Snapshot) -> list[ColumnFacts]:
    """Add up the sizes of every column of every stored table, from Parquet footers alone.

    The columns of a table are sorted by size, the largest first.
    """
    facts = []
    for table in sorted(snapshot.parts):
        folder = layout.table_folder(snapshot.root, table)
        found: dict[str, list[pq.ColumnChunkMetaData]] = {}
        for part in snapshot.parts[table]:
            metadata = pq.read_metadata(folder / part)
            for group in map(metadata.row_group, range(metadata.num_row_groups)):
                for chunk in map(group.column, range(group.num_columns)):
                    # Parquet uses paths such as column.list.element; report the column name.
                    found.setdefault(chunk.path_in_schema.split(".")[0], []).append(chunk)
        columns = [_column_facts(table, name, chunks) for name, chunks in found.items()]
        facts += sorted(columns, key=lambda column: (-column.stored_bytes, column.name))
    return facts


def _column_facts(table: str, name: str, chunks: list[pq.ColumnChunkMetaData]) -> ColumnFacts:
    return ColumnFacts(
        table,
        name,
        sum(chunk.total_compressed_size for chunk in chunks),
        sum(chunk.total_uncompressed_size for chunk in chunks),
        sorted({encoding for chunk in chunks for encoding in chunk.encodings}),
        sorted({chunk.compression for chunk in chunks}),
    )


def describe_store(snapshot: Snapshot) -> StoreFacts:
    """Count rows, parts and bytes of every stored table, from Parquet footers alone."""
    tables = []
    for table in sorted(snapshot.parts):
        folder = layout.table_folder(snapshot.root, table)
        parts = [folder / part for part in snapshot.parts[table]]
        tables.append(
            TableFacts(
                table,
                sum(pq.read_metadata(part).num_rows for part in parts),
                len(parts),
                sum(part.stat().st_size for part in parts),
            )
        )
    return StoreFacts(str(snapshot.root), snapshot.version, layout.LAYOUT_VERSION, tables)
