"""Build a SELECT on one entity table from names of attributes.

An attribute name is resolved in this order: a column of the table; a column of ``instances`` (for
images with functional groups, of ``frame_values``); any element at top level, by keyword or tag. An
attribute that is not a column of the table has one value per instance, and is joined as an
aggregate over the instances of a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.dicom.dictionary import elements, keyword_tags
from warehouse.errors import UnknownFilter
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.catalog.connect import Catalog
    from warehouse.sqlfiles import Model

ENTITY_KEYS = ("instance_id", "series_key", "study_key", "patient_key")

_TAG = re.compile(r"\(?(?:0x)?([0-9a-fA-F]{4}),? ?(?:0x)?([0-9a-fA-F]{4})\)?")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute name resolved for one table."""

    sql: str
    """SQL expression of its value in the query, or in the source."""
    type: str
    """DuckDB type of one value."""
    is_list: bool
    source: str = ""
    """Source with one value per instance; empty for a column of the table."""


class Query:
    """The parts of a SELECT on one table, assembled condition by condition."""

    def __init__(self, catalog: Catalog, table: str) -> None:
        self.catalog = catalog
        self.model = catalog.model(table)
        self.key = _key(self.model)
        self.where: list[str] = []
        self.joins: list[str] = []
        self.values: dict[str, Any] = {}

    def attribute(self, name: str) -> Attribute:
        """Resolve a name.

        Raises
        ------
        UnknownFilter
            There is no such attribute, or it occurs only in sequences.
        """
        name = column_of(name)
        of_frames = self._of_frames(name)
        for column in self.model.columns:
            if column.name == name and not (of_frames and self.key == "instance_id"):
                return _attribute(f't."{name}"', column.type)
        if self.key is None:
            raise UnknownFilter(f"{name!r} is not a column of {self.model.name}")
        if of_frames:
            return of_frames
        for column in self.catalog.model("instances").columns:
            if column.name == name:
                return _attribute(f'"{name}"', column.type, "instances")
        tag = element_tag(name)
        if tag is None:
            raise UnknownFilter(
                f"{name!r} is not a column of {self.model.name}, a DICOM keyword or a tag; see: "
                f"dicom-warehouse describe {self.model.name}, dicom-warehouse tags --like {name}"
            )
        self._require_top_level(name, tag)
        source = f"attributes(['{tag}'])"
        described = self.catalog.connection.execute(f"describe from {source}").fetchall()
        return _attribute(
            f'"{tag}"', str(described[1][1]), f"{source} join instances using (instance_id)"
        )

    def _require_top_level(self, name: str, tag: str) -> None:
        """Raise for an element that occurs only in sequences, rather than call it missing."""
        number = keyword_tags().get(tag)
        tag = tag if number is None else f"{number:08X}"
        run = self.catalog.connection.execute
        path = run(statement("first_place", "runs"), [tag]).fetchall()[0][0]
        if path:
            sequence = path.rpartition(".")[2].partition("[")[0]
            raise UnknownFilter(
                f"{name} occurs only in sequences, as in {sequence}, and is not compared there; "
                f"ask SQL: from sequence_items('{sequence}') where tag = '{tag}'"
            )

    def _of_frames(self, name: str) -> Attribute | None:
        """Return an instance attribute that functional groups may state, derived as in `series`."""
        if self.model.name in {"frames", "frame_values"}:
            return None
        kinds = {column.name: column.type for column in self.catalog.model("frame_values").columns}
        if name not in kinds or not name[0].isupper():
            return None
        known = [column.name for column in self.catalog.model("instances").columns]
        stated = f'instances."{name}"' if name in known else "null"
        sql = f'if(frame_values.instance_id is null, {stated}, frame_values."{name}")'
        source = "instances left join frame_values using (instance_id)"
        return _attribute(sql, kinds[name], source)

    def join(self, found: Attribute, reduction: str) -> str:
        """Join an aggregate over instances to the query; return its name."""
        alias = f"joined_{len(self.joins)}"
        self.joins.append(
            f"left join (select {self.key} as key, {reduction} as found from {found.source} "
            f"where {found.sql} is not null group by all) as {alias} on t.{self.key} = {alias}.key"
        )
        return f"{alias}.found"

    def bind(self, value: object) -> str:
        """Bind a value; return its parameter name."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def value(self, name: str) -> str:
        """Return the SQL expression of an attribute."""
        found = self.attribute(name)
        # Same rule as for entity columns: use the instance with the smallest key that has a value.
        reduced = f"arg_min({found.sql}, instance_key)"
        return self.join(found, reduced) if found.source else found.sql

    def sql(self, columns: Iterable[str], order: Iterable[str], page: Iterable[str] = ()) -> str:
        """Return the SELECT, with all columns if ``columns`` is empty."""
        shown = [f'{self.value(name)} as "{name}"' for name in columns]
        parts = [
            f"select {', '.join(shown) or 't.*'} from {self.model.name} as t",
            *self.joins,
            f"where {' and '.join(self.where)}" if self.where else "",
            f"order by {', '.join(order)}" if order else "",
            *page,
        ]
        return " ".join(part for part in parts if part)


def _key(model: Model) -> str | None:
    return model.grain[0] if len(model.grain) == 1 and model.grain[0] in ENTITY_KEYS else None


def _attribute(sql: str, kind: str, source: str = "") -> Attribute:
    return Attribute(sql, kind.removesuffix("[]"), kind.endswith("[]"), source)


def column_of(name: str) -> str:
    """Return the keyword of a tag, as which columns are named; any other name as it is.

    >>> column_of("(0018,0095)")
    'PixelBandwidth'
    """
    match = _TAG.fullmatch(name)
    known = elements().get(int(match[1] + match[2], 16)) if match else None
    return known[4] or name if known else name


def element_tag(name: str) -> str | None:
    """Return the keyword, or the tag as eight hex digits; None if the name is neither."""
    if name and name in keyword_tags():
        return name
    match = _TAG.fullmatch(name)
    return (match[1] + match[2]).upper() if match else None
