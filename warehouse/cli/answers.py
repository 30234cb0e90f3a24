"""Write the rows of a query to the terminal, standard output or a file, for every command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from warehouse.cli.screen import boxed, expanded, send_text
from warehouse.errors import UsageError
from warehouse.outputs import format_of, is_stream, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.api import Warehouse
    from warehouse.catalog.connect import Catalog

Format = Annotated[
    Literal["table", "csv", "tsv", "json", "jsonl", "parquet"] | None,
    Parameter(
        name="--format",
        help="Format of the output: a table to read, or all rows as csv, tsv, json (one array), "
        "jsonl or parquet.",
    ),
]

ColumnPerLine = Annotated[
    bool,
    Parameter(
        name=["--expanded", "-x"], negative="", help="Print a column per line, as psql does."
    ),
]


def answer_format(
    requested: str | None, output: Path | None, *, by_column: bool = False, force: bool = False
) -> str:
    """Return the output format, before the query runs.

    Raises
    ------
    UsageError, TargetExists
    """
    from warehouse.catalog import answer

    form = format_of(output, requested, answer.SUFFIXES) if output else requested or "table"
    if output and not is_stream(output):
        refuse_existing(output, force=force)
    if form == "parquet" and not output:
        raise UsageError("parquet is binary: name a file with -o FILE")
    if not by_column:
        return form
    if form != "table":
        raise UsageError(f"-x draws a table, but the format is {form}; leave one out")
    return "expanded"


def send_answer(
    catalog: Catalog, relation: duckdb.DuckDBPyRelation, form: str, output: Path | None, *,
    force: bool = False, note: str = "",
) -> None:  # fmt: skip
    """Write the rows in a format of ``answer_format``; a note is printed below a table."""
    from warehouse.catalog import answer

    if form in {"table", "expanded"}:
        text = boxed(relation) if form == "table" else expanded(relation)
        text = "\n".join(filter(None, (text, note)))
        if output:
            send_text(f"{text}\n", output, force=force)
        else:
            print(text)
    elif output:
        answer.write(catalog, relation, form, output, force=force)
    else:
        sys.stdout.flush()
        answer.send(catalog, relation, form, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def list_rows(
    wh: Warehouse, query: str, form: str | None, output: Path | None, *, force: bool,
    values: Sequence[Any] = (),
) -> int:  # fmt: skip
    """Run the query of a command and write the rows; return the exit code."""
    from warehouse.catalog.connect import ask

    chosen = answer_format(form, output, force=force)
    send_answer(wh.catalog, ask(wh.catalog, query, values or None), chosen, output, force=force)
    return 0
