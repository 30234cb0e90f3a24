"""Report on one batch, for operators.

In: a warehouse and the key of a batch. Out: ``BatchReport``: counts, reasons and example paths,
without header values. The SELECTs are in ``sql/reports/``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from warehouse.sqlfiles import statement
from warehouse.store import delta, layout
from warehouse.store.duck import lent, view_files
from warehouse.store.tables import named

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Rows and files of a batch in the newest version."""

    instances: int
    """Files that hold an instance."""
    source_bytes: int
    """Size of its source files, including pixel data."""
    stored_rows: dict[str, int]
    """Table → rows of the batch; `blobs`, which batches share, count for the first batch of their
    Parquet file."""
    stored_bytes: dict[str, int | None]
    """Table → bytes of the Parquet files of the batch; None if they have been merged with others.
    """
    rejects: list[tuple[str, int, str]]
    """Reason, number of files and first path, for the twenty most frequent reasons."""
    arrivals: list[tuple[dt.date, int]]
    """Day (UTC) and number of instances, in the whole warehouse, whose file was last modified on
    it: the newest thirty days with any, in order."""


def describe_batch(root: Path, batch: str) -> BatchReport:
    """Return the report of one batch in the newest version.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    """
    snapshot = delta.snapshot(root)
    rows, sizes = {}, {}
    for table, parts in snapshot.parts.items():
        rows[table], sizes[table] = _stored(root, table, parts, batch)
    with lent() as connection:
        view_files(connection, snapshot.paths("files"))
        connection.execute("set variable batch = $1", [batch])
        instances, source_bytes = connection.execute(statement("sizes", "reports")).fetchall()[0]
        rejects = connection.execute(statement("reject_reasons", "reports")).fetchall()
        arrivals = connection.execute(statement("arrivals", "reports")).fetchall()
    return BatchReport(instances, source_bytes, rows, sizes, rejects, sorted(arrivals))


def _stored(root: Path, table: str, parts: Iterable[str], batch: str) -> tuple[int, int | None]:
    """Return the rows of a batch in a table, and the bytes of the Parquet files that have them.

    A merged file is in the folder of its first batch, so rows are counted by the batch in their id.
    """
    folder = layout.table_folder(root, table)
    own = [folder / part for part in parts if layout.batch_of_part(part) == batch]
    own_rows = sum(pq.read_metadata(part).num_rows for part in own)
    size = sum(os.path.getsize(part) for part in own)
    batch_in = named(table).batch_in
    if batch_in is None:
        return own_rows, size
    key, bits = batch_in
    first, following = (number << bits for number in (int(batch), int(batch) + 1))
    is_of_batch = (pc.field(key) >= first) & (pc.field(key) < following)
    maybe = [folder / part for part in parts if layout.batch_of_part(part) <= batch]
    count, own_count = (
        dataset(paths, format="parquet").count_rows(filter=is_of_batch) if paths else 0
        for paths in (maybe, own)
    )
    return count, size if count == own_count == own_rows else None
