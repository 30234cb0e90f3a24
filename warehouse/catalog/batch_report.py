"""One batch of a version → what operators want to know about it.

In: a warehouse, and the key of a batch. Out: ``BatchReport``: numbers, reasons and paths of
examples; no value of a header. The SELECTs stand in ``sql/reports/``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.settings import Mode
from warehouse.sqlfiles import by_name, statement
from warehouse.store import delta, layout
from warehouse.store.duck import connect

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch brought, as the newest version has it."""

    instances: int
    """Files that hold an instance."""
    source_bytes: int
    """Size of its source files, pixel data included."""
    stored_rows: dict[str, int]
    """Table → rows of the batch."""
    stored_bytes: dict[str, int]
    """Table → bytes of the Parquet files of the batch."""
    rejects: list[tuple[str, int, str]]
    """Reason, number of files, path of the first: the twenty most frequent reasons."""
    arrivals: list[tuple[dt.date, int]]
    """Day, and instances of the whole warehouse whose file was last modified on it, UTC; the
    newest thirty days that have any, in order."""


def mode_of_batch(root: Path, batch: str) -> Mode | None:
    """Return the most complete mode in which files of a batch were read; None if there are none."""
    with connect() as connection:
        connection.execute("set variable files_files = $1", [delta.newest_files(root)[1]])
        connection.execute(by_name("files").sql)
        found = connection.execute("select distinct mode from files where batch = $1", [batch])
        modes = [Mode.parse(mode) for (mode,) in found.fetchall()]
    return max(modes, key=lambda mode: mode.rank, default=None)


def describe_batch(root: Path, batch: str) -> BatchReport:
    """Ask the newest version of the warehouse about one batch.

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
    with connect() as connection:
        connection.execute("set variable files_files = $1", [snapshot.paths("files")])
        connection.execute("set variable batch = $1", [batch])
        connection.execute(by_name("files").sql)
        instances, source_bytes = connection.execute(statement("sizes", "reports")).fetchall()[0]
        rejects = connection.execute(statement("reject_reasons", "reports")).fetchall()
        arrivals = connection.execute(statement("arrivals", "reports")).fetchall()
    return BatchReport(instances, source_bytes, rows, sizes, rejects, sorted(arrivals))
