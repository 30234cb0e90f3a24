"""A columnar analytics warehouse for DICOM.

>>> import warehouse
>>> wh = warehouse.open("my-warehouse")                       # doctest: +SKIP
>>> wh.ingest("/data/dicom")                                  # doctest: +SKIP
>>> wh.sql("select Modality, count(*) from series group by all")  # doctest: +SKIP

Reading order of the code, in the order of the data: ``dicom`` (a file becomes elements),
``elements`` (elements become rows), ``store`` (rows become Delta tables), ``ingest`` (these three
in a row), ``sqlfiles`` and ``catalog`` (Parquet becomes tables and views), ``cohorts`` (who is
selected, kept and exported), ``api`` and ``cli`` (what users hold). What the tables mean is written
in ``sql/``; when things run, in ``pipelines``.
"""

from warehouse import errors
from warehouse.api import Warehouse, header, open  # noqa: A004 - warehouse.open reads as it is
from warehouse.catalog.header import Header
from warehouse.ingest import IngestReport
from warehouse.settings import IngestSettings, Mode

__all__ = [
    "Header", "IngestReport", "IngestSettings", "Mode", "Warehouse", "errors", "header", "open",
]  # fmt: skip
