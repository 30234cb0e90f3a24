"""The command itself, and what every subcommand shares."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from warehouse import api
from warehouse.cli import buckets

DEFAULT_WAREHOUSE = Path("warehouse-data")

app = App(
    name="dicom-warehouse",
    help="A columnar analytics warehouse for DICOM: point it at files, ask in SQL.\n\n"
    "Example: `dicom-warehouse ingest /data/dicom && "
    'dicom-warehouse sql "select Modality, count(*) from series group by all"`',
    help_format="markdown",
    version=lambda: metadata.version("dicom-warehouse"),
    version_flags=["--version"],
)

dictionary = App(
    name="dictionary",
    help="Names of private elements, beside those that pydicom knows.\n\n"
    "Example: `dicom-warehouse dictionary add vendor.csv`",
)
app.command(dictionary)

rules = App(
    name="rules",
    help="Rules that tell what kind of sequence a series is, for the view `sequence_types`.\n\n"
    "Example: `dicom-warehouse rules list --format csv > mine.csv`",
)
app.command(rules)

Root = Annotated[
    Path,
    Parameter(
        name=["--warehouse", "-w"], env_var="DICOM_WAREHOUSE",
        help="Folder of the warehouse, or s3://bucket/prefix.", converter=buckets.folder,
    ),
]  # fmt: skip


def existing(root: Path) -> api.Warehouse:
    """Open the warehouse that a command asks; one that does not exist is an error when asked."""
    return api.open(root, create=True)
