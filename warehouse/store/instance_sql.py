"""Generate the SQL of the views behind `instances` from the table of its attributes.

In: sql/rules/instance_attributes.csv. Out: the lines about these attributes in the views
``instance_attributes``, ``instances_from_elements`` and ``instances``: column documentation, tags,
values, lists and result columns. ``make sql`` writes these lines, and a test checks that they are
up to date. warehouse/store/attributes.py reads the same table.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_description

from warehouse.errors import ModelError
from warehouse.sqlfiles import sql_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

FILE = "instance_attributes.csv"
TYPES = {
    "text": "VARCHAR", "name": "VARCHAR", "identifier": "VARCHAR", "integer": "BIGINT",
    "real": "DOUBLE", "date": "DATE", "time": "TIME",
}  # fmt: skip
"""Kind of value → its SQL type."""
_WRITTEN = "as written: Family^Given^Middle^Prefix^Suffix"
_LAYERS = {
    "instance_attributes": "2_entities", "instances_from_elements": "2_entities",
    "instances": "1_long",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attribute:
    """One column of ``instance_attributes``."""

    name: str
    tag: str
    """Eight hex digits; ``xx`` for the block of a private element."""
    creator: str
    value: str
    """One of ``TYPES``."""
    is_list: bool
    note: str
    """Additions to the name of the element, such as unit or axes; without a name, the meaning."""

    @property
    def source(self) -> str:
        """Column of ``elements`` that has the value."""
        return "text" if self.is_identifier or self.value == "name" else self.value

    @property
    def is_identifier(self) -> bool:
        """Whether all its values are the identifier, as one text with backslashes."""
        return self.value == "identifier"

    @property
    def is_keyword(self) -> bool:
        """Whether the column is a DICOM attribute, rather than derived like an age in years."""
        return self.name[:1].isupper()


@cache
def attributes() -> tuple[Attribute, ...]:
    """Read the table.

    Raises
    ------
    ModelError
        A value has an unknown type, or a name is not unique.
    """
    path = sql_folder() / "rules" / FILE
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    found = {row["column"]: _attribute(row) for row in rows}
    odd = [one.name for one in found.values() if one.value not in TYPES]
    if odd or len(found) < len(rows):
        raise ModelError(f"{path}: columns of an unknown type, or twice: {', '.join(odd) or '?'}")
    return tuple(found.values())


def _attribute(row: dict[str, str]) -> Attribute:
    is_list = row["is_list"] == "yes"
    return Attribute(row["column"], row["tag"], row["creator"], row["value"], is_list, row["note"])


def written(name: str, text: str) -> str:
    """Return the SQL of a view with the lines generated from the table.

    Parameters
    ----------
    name
        ``instance_attributes``, ``instances_from_elements`` or ``instances``.
    text
        Current content of the file.
    """
    all_of_them = attributes()
    keywords = [one for one in all_of_them if one.is_keyword]
    as_names = name != "instance_attributes"
    text = _between(text, keywords, "-- column:  {} |", lambda one: _column(one, as_names=as_names))
    if name == "instances":
        times = "cast(make_timestamp({0}) as time) as {0}"
        return _between(
            text, keywords, "    {},",
            lambda one: f"    {times.format(one.name) if one.value == 'time' else one.name},",
        )  # fmt: skip
    text = _between(text, keywords, "    {},", lambda one: f"    {one.name},")
    return text if as_names else _definition(text, all_of_them)


def _column(one: Attribute, *, as_names: bool) -> str:
    tag = f"({one.tag[:4]},{one.tag[4:]})"
    note = one.note
    if one.value == "name":
        note = (_WRITTEN if as_names else "JSON of components") + (
            " of each" if one.is_list else ""
        )
    description = f"{dictionary_description(int(one.tag, 16))} {tag}" + (
        f", {note}" if note else ""
    )
    return (
        f"-- column:  {one.name} | {TYPES[one.value]}{'[]' if one.is_list else ''} | {description}"
    )


def _definition(text: str, some: Iterable[Attribute]) -> str:
    """Return the lines that map elements to columns."""
    public = [one for one in some if not one.creator]
    tags = sorted({one.tag for one in public})
    rows = [", ".join(f"'{tag}'" for tag in tags[at : at + 8]) for at in range(0, len(tags), 8)]
    inside = ",\n".join(f"            {row}" for row in rows)
    tags_of = re.compile(r"tag in \(\n.*?\n        \)", re.DOTALL)
    text = tags_of.sub(f"tag in (\n{inside}\n        )", text, count=1)
    singles = [
        f"max(case when tag = '{one.tag}' then {_quoted(one)} end) as {one.name}"
        for one in public if not one.is_list and not one.is_identifier
    ]  # fmt: skip
    lists = [
        f"list({_quoted(one)} order by \"index\") filter (where tag = '{one.tag}') as {one.name}"
        for one in public if one.is_list
    ]  # fmt: skip
    wholes = [
        f"whole_identifier(list(text order by \"index\") filter (where tag = '{one.tag}')) "
        f"as {one.name}"
        for one in public if one.is_identifier
    ]  # fmt: skip
    for lines, first in (
        (singles, "max(case when tag"), ([*wholes, *lists], "whole_identifier(list("),
    ):  # fmt: skip
        block = ",\n".join(f"        {line}" for line in lines)
        held = re.search(rf"        {re.escape(first)}[^\n]*\n(?:        [a-z][^\n]*\n)*", text)
        if held is None:
            raise ModelError(f"instance_attributes: no line begins with {first!r}")
        text = f"{text[: held.start()]}{block}\n{text[held.end() :]}"
    return text


def _quoted(one: Attribute) -> str:
    return one.source if one.source == "text" else f'"{one.source}"'


def _between(
    text: str, some: list[Attribute], pattern: str, line: Callable[[Attribute], str]
) -> str:
    """Replace the lines from the first attribute to the last, both found by ``pattern``."""
    lines = text.split("\n")
    first, last = (
        next(n for n, held in enumerate(lines) if held.startswith(pattern.format(one.name)))
        for one in (some[0], some[-1])
    )
    return "\n".join([*lines[:first], *map(line, some), *lines[last + 1 :]])


def files() -> dict[str, Path]:
    """Return the paths of the three views by name."""
    return {name: sql_folder() / layer / f"{name}.sql" for name, layer in _LAYERS.items()}


if __name__ == "__main__":
    for model, path in files().items():
        path.write_text(written(model, path.read_text("utf-8")), "utf-8")
