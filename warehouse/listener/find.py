"""Answer C-FIND: match the keys of an identifier against the warehouse.

In: the data set of a query. Out: statuses and data sets as pynetdicom sends them. Keys of the level
and of all levels above it are matched (relational queries, PS3.4 C.4.1.2.2.2).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from warehouse.dicom.charset import DELIMITERS, decode_text, encodings_of
from warehouse.elements.values import NUMBERS, decode
from warehouse.errors import NotAWarehouse
from warehouse.listener.matching import KeyRefused, condition
from warehouse.sqlfiles import statement
from warehouse.store.audit import newest_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pynetdicom.events import Event

    from warehouse.api import Warehouse

PENDING, PENDING_WITHOUT_SOME_KEYS, CANCELLED = 0xFF00, 0xFF01, 0xFE00
NO_SUCH_QUERY = 0xA900
"""The identifier does not match the SOP class."""

LEVELS = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "image"}
UNIQUE = {
    "PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}  # fmt: skip

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2."
PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1."

_ROWS = 500
_NO_KEYS = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC"})
_ABOUT_US = {"RetrieveAETitle", "InstanceAvailability"}


class QueryRefused(ValueError):
    """A query cannot be answered; the message quotes no value of it."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query identifier."""

    level: str
    keys: dict[str, str]
    """Text of each key by keyword; empty for keys that are only returned."""
    tags: tuple[int, ...]
    """All tags of the identifier, in order; attributes without a value are returned empty."""
    has_unknown: bool = False
    """Whether any tag has no keyword, so that it is neither matched nor returned."""


def read_query(identifier: Dataset, sop_class: str) -> Query:
    """Parse an identifier.

    Values are not converted by pydicom, because its warnings quote them.

    Raises
    ------
    QueryRefused
        The level is missing, or the SOP class does not have it.
    """
    charset_names = _raw_value(identifier, 0x00080005).decode("ascii", "replace")
    charsets = encodings_of(tuple(name.strip(" \0") for name in charset_names.split("\\")))
    keys, has_unknown = {}, False
    for tag in identifier.keys():  # noqa: SIM118 - a Dataset yields elements
        keyword = keyword_for_tag(tag)
        if keyword:
            keys[keyword] = _text_of(identifier, tag, charsets)
        elif tag.element:  # not a group length
            has_unknown = True
    level = keys.get("QueryRetrieveLevel", "")
    if level not in LEVELS or (level == "PATIENT" and sop_class.startswith(STUDY_ROOT)):
        raise QueryRefused("QueryRetrieveLevel is invalid for this SOP class")
    matching_keys = {keyword: text for keyword, text in keys.items() if keyword not in _NO_KEYS}
    tags = tuple(int(tag) for tag in identifier.keys())  # noqa: SIM118
    return Query(level, matching_keys, tags, has_unknown)


def _text_of(identifier: Dataset, tag: int, charsets: tuple[str, ...]) -> str:
    """Return the value of a key as text, also of a VR whose values are binary numbers."""
    raw, element = _raw_value(identifier, tag), identifier.get_item(tag)
    vr = getattr(element, "VR", None) or dictionary_VR(tag).split(" or ")[0]
    if vr not in NUMBERS:
        return decode_text(raw, charsets, DELIMITERS.get(vr, b"")).strip(" \0")
    little = bool(getattr(element, "is_little_endian", True))
    numbers = [
        value.integer if value.real is None else value.real
        for value in decode(vr, raw, little=little)
    ]
    return "\\".join("?" if number is None else str(number) for number in numbers)


def _raw_value(identifier: Dataset, tag: int) -> bytes:
    """Return the bytes of a value; none of a sequence or a missing element."""
    element = identifier.get_item(tag)
    value = element.value if isinstance(element, RawDataElement) else None
    return value if isinstance(value, bytes) else b""


def rows(
    wh: Warehouse, level: str, keys: dict[str, str], columns: Iterable[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield matches in order of their unique key, as columns of ``sql/network/`` by name.

    Parameters
    ----------
    columns
        Columns to return where the level has them; all if it is None.

    Raises
    ------
    KeyRefused
    """
    if wh.url == str(wh.root) and newest_version(wh.root) not in {None, shown_version(wh)}:
        wh.refresh()
    try:
        session = wh.catalog.session()
    except NotAWarehouse:
        return
    source = statement(LEVELS[level], "network")
    if level == "SERIES":
        source = f"from (with study as ({statement('study', 'network')}) from ({source}))"
    described = session.execute(f"describe {source}").fetchall()
    types = {name: kind for name, kind, *_ in described}
    conditions = [
        condition(keyword, dictionary_VR(keyword), types[keyword], text)
        for keyword, text in keys.items()
        if keyword in types
    ]
    if "study_key" in types and keys.get("StudyInstanceUID"):
        # The key of the groups, too: DuckDB tests it before it groups, and not the UID.
        conditions.append(condition("study_key", "UI", "VARCHAR", keys["StudyInstanceUID"]))
    where = [each for each in conditions if each]
    values = {name: value for each in where for name, value in each.values.items()}
    names = [name for name in types if columns is None or name in columns]
    selected = ", ".join(f'"{name}"' for name in names) or "1"
    predicate = " and ".join([f'"{UNIQUE[level]}" is not null', *(each.sql for each in where)])
    result = session.execute(
        f'select {selected} from ({source}) where {predicate} order by "{UNIQUE[level]}"', values
    )
    while fetched := result.fetchmany(_ROWS):
        for row in fetched:
            yield dict(zip(names, row, strict=False))


def shown_version(wh: Warehouse) -> int | None:
    """Return the version that a warehouse shows, None if there is none yet."""
    try:
        return wh.version
    except NotAWarehouse:
        return None


def find(event: Event, wh: Warehouse) -> Iterator[tuple[int | Dataset, Dataset | None]]:
    """Answer a C-FIND."""
    aet = event.assoc.acceptor.ae_title
    try:
        query = read_query(event.identifier, str(event.context.abstract_syntax))
        status = PENDING
        for row in rows(wh, query.level, query.keys, query.keys):
            # Also of keys without a value: their attributes are missing in the answer.
            if query.has_unknown or any(
                key not in row and key not in _ABOUT_US for key in query.keys
            ):
                status = PENDING_WITHOUT_SOME_KEYS
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield status, answered(query, row, aet)
    except (QueryRefused, KeyRefused) as why:
        yield refused(why), None


def refused(why: Exception) -> Dataset:
    """Return the failure status of a query."""
    status = Dataset()
    status.Status, status.ErrorComment = NO_SUCH_QUERY, str(why)[:64]
    return status


def answered(query: Query, row: dict[str, Any], aet: str) -> Dataset:
    """Return a row as an identifier with the attributes of the query."""
    identifier = Dataset()
    row = row | {
        "QueryRetrieveLevel": query.level, "RetrieveAETitle": aet, "InstanceAvailability": "ONLINE"
    }  # fmt: skip
    for tag in query.tags:
        keyword = keyword_for_tag(tag)
        if keyword and keyword != "SpecificCharacterSet":
            value = row.get(keyword)
            vr = dictionary_VR(keyword)
            content = [] if vr == "SQ" else _dicom_value(value, vr)
            identifier.add(DataElement(tag, vr, content, validation_mode=config.IGNORE))
    identifier.QueryRetrieveLevel, identifier.RetrieveAETitle = query.level, aet
    identifier.add(
        DataElement(
            0x00080005, "CS", "ISO_IR 192",
            validation_mode=config.IGNORE,
        )
    )  # fmt: skip
    return identifier


def _dicom_value(value: Any, vr: str) -> Any:
    """Return a value of a column in the form that DICOM has for its VR."""
    match value:
        case None:
            return None if vr in {"US", "SS", "UL", "SL", "FL", "FD", "AT"} else ""
        case list():
            return [_dicom_value(each, vr) for each in value]
        case dt.date():
            # strftime does not pad years before 1000, such as that of 00010101.
            return value.isoformat().replace("-", "")
        case dt.time():
            return f"{value:%H%M%S.%f}".removesuffix(".000000")
        case int() | float():
            return value if vr in {"US", "SS", "UL", "SL", "FL", "FD", "SV", "UV"} else str(value)
    return value
