"""One of everything that components store, so that no table or view of them is empty."""

from __future__ import annotations

import warehouse
from warehouse.components.examples import EXAMPLES


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
