"""``header``, ``tags``, ``duplicates`` and ``dictionary``."""

from __future__ import annotations

import io
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warehouse import errors
from warehouse.cli.answers import ColumnPerLine, Format, answer_format, send_answer
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printable, say, send_text
from warehouse.counted import counted
from warehouse.escape import escaped, json_text
from warehouse.outputs import format_of, is_stream, refuse_existing

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

dictionary = App(
    name="dictionary",
    help="Names of private elements, in addition to pydicom's.\n\n"
    "Example: `dicom-warehouse dictionary add vendor.csv`",
)

_HEADER_SUFFIXES = {".txt": "table", ".json": "json", ".csv": "csv"}

_MOST_DIFFERENCES = 20
"""Maximum number of differing elements printed per duplicate; a DICOMDIR has thousands."""


def header(
    uid_or_file: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Annotated[Literal["table", "json", "csv"] | None, Parameter(name="--format")] = None,
    full: Annotated[bool, Parameter(negative="")] = False,
    output: Output = None,
    force: Force = False,
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
        Do not truncate long values in the table.
    """
    from warehouse.catalog.header_lines import lines

    chosen = format_of(output, form, _HEADER_SUFFIXES) if output else form or "table"
    if output and not is_stream(output):
        refuse_existing(output, force=force)
    if os.path.isfile(uid_or_file):
        from warehouse.catalog.header_rows import header_of_file
        from warehouse.store.dictionary import read_dictionary

        elements = header_of_file(uid_or_file, read_dictionary(opened(warehouse).root))
    else:
        try:
            elements = opened(warehouse).header(uid_or_file)
        except errors.NotAWarehouse as error:
            raise errors.InstanceNotFound(uid_or_file) from error
        if not elements.elements:
            from warehouse.catalog.unread import why_no_elements

            say(why_no_elements(opened(warehouse).catalog))
    if chosen == "json":
        send_text(f"{json_text(elements.to_json())}\n", output, force=force)
        return 0
    if chosen == "csv":
        send_text(elements.frame().write_csv(), output, force=force)
        return 0
    screen = console()
    width = None if full or output else max(80, screen.width)
    drawn = [(kind, escaped(line)) for kind, line in lines(elements, width)]
    if output:
        send_text("".join(f"{line}\n" for _, line in drawn), output, force=force)
        return 0
    styles = {"title": "bold", "item": "dim", "public": "", "private": ""}
    for kind, line in drawn:
        screen.print(line, style=styles[kind], markup=False, highlight=False, soft_wrap=True)
    return 0


def tags(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    like: Text = "",
    private: Annotated[bool, Parameter(negative="")] = False,
    form: Format = None,
    by_column: ColumnPerLine = False,
    output: Output = None,
    force: Force = False,
) -> int:
    """List the elements that occur in the archive, with counts and an example value.

    No example is shown where a value may identify a person: attributes of PS3.15 Table E.1-1,
    names, dates, free text, private elements.

    Example: `dicom-warehouse tags --like echo`

    Parameters
    ----------
    like
        Only elements whose tag, keyword, private name or creator contains this text, in any case.
    private
        Only private elements.
    """
    chosen = answer_format(form, output, by_column=by_column, force=force)
    wh = opened(warehouse)
    relation = wh.tags(like=like, private=private)
    if chosen == "table":
        grid = Table(*relation.columns, box=None, header_style="bold", pad_edge=False)
        for column in grid.columns:
            column.overflow = "fold"  # a truncated creator cannot be used in a query
        rows = relation.fetchall()
        for row in rows:
            grid.add_row(*("" if cell is None else escape(printable(cell)) for cell in row))
        if output:
            drawn = io.StringIO()
            Console(file=drawn, width=10_000).print(grid, highlight=False)
            send_text(drawn.getvalue(), output, force=force)
        else:
            console().print(grid, highlight=False)
        is_empty = not rows
    else:
        send_answer(wh.catalog, relation, chosen, output, force=force)
        is_empty = not relation.limit(1).fetchall()
    if is_empty:
        _explain_no_tags(wh.catalog, like, private=private)
    return 0


def duplicates(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    limit: int | None = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Compare duplicates with the stored file: true copies, or a reused SOPInstanceUID.

    Each duplicate and the file that holds its instance are read again. The verdict is same, same
    header, same pixels, differs, or unknown; then come the attributes that differ.

    Example: `dicom-warehouse duplicates -w my-warehouse`

    Parameters
    ----------
    limit
        Number of duplicates to compare, in the order of their paths; by default all.
    every
        Also list true copies.
    as_json
        Print one JSON array.
    """
    compared = list(opened(warehouse).duplicates(limit=limit))
    shown = [each for each in compared if every or each.verdict != "same"]
    if as_json:
        send_document([asdict(each) for each in shown])
        return 0
    screen = console()
    for each in shown:
        more = len(each.differs_in) - _MOST_DIFFERENCES
        rest = [f"{more:,} more, which --json lists"] if more > 0 else []
        where = ", ".join([*each.differs_in[:_MOST_DIFFERENCES], *rest]) or each.why_not or ""
        text = f"{each.verdict}: {each.path}\n  held by {each.held_by}\n  {where}".rstrip()
        screen.print(text, markup=False, highlight=False, soft_wrap=True)
    copies = sum(each.verdict == "same" for each in compared)
    found = counted(len(compared), "duplicate")
    screen.print(f"{found}, {copies:,} of them true copies", highlight=False)
    return 0


def _explain_no_tags(catalog: Catalog, like: str, *, private: bool) -> None:
    """Print where else a name occurs, or why there are no private elements."""
    from warehouse.catalog.unread import vendor_names, why_no_private_elements

    if names := vendor_names(catalog, like) if like else []:
        say(
            f"{', '.join(names)}: not an element, but in a vendor payload such as a CSA header; "
            f"dicom-warehouse sql \"from vendor_elements where name = '{names[0]}' limit 5\""
        )
    elif private or not like:
        say(why_no_private_elements(catalog))


@dictionary.command
def add(file: Path, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Add names of private elements from a CSV or JSON file to the warehouse.

    Fields: creator, tag (such as 0019xx9c, for any block) or group and byte, vr, name. These names
    take precedence over pydicom's in headers, `tags` and the view `private_names`.

    Example: `dicom-warehouse dictionary add vendor.csv`
    """
    count = opened(warehouse).add_dictionary(file)
    if as_json:
        send_document({"names": count})
        return 0
    what = counted(count, "name of a private element", "names of private elements")
    console().print(f"{what} added", highlight=False)
    return 0
