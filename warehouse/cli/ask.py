"""``sql``, ``tables`` and ``describe``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.table import Table

from warehouse import errors
from warehouse.catalog import answer
from warehouse.catalog.connect import ask
from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, app, existing
from warehouse.cli.screen import boxed, console


@app.command
def sql(
    query: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Annotated[
        Literal["table", "csv", "json", "parquet"] | None, Parameter(name="--format")
    ] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
) -> int:
    """Ask the warehouse in DuckDB's SQL.

    Example: `dicom-warehouse sql "select Modality, count(*) from series group by all"`

    Parameters
    ----------
    query
        One statement that returns rows; tables and views are those of `dicom-warehouse tables`.
    form
        How to print the rows; json is one array of objects. With -o the default follows the name.
    output
        File to write instead of standard output.
    """
    suffix = output.suffix.removeprefix(".") if output else ""
    chosen: str = form or (suffix if suffix in answer.FORMATS else "table")
    catalog = existing(warehouse).catalog
    relation = ask(catalog, query)
    if chosen == "table":
        text = boxed(relation)
        if output:
            output.write_text(text + "\n", encoding="utf-8")
        else:
            print(text)
    elif output:
        answer.write(catalog, relation, chosen, output)
    elif chosen == "parquet":
        raise errors.UsageError("parquet is binary: name a file with -o FILE")
    else:
        sys.stdout.flush()
        answer.send(catalog, relation, chosen, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return 0


@app.command
def tables(*, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """List tables and views, with what a row of each is.

    Example: `dicom-warehouse tables -w my-warehouse`
    """
    catalog = existing(warehouse).catalog
    grid = Table(
        "name", "rows", "kind", "what it is", box=None, header_style="bold", pad_edge=False
    )
    for model in sorted(catalog.models.values(), key=lambda m: (m.layer, m.name)):
        count = catalog.connection.execute(f"select count(*) from {model.name}").fetchall()[0][0]
        grid.add_row(model.name, f"{count:,}", "table" if model.table else "view", model.summary)
    grid.columns[1].justify = "right"
    console().print(grid)
    return 0


@app.command
def describe(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Show the columns of a table or view: type and meaning.

    Example: `dicom-warehouse describe series`
    """
    model = existing(warehouse).catalog.model(name)
    screen = console()
    screen.print(model.description, highlight=False)
    if model.grain:
        screen.print(f"\nOne row per {', '.join(model.grain)}.\n", highlight=False)
    grid = Table("column", "type", "meaning", box=None, header_style="bold", pad_edge=False)
    for column in model.columns:
        grid.add_row(column.name, column.type, column.description)
    screen.print(grid)
    return 0
