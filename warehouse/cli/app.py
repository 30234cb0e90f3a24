"""The command ``dicom-warehouse``, and the parameters that subcommands share."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

import warehouse
from warehouse.errors import UsageError
from warehouse.process import do_without_pandas, do_without_requests

if TYPE_CHECKING:
    from cyclopts import Token

DEFAULT_WAREHOUSE = "warehouse-data"

TAKE_IN = Group("Ingest", sort_key=1)
ASK = Group("Query", sort_key=2)
SELECT = Group("Select and export", sort_key=3)
PIXELS = Group("Pixels", sort_key=4)
COMPONENTS = Group("Sockets and values", sort_key=5)
ALGORITHMS = Group("Run algorithms", sort_key=6)
OPERATE = Group("Operate", sort_key=7)
SERVE = Group("Serve over the network", sort_key=8)
"""Groups of commands in ``--help``, in this order."""

app = App(
    name="dicom-warehouse",
    help="A columnar analytics warehouse for DICOM: ingest files, query them in SQL.\n\n"
    "Example: `dicom-warehouse ingest /data/dicom`\n\n"
    'Example: `dicom-warehouse sql "select Modality, PatientID from series"`',
    help_format="markdown",
    version=lambda: metadata.version("dicom-warehouse"),
    version_flags=["--version"],
    version_format="plaintext",
    group_commands=Group("This command", sort_key=9),
    # No --empty-NAME for lists and tuples: leaving the option out says the same.
    default_parameter=Parameter(negative_iterable=()),
)

COMMANDS = {
    TAKE_IN: {"ingest": "intake:ingest"},
    ASK: {
        "sql": "ask:sql", "tables": "ask:tables", "describe": "ask:describe",
        "header": "headers:header", "tags": "headers:tags", "duplicates": "headers:duplicates",
    },
    SELECT: {
        "select": "select:select", "cohort": "cohort:cohort",
        "deidentify": "deidentify:deidentify",
    },
    PIXELS: {"volume": "volume:volume", "gradients": "gradients:gradients"},
    COMPONENTS: {"socket": "sockets:socket", "value": "value:value"},
    ALGORITHMS: {
        "image": "algorithms:image", "model": "algorithms:model",
        "algorithm": "algorithms:algorithm", "job": "jobs:job", "run": "algorithms:run",
        "evaluate": "algorithms:evaluate",
    },
    OPERATE: {
        "info": "store:info", "remove": "store:remove", "rebuild": "store:rebuild",
        "compact": "store:compact", "vacuum": "store:vacuum", "verify": "health:verify",
        "relocate": "health:relocate", "audit": "health:audit", "forget": "forgetting:forget",
        "batch": "batch:batch", "dictionary": "headers:dictionary", "rules": "sequence_rules:rules",
        "completion": "completion:completion",
    },
    SERVE: {
        "serve": "serve:serve", "token": "serve:token", "viewer": "serve:viewer",
        "listen": "network:listen", "fetch": "network:fetch",
    },
}  # fmt: skip
"""Group → command → module of this package and function, or ``App`` of a group of commands.

A module is imported when its command is named, all of them for the list in ``--help``. Modules
import duckdb, pyarrow and other slow packages inside functions, as help needs none of them. There
is no help text here, as cyclopts would show it instead of the docstring.
"""

for _group, _commands in COMMANDS.items():
    for _name, _where in _commands.items():
        app.command(f"warehouse.cli.{_where}", name=_name, group=_group)

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
        help="File to write instead of standard output; its suffix gives the format.",
    ),
]

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")
]

Force = Annotated[bool, Parameter(negative="", help="Replace a file that exists.")]


def _text(_kind: Any, tokens: list[Token]) -> str:
    """Decode an argument as UTF-8, whatever the locale.

    Python decodes arguments with the encoding of the locale; under LC_ALL=C other characters than
    ASCII become surrogates, which DuckDB does not accept.
    """
    try:
        return os.fsencode(tokens[0].value).decode()
    except UnicodeError:
        raise UsageError("an argument is not UTF-8 text") from None


Text = Annotated[str, Parameter(converter=_text)]


_opened: list[warehouse.Warehouse] = []
"""Warehouses of this run of the command."""


def opened(root: str) -> warehouse.Warehouse:
    """Open the warehouse of a command; a missing one is reported by the first query."""
    # Must run before the first array is created.
    do_without_pandas()
    do_without_requests()
    _opened.append(warehouse.open(root, create=True))
    return _opened[-1]


def opened_roots() -> list[Path]:
    """Return the folders of the warehouses that this run has opened."""
    return [each.root for each in _opened]


def close_all() -> None:
    """Close all warehouses of this run, which releases the mirrors of buckets."""
    while _opened:
        _opened.pop().close()
