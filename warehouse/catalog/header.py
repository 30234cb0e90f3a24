"""One header, asked by keyword or tag, as table, dictionary, JSON or frame.

In: the rows of one instance, of a stored one or of a file (``header_rows``). Out: ``Header``.
Rows of the long table are the only source, so what is shown is what is stored.
"""

from __future__ import annotations

import datetime as dt
import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from warehouse.catalog.dicom_json import json_model
from warehouse.elements.values import person_name_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TAG = re.compile(r"\(?([0-9a-fA-F]{4})[, ]?\s?([0-9a-fA-F]{4})\)?")
_OFFSET = re.compile(r"[+-]\d{4}$")
"""End of a DT that says its offset from UTC."""
_STEP = re.compile(r"(?P<sequence>.+?)\[(?P<item>\d+)\]\.(?P<rest>.+)")

Key = str | int | tuple[int | str, int | str]


class Stored(NamedTuple):
    """One value as it stands in a row of ``elements``."""

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
    """Of a private element, from the private dictionaries."""
    vr: str
    vm: int
    creator: str | None
    values: tuple[Stored, ...]
    """None if the element is empty; a sequence has one."""
    items: tuple[tuple[HeaderElement, ...], ...] = ()

    @property
    def is_private(self) -> bool:
        """The group is odd, whatever a dictionary says."""
        return int(self.tag[3], 16) % 2 == 1

    @property
    def label(self) -> str:
        """DICOM keyword, else the private name or what is known instead, in brackets."""
        if self.keyword:
            return self.keyword
        if self.is_private and self.tag[4:6] == "00" and self.tag[6:] >= "10":
            return "[private creator]"
        if self.name or self.creator:
            return f"[{self.name or self.creator}]"
        return "[group length]" if self.tag[4:] == "0000" else ""

    @property
    def value(self) -> Any:
        """Typed: one value, a list of several, a list of dictionaries for a sequence, or None."""
        if self.items:
            return [_by_name(item) for item in self.items]
        return _one_or_list([_typed(self.vr, value) for value in self.values])

    @property
    def raw(self) -> Any:
        """As ``value``, but as written in the file: numbers, dates and times as their text."""
        if self.items:
            return self.value
        return _one_or_list([_written(self.vr, value) for value in self.values])

    @property
    def text(self) -> str:
        """For people: values joined by backslashes; sequences and bytes only by their size."""
        if self.vr == "SQ" and not any(value.length for value in self.values):
            return f"{len(self.items)} item{'' if len(self.items) == 1 else 's'}"
        return "\\".join(_shown(self.vr, value) for value in self.values)


SHOWN = 30
"""Elements that a header shows of itself."""
_VALUE_WIDTH = 60


@dataclass(frozen=True, slots=True, repr=False)
class Header:
    """All elements of one instance, in the order of their tags."""

    elements: tuple[HeaderElement, ...]
    bulk_uri: str = ""
    """Where the pixel data lie; what is kept nowhere is referred to there."""

    def __repr__(self) -> str:
        """Return the first elements, one a line, with long values cut."""
        lines = [f"{place}  {label}  {vr}  {text}" for place, label, vr, text in self._shown()]
        return "\n".join([f"Header of {len(self.elements)} elements", *lines, *self._more()])

    def _repr_html_(self) -> str:
        """Return the same as a table for notebooks."""
        rows = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row)
            + "</tr>"
            for row in self._shown()
        )
        more = "".join(f"<p>{html.escape(line)}</p>" for line in self._more())
        return f"<p>Header of {len(self.elements)} elements</p><table>{rows}</table>{more}"

    def _shown(self) -> list[tuple[str, str, str, str]]:
        return [(e.tag, e.label, e.vr, _cut(e.text)) for e in self.elements[:SHOWN]]

    def _more(self) -> list[str]:
        rest = len(self.elements) - SHOWN
        return [f"{rest} more; .frame() has all, .search(text) finds some"] if rest > 0 else []

    def get(self, key: Key | Sequence[Key], default: Any = None, *, parsed: bool = True) -> Any:
        """Return the value of an element; of several elements as a dictionary.

        Parameters
        ----------
        key
            Keyword, ``ggggeeee``, ``(gggg,eeee)``, number, pair of group and element, or a list of
            these. ``Sequence[0].Keyword`` reaches into items. A private element also has the name
            of the private dictionary, without spaces.
        default
            What a missing or empty element gives.
        parsed
            False gives numbers, dates and times as the text they were written in.
        """
        if isinstance(key, list):
            return {one: self.get(one, default, parsed=parsed) for one in key}
        try:
            found = self.element(key)  # type: ignore[arg-type]
        except KeyError:
            return default
        value = found.value if parsed else found.raw
        return default if value is None else value

    def __getitem__(self, key: Key | Sequence[Key]) -> Any:
        """Return as ``get`` does, None for an empty element; a missing one is a KeyError."""
        if isinstance(key, list):
            if not key:
                raise KeyError("an empty list names no element")
            return {one: self[one] for one in key}
        return self.element(key).value  # type: ignore[arg-type]

    def __contains__(self, key: object) -> bool:
        """Say whether the element is there, empty or not."""
        try:
            self.element(key)  # type: ignore[arg-type]
        except KeyError:
            return False
        return True

    def element(self, key: Key) -> HeaderElement:
        """Return an element with its VR, multiplicity and values.

        Raises
        ------
        KeyError
            The header has no such element.
        """
        step = _STEP.fullmatch(key) if isinstance(key, str) else None
        if step is not None:
            items = self.element(step["sequence"]).items
            if int(step["item"]) >= len(items):
                raise KeyError(key)
            return Header(items[int(step["item"])]).element(step["rest"])
        tag = _as_tag(key)
        for found in self.elements:
            if found.tag == tag or (tag is None and key in {found.keyword, _joined(found.name)}):
                return found
        raise KeyError(key)

    def search(self, text: str, *, exact: bool = False) -> list[HeaderElement]:
        """Return the top-level elements whose keyword or private name contains a text.

        Case is ignored unless ``exact``.
        """
        wanted = text if exact else text.lower()
        named = ((e, e.keyword or _joined(e.name) or "") for e in self.elements)
        return [e for e, name in named if wanted in (name if exact else name.lower())]

    def walk(self) -> Iterator[tuple[str, HeaderElement]]:
        """Yield every element, those of items too, with its place: ``00400275[0].00080050``."""
        yield from _walk(self.elements, "")

    def to_dict(self) -> dict[str, Any]:
        """Return typed values by keyword; by tag where a keyword is missing or stands twice."""
        return _by_name(self.elements)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the DICOM JSON model (PS3.18 Annex F), as pydicom's ``to_json_dict``.

        It differs where pydicom's is no JSON or not as the standard has it: NaN and infinity are
        None, and so is an empty value among several; names have only groups that are not empty;
        an empty sequence has no ``Value`` (F.2.2, F.2.5). Like pydicom it keeps group lengths (tags
        that end in 0000, retired but in many files), which F.2.2 leaves out: leave them out before
        sending the model to a web service.
        """
        return json_model(self.elements, self.bulk_uri)

    def to_json(self) -> str:
        """Return the DICOM JSON model as text."""
        return json.dumps(self.to_json_dict(), ensure_ascii=False, allow_nan=False)

    def frame(self) -> pl.DataFrame:
        """Return one row per element: Tag (with its place in sequences), Keyword, VR, VM, Value."""
        rows = [(place, e.label, e.vr, e.vm, e.text) for place, e in self.walk()]
        types = {"Tag": pl.String, "Keyword": pl.String, "VR": pl.String, "VM": pl.Int64}
        return pl.DataFrame(rows, schema={**types, "Value": pl.String}, orient="row")


def _cut(text: str) -> str:
    """Return a text on one line, cut where a screen would break it."""
    line = " ".join(text[: 4 * _VALUE_WIDTH].split())
    return line if len(line) <= _VALUE_WIDTH else f"{line[: _VALUE_WIDTH - 1]}…"


def _walk(elements: Sequence[HeaderElement], place: str) -> Iterator[tuple[str, HeaderElement]]:
    for element in elements:
        yield place + element.tag, element
        for number, item in enumerate(element.items):
            yield from _walk(item, f"{place}{element.tag}[{number}].")


def _by_name(elements: Sequence[HeaderElement]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for element in elements:
        # Overlays of several groups share their keywords.
        free = element.keyword and element.keyword not in named
        named[str(element.keyword) if free else element.tag] = element.value
    return named


def _as_tag(key: object) -> str | None:
    if isinstance(key, str):
        match = _TAG.fullmatch(key.strip())
        return (match[1] + match[2]).upper() if match else None
    if isinstance(key, tuple) and len(key) == 2:
        group, element = (int(part, 16) if isinstance(part, str) else part for part in key)
        return f"{group:04X}{element:04X}"
    if isinstance(key, int):
        return f"{key:08X}"
    raise KeyError(key)


def _joined(name: str | None) -> str | None:
    """Write a name of the private dictionary as a keyword: ``CSAImageHeaderInfo``."""
    return "".join(w[0].upper() + w[1:] for w in re.findall(r"\w+", name)) if name else None


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
