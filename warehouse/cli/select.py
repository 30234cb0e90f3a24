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
        Names separated by commas, or all. By default a table shows the columns of the conditions,
        then those that identify a row, as far as they fit the terminal; other formats and -x have
        all columns.
    search
        Text that any text column contains, ignoring case.
    order
        Names separated by commas; - before a name for descending order.
    limit
        Maximum number of rows.
    offset
        Number of rows to skip.
    """
    from warehouse.catalog.unread import why_no_elements
    from warehouse.cohorts.filters import attribute_of
    from warehouse.cohorts.filters import select as select_rows
    from warehouse.cohorts.query import column_of
    from warehouse.cohorts.telling import telling_columns

    filters = _parse_conditions(conditions)
    chosen = answer_format(form, output, by_column=by_column, force=force)
    catalog = opened(warehouse).catalog
    ordered = _names(order)
    shown = [] if columns == "all" else _names(columns)
    model = catalog.model(table)
    is_abridged = not columns and chosen == "table" and output is None
    if is_abridged:
        shown = telling_columns(model, filters, ordered)
    relation = select_rows(
        catalog, table, filters, search=search, order=ordered, limit=limit, offset=offset,
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
    with_commas = _equalities_with_commas(filters)
    # A name in ideographic representation only begins with = (PS3.5 6.2.1).
    with_equals = [name for name, value in filters.items() if value.startswith("=")]
    if (with_commas or with_equals) and not relation.limit(1).fetchall():
        if with_commas:
            name = with_commas[0]
            say(f"{name} was compared with one text; for one of several: {name}__in=…")
        if with_equals:
            name = with_equals[0].removeprefix("-")
            say(f"{name} was compared with a text that begins with =; a condition has one =")
    columns_known = {each.name.lower() for known in (model, catalog.model("instances"))
                     for each in known.columns}  # fmt: skip
    if any(column_of(attribute_of(name)).lower() not in columns_known for name in filters):
        say(why_no_elements(catalog))
    return 0


def _parse_conditions(conditions: Iterable[str]) -> dict[str, str]:
    """Return the value of each condition by its name."""
    filters: dict[str, str] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UnknownFilter(f"a condition is NAME=VALUE, not {condition!r}")
        name = f"-{name[:-1]}" if name.endswith("!") else name
        if name in filters:
            raise UnknownFilter(
                f"{name} is given twice, but all conditions must hold at once; for one of several "
                f"values write {name.split('__', maxsplit=1)[0]}__in=VALUE,VALUE"
            )
        filters[name] = value
    return filters


def _equalities_with_commas(filters: Mapping[str, str]) -> list[str]:
    """Return the names of the conditions that compare for equality with a text with commas."""
    return [name for name, value in filters.items() if "," in value and "__" not in name]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
