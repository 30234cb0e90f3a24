"""``sql``, ``tables`` and ``describe``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from warehouse.cli.answers import ColumnPerLine, Format, answer_format, send_answer
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, say
from warehouse.errors import UsageError
from warehouse.inputs import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.catalog.guide import Entry
    from warehouse.cohorts.definitions import Definition

WIDE = 110
"""Width of a terminal, in characters, from which `tables` shows keys too."""


def sql(
    # A hyphen stands for standard input, and two begin a comment.
    query: Annotated[Text | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    file: Path | None = None,
    form: Format = None,
    by_column: ColumnPerLine = False,
    output: Output = None,
    force: Force = False,
) -> int:
    """Run a query in DuckDB's SQL.

    Example: `dicom-warehouse sql "select Modality, PatientID from series"`

    Example: `dicom-warehouse sql --file question.sql -o answer.parquet`

    Parameters
    ----------
    query
        One statement that returns rows, or - to read it from standard input; `dicom-warehouse
        tables` lists what can be queried.
    file
        Read the statement from this file.
    """
    from warehouse.catalog.connect import ask
    from warehouse.catalog.statements import require_question
    from warehouse.catalog.unread import asks_for_private_elements, why_no_private_elements

    chosen = answer_format(form, output, by_column=by_column, force=force)
    text = _query(query, file)
    require_question(text)
    catalog = opened(warehouse).catalog
    relation = ask(catalog, text)
    send_answer(catalog, relation, chosen, output, force=force)
    if asks_for_private_elements(text) and not relation.limit(1).fetchall():
        say(why_no_private_elements(catalog))
    return 0


def _query(query: str | None, file: Path | None) -> str:
    if file is not None:
        if query is not None:
            raise UsageError("a query and --file are given; leave one out")
        return read_text(file)
    if query is None:
        raise UsageError("no query is given; write it after sql, or - to read standard input")
    if query.startswith("-") and len(query.split()) == 1 and query != "-":
        raise UsageError(f"unknown option {query}; try: dicom-warehouse sql --help")
    if query != "-":
        return query
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeError:
        raise UsageError("standard input is not UTF-8 text; send it as UTF-8") from None


def tables(
    *, warehouse: Root = DEFAULT_WAREHOUSE, count: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """List tables and views, with the meaning and key of a row.

    Example: `dicom-warehouse tables -w my-warehouse`

    Parameters
    ----------
    count
        Count the rows of views too, which computes every view.
    """
    from warehouse.catalog.data_dictionary import TITLES
    from warehouse.catalog.guide import entries
    from warehouse.store.report import describe_store

    catalog = opened(warehouse).catalog
    rows = {table.name: table.rows for table in describe_store(catalog.snapshot).tables}
    grid = Table("name", "rows", "what it is", "key", box=None, header_style="bold", pad_edge=False)
    grid.columns[0].no_wrap = True
    grid.columns[1].justify = "right"
    grid.columns[1].no_wrap = True
    grid.columns[2].ratio = 2
    grid.columns[3].ratio = 1
    screen = console()
    is_wide = screen.width >= WIDE
    if not is_wide:
        grid.columns.pop()
    listed = entries()
    for entry in listed:
        if entry.kind not in {"table", "view"}:
            continue
        if count and entry.kind == "view":
            result = catalog.connection.execute(f"select count(*) from {entry.name}")
            rows[entry.name] = result.fetchall()[0][0]
        number = f"{rows[entry.name]:,}" if entry.name in rows else ""
        cells = (entry.name, number, escape(entry.summary), ", ".join(entry.grain))
        grid.add_row(*cells[: len(grid.columns)])
    if as_json:
        facts = [
            {"name": entry.name, "kind": entry.kind, "rows": rows.get(entry.name),
             "key": list(entry.grain), "description": entry.summary}
            for entry in listed if entry.kind in {"table", "view"}
        ]  # fmt: skip
        send_document({"tables": facts})
        return 0
    screen.print(grid, highlight=False)
    for layer in ("0_macros", "4_cohorts"):
        names = ", ".join(entry.name for entry in listed if entry.layer == layer)
        screen.print(f"\n[bold]{TITLES[layer].lower()}[/]  {names}", highlight=False)
    more = "columns and an example" if is_wide else "key, columns and an example"
    screen.print(f"\n{more}: dicom-warehouse describe NAME", highlight=False)
    return 0


def describe(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Describe a table, view, macro or cohort and its columns, with an example query.

    Example: `dicom-warehouse describe series`

    Parameters
    ----------
    name
        A name that `dicom-warehouse tables` or `dicom-warehouse cohort list` shows.
    """
    from warehouse.catalog.guide import find_entry

    wh = opened(warehouse)
    _ = wh.catalog  # if there is no warehouse, raise that error, not that of an unknown name
    entry = find_entry(name, _saved(wh.cohorts().values()))
    if as_json:
        facts = asdict(entry)
        send_document({
            **{key: facts[key] for key in ("name", "kind", "description", "columns", "calls")},
            "key": entry.grain, "parameters": facts["params"], "example": entry.example or None,
        })  # fmt: skip
        return 0
    screen = console()
    # Lines of a header in sql/ are too long for many terminals: let the console wrap paragraphs.
    paragraphs = [" ".join(text.split()) for text in entry.description.split("\n\n")]
    screen.print("\n\n".join(paragraphs), highlight=False, markup=False)
    if entry.grain:
        screen.print(f"\nKey: {', '.join(entry.grain)}.", highlight=False)
    for call in entry.calls:
        screen.print(f"\n{call}" if call == entry.calls[0] else call, highlight=False, markup=False)
    if entry.params:
        screen.print()
        grid = Table(
            "parameter", "type", "default", "meaning", box=None, header_style="bold", pad_edge=False
        )
        for param in entry.params:
            cells = (param.name, param.type, param.default, param.description)
            grid.add_row(*map(escape, cells))
        screen.print(grid, highlight=False)
    if entry.columns:
        screen.print()
        grid = Table("column", "type", "meaning", box=None, header_style="bold", pad_edge=False)
        for column in entry.columns:
            grid.add_row(*map(escape, (column.name, column.type, column.description)))
        screen.print(grid, highlight=False)
    # Not wrapped, so that it can be copied.
    lines = [f'dicom-warehouse sql "{entry.example}"'] if entry.example else []
    if entry.kind == "cohort":
        lines.append(f"dicom-warehouse cohort run {entry.name}")
    print("\nExample:")
    for line in lines:
        print(f"  {line}")
    return 0


def _saved(cohorts: Iterable[Definition]) -> tuple[Entry, ...]:
    """Return the entries of saved cohorts."""
    from warehouse.catalog.guide import Entry

    return tuple(
        Entry(
            cohort.name, "cohort", "4_cohorts", cohort.description, cohort.description, (), (),
            cohort.params, (), "",
        )
        for cohort in cohorts if cohort.kind == "saved"
    )  # fmt: skip
