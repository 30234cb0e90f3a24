"""A columnar analytics warehouse for DICOM.

>>> import warehouse
>>> wh = warehouse.open("my-warehouse", create=True)
>>> report = wh.ingest("dicom", workers=1)
>>> wh.sql("select Modality, count(*) as series from series group by all").fetchall()
[('CT', 1)]

Read the code in the order of the data: ``dicom`` (parses files into elements), ``elements``
(decodes elements into rows), ``store`` (writes rows to Delta tables), ``ingest`` (runs these three
in sequence), ``sqlfiles`` and ``catalog`` (open Parquet as tables and views), ``cohorts`` (selects,
stores and exports instances), ``api`` and ``cli`` (the public interfaces). ``sql/`` defines the
tables; ``pipelines`` schedules the work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse import errors
    from warehouse.api import Warehouse
    from warehouse.catalog.header import Header
    from warehouse.ingest_report import IngestReport
    from warehouse.opening import header, open  # noqa: A004 - warehouse.open reads as it is
    from warehouse.settings import IngestSettings, Mode

__all__ = [
    "Header", "IngestReport", "IngestSettings", "Mode", "Warehouse", "errors", "header", "open",
]  # fmt: skip

_HOME = {
    "Header": "catalog.header", "IngestReport": "ingest_report", "IngestSettings": "settings",
    "Mode": "settings", "Warehouse": "api", "header": "opening", "open": "opening",
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a public name when it is first accessed.

    Worker processes import only ``warehouse.reading``: without the catalog and Polars they start
    faster, and each uses 20 MB less memory.
    """
    if name == "errors":
        return import_module("warehouse.errors")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"warehouse.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
