"""Make a BIDS data set from de-identified files only.

In: the folder of an export whose files are written. Out: a data set. The files are ingested into a
temporary warehouse, which is exported: sidecars, tables and names contain only values of
de-identified headers.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.bids.export import Account, Options, write_data_set
from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.runs import keep, package_version
from warehouse.deidentify.work import FILES
from warehouse.errors import ExportFailed
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Limits
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run
    from warehouse.deidentify.files import Treatment

_NAME = "deidentified"
_README = """\
De-identified magnetic resonance images
=======================================

This data set was written by dicom-warehouse {version} from DICOM files that were de-identified by
the Basic Application Level Confidentiality Profile of DICOM PS3.15, edition 2026c.
Options: {options}.

- report.html says what was changed and left out; audit.parquet has a row for every change,
  left_out.csv the instances that could not be de-identified.
- series.tsv has one row per series: the images that were made of it, or why there are none.
- manifest.csv has the sha256 of each file; `dicom-warehouse cohort verify FOLDER` compares them.

Labels of subjects are pseudonyms. Dates, times, ages and UIDs are those of the de-identified files.
Faces have not been removed: they can be reconstructed from images of a head. Text in pixels was
detected by headers only.
"""


def sizes(catalog: Catalog, how: Treatment) -> pa.Table:
    """Return the new key of each member, and the number of instances of its series."""
    keeps = "uids" in how.profile.options
    keys: list[str] = []
    counts: list[int] = []
    rows = catalog.connection.sql(statement("series_sizes", "runs")).to_arrow_reader(50_000)
    for batch in rows:
        olds = batch["instance_key"].to_pylist()
        keys += olds if keeps else [how.key.uid(old) for old in olds]
        counts += batch["instance_count"].to_pylist()
    return pa.table({"instance_key": keys, "instance_count": pa.array(counts, pa.int64())})


def data_set(
    work: Path, facts: dict[str, Any], whole: pa.Table, options: Options, limits: Limits
) -> Path:
    """Write the data set of the files in a folder; return its path.

    Parameters
    ----------
    work
        Working folder of the export; its folder ``files`` has the files and their tables.
    facts
        Provenance of the export; updated in place to that of the data set.
    whole
        Result of ``sizes``: a series that lacks instances is not written.
    options
        Options of the data set.
    limits
        Limits per file; the files are ingested into a temporary warehouse.

    Raises
    ------
    ExportFailed
    """
    root, target = work / "warehouse", work / "data_set"
    for folder in (root, target):  # left by a stopped export
        shutil.rmtree(folder, ignore_errors=True)
    ingest(root, [work / FILES], IngestSettings(workers=1, limits=limits))
    run, partial = _run_of_all(root, whole)
    if (count := run.counts["instances"]) != facts["counts"]["instances"]:
        raise ExportFailed("a data set", f"only {count} of its files could be read again")
    option_names = ", ".join(facts["deidentified"]["options"]) or "none"
    readme = _README.format(version=package_version(), options=option_names)
    del facts["manifest_sha256"]
    facts |= {"digest": run.digest}
    account = Account(facts, partial, tuple(facts["beside"]), readme)
    write_data_set(root, run, target, options, account)
    for name in account.beside:
        shutil.copyfile(work / FILES / name, target / name)
    return target


def _run_of_all(root: Path, series_sizes: pa.Table) -> tuple[Run, dict[str, str]]:
    """Return a run of all instances, and the reason for each incomplete series."""
    catalog = open_catalog(root)
    connection = catalog.connection
    connection.execute("create temp table picked as select instance_key as key from instances")
    connection.execute("set variable picked_level = 'instance'")
    members = connection.sql(statement("members", "runs")).to_arrow_reader(50_000)
    run = keep(
        root, members, cohort=_NAME, kind="saved", sql="from instances", parameters={},
        level="instance", warehouse={},
    )  # fmt: skip
    connection.register("sizes", series_sizes)
    rows = connection.execute(statement("partial_series", "bids")).fetchall()
    return run, {key: f"only {count} of {total} instances" for key, count, total in rows}
