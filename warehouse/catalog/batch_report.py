"""Report on one batch, for operators.

In: a warehouse and the key of a batch. Out: ``BatchReport``: counts, reasons and example paths,
without header values. The SELECTs are in ``sql/reports/``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.sqlfiles import statement
from warehouse.store import delta, layout
from warehouse.store.duck import lent, view_files

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Rows and files of a batch in the newest version."""

    instances: int
    """Files that hold an instance."""
    source_bytes: int
    """Size of its source files, including pixel data."""
    stored_rows: dict[str, int]
    """Table → rows of the batch."""
    stored_bytes: dict[str, int]
    """Table → bytes of the Parquet files of the batch."""
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
        folder = layout.table_folder(root, table)
        ours = [folder / part for part in parts if layout.batch_of_part(part) == batch]
        rows[table] = sum(pq.read_metadata(part).num_rows for part in ours)
        sizes[table] = sum(os.path.getsize(part) for part in ours)
    with lent() as connection:
        view_files(connection, snapshot.paths("files"))
        connection.execute("set variable batch = $1", [batch])
        instances, source_bytes = connection.execute(statement("sizes", "reports")).fetchall()[0]
        rejects = connection.execute(statement("reject_reasons", "reports")).fetchall()
        arrivals = connection.execute(statement("arrivals", "reports")).fetchall()
    return BatchReport(instances, source_bytes, rows, sizes, rejects, sorted(arrivals))
