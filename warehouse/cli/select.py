"""``select``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warehouse.cli.answers import ColumnPerLine, Format, answer_format, send_answer
from warehouse.cli.app import DEFAULT_WAREHOUSE, Force, Output, Root, Text, opened
from warehouse.cli.screen import fitting, say
from warehouse.errors import UnknownFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def select(
    table: str,
    /,
    *conditions: Annotated[Text, Parameter(allow_leading_hyphen=True)],
    warehouse: Root = DEFAULT_WAREHOUSE,
    columns: Text = "",
    by_column: ColumnPerLine = False,
    search: Text | None = None,
    order: Annotated[Text, Parameter(allow_leading_hyphen=True)] = "",
    limit: int | None = None,
    offset: int = 0,
    form: Format = None,
    output: Output = None,
    force: Force = False,
) -> int:
    """Show the rows of an entity table for which every condition holds.

    Example: `dicom-warehouse select series Modality=MR EchoTime__max=30`

    Example: `dicom-warehouse select series Modality=CT -x --limit 1`

    Parameters
    ----------
    table
        patients, studies, series or instances.
    conditions
        NAME=VALUE, NAME__operator=VALUE, NAME!=VALUE; a name is a column, a keyword or a tag.
        Operators: contains icontains any in existing min max after before during set has null.
    columns
        Names with commas between, or all. A table shows by default what was asked about, then what
        identifies a row, as far as the terminal is wide; other formats and -x have all columns.
    search
        Text that some text column contains, whatever the case.
    order
        Names with commas between; - before one for descending.
    limit
        Rows at most.
    offset
        Rows to leave out at the beginning.
    """
    from warehouse.cohorts.filters import select as select_rows
    from warehouse.cohorts.telling import telling_columns

    asked = _conditions(conditions)
    chosen = answer_format(form, output, by_column=by_column, force=force)
    catalog = opened(warehouse).catalog
    ordered = _names(order)
    shown = [] if columns == "all" else _names(columns)
    model = catalog.model(table)
    is_abridged = not columns and chosen == "table" and output is None
    if is_abridged:
        shown = telling_columns(model, asked, ordered)
    relation = select_rows(
        catalog, table, asked, search=search, order=ordered, limit=limit, offset=offset,
        columns=shown,
    )  # fmt: skip
    note = ""
    if is_abridged:
        relation, left_out = fitting(relation)
        own = {column.name for column in model.columns}
        hidden = len(own - {*relation.columns})
        note = f"{hidden} more columns: -x shows all, --columns NAME,NAME some" if hidden else ""
        note += f"\ntoo wide for this terminal: {', '.join(left_out)}" if left_out else ""
    send_answer(catalog, relation, chosen, output, force=force, note=note)
    lists = _is_one_text(asked)
    if lists and not relation.limit(1).fetchall():
        say(f"{lists[0]} was compared with one text; for one of several: {lists[0]}__in=…")
    return 0


def _conditions(given: Iterable[str]) -> dict[str, str]:
    """Return the value of each condition by its name."""
    asked: dict[str, str] = {}
    for condition in given:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UnknownFilter(f"a condition is NAME=VALUE, not {condition!r}")
        name = f"-{name[:-1]}" if name.endswith("!") else name
        if name in asked:
            raise UnknownFilter(
                f"{name} is asked for twice, and all conditions hold at once; for one of several "
                f"values write {name.split('__', maxsplit=1)[0]}__in=VALUE,VALUE"
            )
        asked[name] = value
    return asked


def _is_one_text(asked: Mapping[str, str]) -> list[str]:
    """Return the conditions that compare with one text in which there are commas."""
    return [name for name, value in asked.items() if "," in value and "__" not in name]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
