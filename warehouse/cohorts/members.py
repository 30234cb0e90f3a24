"""Find the members of a run in the newest version of its warehouse.

In: a run. Out: a catalog with the table `members`, and the source file of each instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.cohorts.runs import Run, members_file
from warehouse.errors import ExportFailed
from warehouse.sqlfiles import statement
from warehouse.store.duck import bound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Member:
    """One instance and the file that holds it."""

    instance_key: str
    path: str
    """Path as in ``files``."""
    size_bytes: int
    modified_us: int
    names: dict[str, str]
    """Attributes that a name template may use."""


def members_of(root: Path, run: Run) -> Catalog:
    """Open the newest version with the table `members`; all members must still be stored.

    Raises
    ------
    ExportFailed
    """
    catalog = open_catalog(root)
    # Limit the memory: sorting many wide rows would exhaust it before DuckDB spills by itself.
    bound(catalog.connection)
    # With several threads DuckDB buffers much data to preserve the order of rows.
    catalog.connection.execute("set threads = 1")
    catalog.connection.read_parquet(str(members_file(root, run))).create_view("members")
    gone = catalog.connection.execute(
        "select count(*) from members anti join instances using (instance_key)"
    ).fetchall()[0][0]
    if gone:
        raise ExportFailed(
            run.run,
            f"{gone} of its instances are no longer in the warehouse; "
            f"dicom-warehouse cohort rerun {run.run} lists them",
        )
    return catalog


def sources(catalog: Catalog) -> Iterator[Member]:
    """Yield the members of a run, sorted by key; the catalog must have the table `members`."""
    sql = f"select *, epoch_us(modified_at) as us from ({statement('sources', 'runs')})"
    for batch in catalog.connection.sql(sql).to_arrow_reader(10_000):
        for row in batch.to_pylist():
            yield Member(
                row["instance_key"], row["path"], row["size_bytes"], row["us"],
                {key: str(value) for key, value in row.items()},
            )  # fmt: skip
