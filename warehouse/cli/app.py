"""The command itself, and what every subcommand shares."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

import warehouse
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from cyclopts import Token

DEFAULT_WAREHOUSE = "warehouse-data"

TAKE_IN = Group("Take in", sort_key=1)
ASK = Group("Ask", sort_key=2)
SELECT = Group("Select and export", sort_key=3)
PIXELS = Group("Look at pixels", sort_key=4)
COMPONENTS = Group("Sockets and values", sort_key=5)
ALGORITHMS = Group("Run algorithms", sort_key=6)
OPERATE = Group("Operate", sort_key=7)
SERVE = Group("Serve over the network", sort_key=8)
"""Commands in ``--help``, by what people do."""

app = App(
    name="dicom-warehouse",
    help="A columnar analytics warehouse for DICOM: point it at files, ask in SQL.\n\n"
    "Example: `dicom-warehouse ingest /data/dicom`\n\n"
    'Example: `dicom-warehouse sql "select Modality, PatientID from series"`',
    help_format="markdown",
    version=lambda: metadata.version("dicom-warehouse"),
    version_flags=["--version"],
    group_commands=Group("This command", sort_key=9),
)

dictionary = App(
    name="dictionary",
    help="Names of private elements, beside those that pydicom knows.\n\n"
    "Example: `dicom-warehouse dictionary add vendor.csv`",
    group=OPERATE,
)
app.command(dictionary)

rules = App(
    name="rules",
    help="Rules that tell what kind of sequence a series is, for the view `sequence_types`.\n\n"
    "Example: `dicom-warehouse rules list -o mine.csv`",
    group=OPERATE,
)
app.command(rules)

socket = App(
    name="socket",
    help="What may be said about the archive: sockets with a kind, a path and a schema.\n\n"
    "Example: `dicom-warehouse socket list`",
    group=COMPONENTS,
)
app.command(socket)

value = App(
    name="value",
    help="What people and algorithms said: values, checked by their socket and stored once.\n\n"
    "Example: `dicom-warehouse value add nodule reader1.json --series 1.2.3`",
    group=COMPONENTS,
)
app.command(value)

image = App(
    name="image",
    help="Images of algorithms, from archives as `docker save` writes them.\n\n"
    "Example: `dicom-warehouse image add lung.tar.gz --algorithm lung`",
    group=ALGORITHMS,
)
app.command(image)

model = App(
    name="model",
    help="Weights of algorithms, from archives.\n\n"
    "Example: `dicom-warehouse model add weights.tar.gz --algorithm lung`",
    group=ALGORITHMS,
)
app.command(model)

algorithm = App(
    name="algorithm",
    help="What is run: an image or a Python function, with its inputs and outputs.\n\n"
    "Example: `dicom-warehouse algorithm list`",
    group=ALGORITHMS,
)
app.command(algorithm)

job = App(
    name="job",
    help="Jobs: an algorithm on one case, and what became of it.\n\n"
    "Example: `dicom-warehouse job list --status Failed`",
    group=ALGORITHMS,
)
app.command(job)

Root = Annotated[
    str,
    Parameter(
        name=["--warehouse", "-w"], env_var="DICOM_WAREHOUSE",
        help="Folder of the warehouse, or s3://bucket/prefix.",
    ),
]  # fmt: skip


Output = Annotated[
    Path | None,
    Parameter(
        name=["--output", "-o"],
        help="File to write instead of standard output; its suffix says the format.",
    ),
]

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")
]

Force = Annotated[bool, Parameter(negative="", help="Replace a file that exists.")]


def _text(_kind: Any, tokens: list[Token]) -> str:
    """Return an argument as the UTF-8 that was typed, whatever the locale says it is.

    Python reads arguments in the encoding of the locale; under LC_ALL=C what is not ASCII comes
    as surrogates, which DuckDB cannot take.
    """
    try:
        return os.fsencode(tokens[0].value).decode()
    except UnicodeError:
        raise UsageError("an argument is not UTF-8 text") from None


Text = Annotated[str, Parameter(converter=_text)]


_opened: list[warehouse.Warehouse] = []
"""Warehouses of this run of the command."""


def opened(root: str) -> warehouse.Warehouse:
    """Open the warehouse of a command; that it does not exist is told when it is asked."""
    _opened.append(warehouse.open(root, create=True))
    return _opened[-1]


def opened_roots() -> list[Path]:
    """Return the folders of the warehouses that this run has opened."""
    return [each.root for each in _opened]


def close_all() -> None:
    """Let other commands use the folders that stand for buckets."""
    while _opened:
        _opened.pop().close()
