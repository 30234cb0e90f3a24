"""Translate matching keys of QIDO-RS and C-FIND into SQL conditions. Pure functions.

In: names and values as clients send them. Out: ``Search``, and SQL with its parameters. Matching is
that of PS3.4 C.2.2.2: single values, lists of UIDs, ``*`` and ``?``, ranges of dates and times,
sequences (one item has to match all keys), and universal matching of an empty value. Person names
match in any case and in any component group. Values are passed as parameters, never as SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from warehouse.catalog.matching import Binder, condition
from warehouse.errors import UnknownFilter, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEVELS = ("studies", "series", "instances")
MOST = 10_000
_LARGEST = 1 << 31
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_UNMATCHED = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ"}
_COMPUTED = {"RetrieveURL", "InstanceAvailability", "QueryRetrieveLevel"}


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute and the value to match."""

    path: tuple[str, ...]
    """Tags of the sequences that contain it, outermost first."""
    tag: str
    vr: str
    value: str
    creator: str = ""
    """Private creator of a private attribute, which is matched in any block."""

    @property
    def keyword(self) -> str:
        """DICOM keyword of an attribute of the top level, else empty."""
        return "" if self.path else keyword_for_tag(int(self.tag, 16))


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed search."""

    level: str
    keys: tuple[Key, ...] = ()
    within: tuple[tuple[str, str], ...] = ()
    """Level and key of the study and series in the path of the request."""
    include: tuple[str, ...] = ()
    """Top-level tags to return besides those that are always returned."""
    includes_all: bool = False
    fuzzy: bool = False
    limit: int = MOST
    offset: int = 0


def parse(pairs: Iterable[tuple[str, str]], level: str, within: Mapping[str, str]) -> Search:
    """Parse the parameters of a request.

    Parameters
    ----------
    pairs
        Names and values of the query, decoded.
    level
        One of ``LEVELS``.
    within
        ``studies`` or ``series`` → key from the path of the request, which is compared as a whole.

    Raises
    ------
    UnknownFilter, UsageError
        A name is not an attribute, or a value is invalid.
    """
    attributes: list[tuple[str, str]] = []
    include: list[str] = []
    includes_all = fuzzy = False
    limit, offset = MOST, 0
    for name, value in pairs:
        match name:
            case "limit":
                limit = min(MOST, _parse_number(name, value, 1))
            case "offset":
                offset = _parse_number(name, value, 0)
            case "fuzzymatching":
                if value.lower() not in {"true", "false"}:
                    raise UsageError("fuzzymatching is true or false")
                fuzzy = value.lower() == "true"
            case "includefield":
                parts = [part.strip() for part in value.split(",") if part.strip()]
                includes_all = includes_all or "all" in parts
                include += [_place(part)[0] for part in parts if part != "all"]
            case _:
                attributes.append((name, value))
    keys, returned = _parse_keys(attributes)
    included = (*include, *returned)
    return Search(level, keys, tuple(within.items()), included, includes_all, fuzzy, limit, offset)


def _parse_number(name: str, value: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not least <= int(value) < _LARGEST:
        raise UsageError(f"{name} is a whole number from {least} to {_LARGEST - 1}")
    return int(value)


def _place(name: str) -> tuple[str, ...]:
    """Return the tags of an attribute and of the sequences that contain it.

    >>> _place("RequestAttributesSequence.00400009")
    ('00400275', '00400009')
    """
    tags = []
    for part in name.split("."):
        tag = tag_for_keyword(part) if part else None
        if tag is not None:
            tags.append(f"{tag:08X}")
        elif _TAG.fullmatch(part):
            tags.append(part.upper())
        else:
            raise UnknownFilter(
                f"{name!r} is not a DICOM keyword, a tag of eight hex digits, or a path of these "
                "separated by dots"
            )
    return tuple(tags)


def _parse_keys(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[Key, ...], list[str]]:
    """Return the keys to match, and the tags to return without matching."""
    placed = [(_place(name), value, name) for name, value in pairs]
    creators = {
        (path[:-1], path[-1][:4] + path[-1][6:]): value
        for path, value, _ in placed
        if _is_private(path[-1]) and _is_creator(path[-1])
    }
    used = set()
    keys, returned = [], []
    for path, value, name in placed:
        *outer, tag = path
        if _is_private(tag) and not _is_creator(tag):
            creator = creators.get((tuple(outer), tag[:4] + tag[4:6]))
            if not creator:
                raise UnknownFilter(
                    f"{name}: a private attribute needs its creator, as in "
                    f"{tag[:4]}00{tag[4:6]}=CREATOR"
                )
            used.add((tuple(outer), tag[:4] + tag[4:6]))
            keys.append(Key(tuple(outer), tag, "UN", value, creator))
    for path, value, name in placed:
        *outer, tag = path
        if _is_private(tag):
            if _is_creator(tag) and (tuple(outer), tag[:4] + tag[6:]) not in used:
                keys.append(Key(tuple(outer), tag, "LO", value))
            continue
        if value in {"", "*"}:
            returned.append(path[0])
            continue
        vr = dictionary_VR(int(tag, 16)) if dictionary_has_tag(int(tag, 16)) else "UN"
        vr = vr.split(" or ")[0]
        if vr in _UNMATCHED or keyword_for_tag(int(tag, 16)) in _COMPUTED:
            raise UnknownFilter(f"{name}: {vr} cannot be matched")
        keys.append(Key(tuple(outer), tag, vr, value))
    return tuple(keys), returned


def _is_private(tag: str) -> bool:
    return int(tag[3], 16) % 2 == 1


def _is_creator(tag: str) -> bool:
    return tag[4:6] == "00" and tag[6:] >= "10"


# -- to SQL ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tables:
    """Columns that can be matched, by table: keyword → whether the column is a list."""

    studies: dict[str, bool]
    series: dict[str, bool]
    instances: dict[str, bool]


@dataclass(slots=True)
class Statement:
    """Conditions of a search as SQL: `s` is a study, `e` a series, `i` an instance."""

    where: list[str] = field(default_factory=list)
    binder: Binder = field(default_factory=Binder)


_COLUMNS = {
    "studies": ("study_key", "found_under"), "series": ("study_key", "series_key", "found_under")
}  # fmt: skip
"""Columns that identify a row: a study or series of two patients has a row for each."""
_PATH = {"studies": "s.study_key", "series": "e.series_key"}


def conditions(search: Search, tables: Tables) -> Statement:
    """Return the conditions of a search as SQL.

    Raises
    ------
    UnknownFilter
        A value is invalid for the VR of its attribute.
    """
    statement = Statement()
    for level, entity in search.within:
        statement.where.append(f"{_PATH[level]} = {statement.binder.bind(entity)}")
    in_items: dict[tuple[str, ...], list[str]] = {}
    for key in search.keys:
        test = _column_test(search, key, tables, statement.binder)
        if test:
            statement.where.append(test)
        elif key.path:
            in_items.setdefault(key.path, []).append(_element_test(search, key, statement.binder))
        else:
            test = _element_test(search, key, statement.binder)
            statement.where.append(_with_elements(search.level, [f"path = '' and {test}"]))
    for path, tests in in_items.items():
        pattern = statement.binder.bind(_item_pattern(path))
        inside = f"regexp_full_match(path, {pattern})"
        statement.where.append(
            _with_elements(search.level, [f"{inside} and {test}" for test in tests])
        )
    return statement


def _column_test(search: Search, key: Key, tables: Tables, binder: Binder) -> str:
    """Return a test of a column as SQL; empty if no table has a column for this attribute."""
    name = key.keyword
    if not name or key.creator:
        return ""

    def test(alias: str, column: str, *, is_list: bool) -> str:
        value = f"{alias}.{column}"
        if is_list:
            inner = condition("x", key.vr, key.value, binder, fuzzy=search.fuzzy)
            return f"len(list_filter({value}, lambda x: {inner})) > 0"
        if search.level == "instances" and name in tables.instances and column[-4:] != "_key":
            # An instance of another patient, or date, than the first one of its study or series.
            value = f"coalesce(i.{name}, {value})"
        return condition(value, key.vr, key.value, binder, fuzzy=search.fuzzy)

    if name in tables.studies:
        # A study without a UID has a key, which is returned as its UID.
        column = {"PatientName": "whole_name", "StudyInstanceUID": "study_key"}.get(name, name)
        return test("s", column, is_list=tables.studies[name])
    if name in tables.series:
        column = "series_key" if name == "SeriesInstanceUID" else name
        matches = test("e", column, is_list=tables.series[name])
        if search.level != "studies":
            return matches
        return (
            "(s.study_key, s.found_under) in "
            f"(select (study_key, found_under) from qido_series as e where {matches})"
        )
    if name in tables.instances and key.vr != "PN":
        matches = test("i", name, is_list=tables.instances[name])
        if search.level == "instances":
            return matches
        return _in_instances(search.level, f"instances as i where {matches}")
    return ""


# As `attribute` and `select` have it: in the clock of the dates and times of the same header.
_LOCAL_TIMESTAMP = (
    'local_timestamp(text, "timestamp", (select utc_offset_minutes from utc_offsets '
    "where utc_offsets.instance_id = normal_elements.instance_id))"
)


def _element_test(search: Search, key: Key, binder: Binder) -> str:
    """Return a test of the rows of an attribute in the long table, as SQL."""
    if key.creator:
        which = (
            f"creator = {binder.bind(key.creator)} and tag[:4] = {binder.bind(key.tag[:4])} "
            f"and tag[7:] = {binder.bind(key.tag[6:])}"
        )
    elif _is_private(key.tag):
        which = f"regexp_full_match(tag, {binder.bind(key.tag[:4] + '00[1-9A-F][0-9A-F]')})"
    else:
        which = f"tag = {binder.bind(key.tag)}"
    if key.creator and key.value in {"", "*"}:
        return which
    value = {
        "PN": "person_name_text(text)", "DA": '"date"', "TM": '"time"', "DT": _LOCAL_TIMESTAMP,
        "DS": '"real"', "FL": '"real"', "FD": '"real"',
        **dict.fromkeys(("IS", "US", "SS", "UL", "SL", "SV", "UV"), '"integer"'),
    }.get(key.vr, "text")  # fmt: skip
    if key.vr == "UN":
        # A private attribute has the VR of its rows.
        value = 'coalesce(text, cast("integer" as varchar), cast("real" as varchar))'
    return f"{which} and {condition(value, key.vr, key.value, binder, fuzzy=search.fuzzy)}"


def _with_elements(level: str, tests: list[str]) -> str:
    """Return the condition that all tests hold within one data set or item of an instance."""
    rows = " intersect ".join(
        f"(select instance_id, path from normal_elements where {test})" for test in tests
    )
    if level == "instances":
        return f"i.instance_id in (select instance_id from ({rows}))"
    return _in_instances(level, f"instances semi join ({rows}) as rows using (instance_id)")


def _in_instances(level: str, source: str) -> str:
    """Return the condition that a study or series is that of a row of a source."""
    columns = _COLUMNS[level]
    alias = "s" if level == "studies" else "e"
    keys = ", ".join(f"{alias}.{column}" for column in columns)
    rows = f"(from {source}) join qido_patients using (study_key, patient_key)"
    return f"({keys}) in (select ({', '.join(columns)}) from {rows})"


def _item_pattern(path: tuple[str, ...]) -> str:
    """Return a regular expression for the paths of items of nested sequences."""
    steps = []
    for tag in path:
        name = keyword_for_tag(int(tag, 16)) or tag
        steps.append(rf"{name}\[\d+\]")
    return r"\.".join(steps)
