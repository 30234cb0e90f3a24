"""``header``, ``tags``, ``duplicates`` and ``dictionary``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from warehouse import errors
from warehouse.catalog import answer
from warehouse.catalog.header_lines import lines
from warehouse.catalog.header_rows import header_of_file
from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, app, dictionary, existing
from warehouse.cli.screen import console, printable
from warehouse.store.dictionary import add_dictionary, read_dictionary


@app.command
def header(
    uid_or_file: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Annotated[Literal["table", "json", "csv"], Parameter(name="--format")] = "table",
    full: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print a DICOM header: of a file, or of an instance in the warehouse.

    Example: `dicom-warehouse header scan/0001.dcm`

    Parameters
    ----------
    uid_or_file
        Path of any DICOM file, or SOPInstanceUID of a stored instance.
    form
        A table for people, the DICOM JSON model (PS3.18 Annex F), or CSV with one line per element.
    full
        Print long values whole in the table.
    """
    if os.path.isfile(uid_or_file):
        found = header_of_file(uid_or_file, read_dictionary(warehouse))
    else:
        try:
            found = existing(warehouse).header(uid_or_file)
        except errors.NotAWarehouse as error:
            raise errors.InstanceNotFound(uid_or_file) from error
    if form == "json":
        print(found.to_json())
        return 0
    if form == "csv":
        print(found.frame().write_csv(), end="")
        return 0
    screen = console()
    width = None if full else max(80, screen.width)
    styles = {"title": "bold", "item": "dim", "public": "", "private": ""}
    for kind, line in lines(found, width):
        screen.print(line, style=styles[kind], markup=False, highlight=False, soft_wrap=True)
    return 0


@app.command
def tags(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    like: str = "",
    private: Annotated[bool, Parameter(negative="")] = False,
    form: Annotated[Literal["table", "csv", "json"], Parameter(name="--format")] = "table",
) -> int:
    """List the elements that the archive really contains, with counts and an example value.

    No example is shown where a value may identify a person: attributes of PS3.15 Table E.1-1,
    names, dates, free text, private elements.

    Example: `dicom-warehouse tags --like echo`

    Parameters
    ----------
    like
        Only elements whose tag, keyword, private name or creator contains this text, in any case.
    private
        Only private elements.
    form
        A table for people, CSV, or one JSON array.
    """
    found = existing(warehouse).tags(like=like, private=private)
    if form == "table":
        grid = Table(*found.columns, box=None, header_style="bold", pad_edge=False)
        for row in found.fetchall():
            grid.add_row(*("" if cell is None else escape(printable(cell)) for cell in row))
        console().print(grid, highlight=False)
    else:
        answer.send(existing(warehouse).catalog, found, form, sys.stdout.buffer)
    return 0


@app.command
def duplicates(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    limit: int | None = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Tell files with a used SOPInstanceUID but other content from true copies.

    Each duplicate and the file that holds its instance are read again. The verdict is same, same
    header, same pixels, differs, or unknown; then come the attributes that differ.

    Example: `dicom-warehouse duplicates -w my-warehouse`

    Parameters
    ----------
    limit
        Duplicates to look at, in the order of their paths; all of them if left out.
    every
        List true copies too.
    as_json
        Print one JSON array.
    """
    found = list(existing(warehouse).duplicates(limit=limit))
    shown = [one for one in found if every or one.verdict != "same"]
    if as_json:
        print(json.dumps([asdict(one) for one in shown], ensure_ascii=False))
        return 0
    screen = console()
    for one in shown:
        where = ", ".join(one.differs_in) or one.why_not or ""
        text = f"{one.verdict}: {one.path}\n  held by {one.held_by}\n  {where}".rstrip()
        screen.print(text, markup=False, highlight=False, soft_wrap=True)
    copies = sum(one.verdict == "same" for one in found)
    screen.print(f"{len(found):,} duplicates, {copies:,} of them true copies", highlight=False)
    return 0


@dictionary.command
def add(file: Path, /, *, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Add names of private elements from a CSV or JSON file to the warehouse.

    Fields: creator, tag (such as 0019xx9c, whatever the block) or group and byte, vr, name. They
    come before pydicom's names in headers, `tags` and the view `private_names`.

    Example: `dicom-warehouse dictionary add vendor.csv`
    """
    count = add_dictionary(warehouse, file)
    console().print(f"{count:,} names of private elements added", highlight=False)
    return 0
