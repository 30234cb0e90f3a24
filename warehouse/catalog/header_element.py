"""One element of a header with its values: typed, as written, and formatted.

In: the rows of one element. Out: ``HeaderElement``, the part of which a ``Header`` consists.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from warehouse.elements.values import person_name_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_OFFSET = re.compile(r"[+-]\d{4}$")
"""UTC offset at the end of a DT value."""


class Stored(NamedTuple):
    """One value, as in a row of ``elements``."""

    text: str | None = None
    integer: int | None = None
    real: float | None = None
    date: dt.date | None = None
    time: dt.time | None = None
    timestamp: dt.datetime | None = None
    bytes: bytes | None = None
    length: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class HeaderElement:
    """One element of a header, with the elements of its items if it is a sequence."""

    tag: str
    keyword: str | None
    name: str | None
    """Name of a private element, from the private dictionaries."""
    vr: str
    vm: int
    creator: str | None
    values: tuple[Stored, ...]
    """Values: none if the element is empty, one for a sequence."""
    items: tuple[tuple[HeaderElement, ...], ...] = ()

    @property
    def is_private(self) -> bool:
        """Whether the group number is odd; dictionaries are ignored."""
        return int(self.tag[3], 16) % 2 == 1

    @property
    def label(self) -> str:
        """DICOM keyword; else, in brackets, the private name or a substitute."""
        if self.keyword:
            return self.keyword
        if self.is_private and self.tag[4:6] == "00" and self.tag[6:] >= "10":
            return "[private creator]"
        if self.name or self.creator:
            return f"[{self.name or self.creator}]"
        return "[group length]" if self.tag[4:] == "0000" else ""

    @property
    def value(self) -> Any:
        """Typed value, a list of several, a list of dictionaries for a sequence, or None."""
        if self.items:
            return [by_name(item) for item in self.items]
        return _one_or_list([_typed(self.vr, value) for value in self.values])

    @property
    def raw(self) -> Any:
        """Like ``value``, but numbers, dates and times as text, as written in the file."""
        if self.items:
            return self.value
        return _one_or_list([_written(self.vr, value) for value in self.values])

    @property
    def text(self) -> str:
        """Text for display: values joined by backslashes; for sequences and bytes, their size."""
        if self.vr == "SQ" and not any(value.length for value in self.values):
            return f"{len(self.items)} item{'' if len(self.items) == 1 else 's'}"
        return "\\".join(_shown(self.vr, value) for value in self.values)


def by_name(elements: Sequence[HeaderElement]) -> dict[str, Any]:
    """Return typed values by keyword, or by tag if a keyword is missing or not unique."""
    named: dict[str, Any] = {}
    for element in elements:
        # Overlays of several groups share their keywords.
        free = element.keyword and element.keyword not in named
        named[str(element.keyword) if free else element.tag] = element.value
    return named


def _one_or_list(values: list[Any]) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _typed(vr: str, value: Stored) -> Any:
    if vr == "AT":
        return value.text
    if vr == "DT" and value.timestamp is not None and _OFFSET.search(value.text or ""):
        return value.timestamp.replace(tzinfo=dt.UTC)
    for meaning in (value.integer, value.real, value.date, value.time, value.timestamp):
        if meaning is not None and vr != "AS":
            return meaning
    if vr == "UV" and value.text:
        return int(value.text)
    return _written(vr, value)


def _written(vr: str, value: Stored) -> Any:
    if value.text is not None:
        return person_name_text(value.text) if vr == "PN" and value.text else value.text
    for stored in (value.integer, value.real, value.bytes):
        if stored is not None:
            return stored
    return None


def _shown(vr: str, value: Stored) -> str:
    if value.text is None and value.length is not None:
        return f"<{value.length} bytes>"
    written = _written(vr, value)
    return "" if written is None else str(written)
