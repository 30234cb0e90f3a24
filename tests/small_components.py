"""One of everything that components store, so that no table or view of them is empty."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import warehouse
from warehouse.algorithms import jobs
from warehouse.algorithms.jobs import Case, Event, Input, spec_of
from warehouse.components.checking import now
from warehouse.components.examples import EXAMPLES
from warehouse.errors import ArchiveRefused


def add_components(wh: warehouse.Warehouse) -> None:
    """Add sockets, values about one series, a set and an interface."""
    parts = wh.components
    (series,) = wh.sql(
        "select series_key from series where Modality = 'PT' order by series_key limit 1"
    ).fetchall()[0]
    parts.create_socket(title="Lesions", kind="MPOL", relative_path="lesions.json")
    parts.create_socket(title="Scan", kind="DCMIS", relative_path="images/scan")
    for reader in ("reader 1", "reader 2"):
        added = parts.add_value("lesions", EXAMPLES["MPOL"], series=series, by=reader)
    parts.add_value("scan", dicom_series=series)
    parts.put("lesions of two readers", "case 1", {"lesions": added.value_id})
    parts.add_interface(["scan"], ["lesions"])
    add_jobs(wh, series)


def add_jobs(wh: warehouse.Warehouse, series: str) -> None:
    """Add an image that was refused, an algorithm, and a job of it with all that a job may have."""
    wh.components.create_socket(title="Mean value", kind="FLT", relative_path="mean.json")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "i.tar"
        archive.write_bytes(b"no archive")
        with contextlib.suppress(ArchiveRefused):
            wh.algorithms.add_image(archive, parent="mean-value")
    made = wh.algorithms.create(
        "mean-value", "scan -> mean-value", api_method="external",
        matching={"scan": "Modality = 'PT'"},
    )  # fmt: skip
    case = Case(made.interfaces[0], (Input("scan", series_key=series),), series)
    spec = spec_of(made, case)
    jobs.add_jobs(wh.root, [spec])
    value = wh.add_value("mean-value", 0.5, series=series, by="mean-value@1").value_id
    measured = {"metric_names": ["memory_bytes"], "metric_seconds": [1.0], "metric_values": [1e6]}
    found = {"output_slugs": ["mean-value"], "output_values": [value]}
    events = [("provisioned", {}), ("started", {}), ("executed", measured), ("parsed", found)]
    jobs.record(wh.root, [Event(spec.job_id, what, now(), "", more) for what, more in events])
    wh.refresh()
