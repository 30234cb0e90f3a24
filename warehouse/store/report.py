"""A version of the store → its sizes, for people who run it."""

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
    """Parquet files."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Size and version of a warehouse."""

    root: str
    version: int
    layout: int
    tables: list[TableFacts]


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
