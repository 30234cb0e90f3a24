"""``Header``: access by keyword or tag, and conversion to a table, dictionary, JSON or frame.

In: the rows of one instance, stored or read from a file (``header_rows``). Out: ``Header``. Rows of
the long table are its only source, so a header shows exactly what is stored.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.catalog.dicom_json import json_model
from warehouse.catalog.header_element import by_name
from warehouse.counted import counted
from warehouse.given import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.catalog.header_element import HeaderElement

_TAG = re.compile(r"\(?([0-9a-fA-F]{4})[, ]?\s?([0-9a-fA-F]{4})\)?")
_STEP = re.compile(r"(?P<sequence>.+?)\[(?P<item>\d+)\]\.(?P<rest>.+)")

Key = str | int | tuple[int | str, int | str]


SHOWN = 30
"""Number of elements in the representation of a header."""
_VALUE_WIDTH = 60


@dataclass(frozen=True, slots=True, repr=False)
class Header:
    """All elements of one instance, in the order of their tags."""

    elements: tuple[HeaderElement, ...]
    bulk_uri: str = ""
    """URI of the pixel data; values that are not stored refer to it."""

    def __repr__(self) -> str:
        """Return the first elements, one per line, with long values truncated."""
        lines = [f"{place}  {label}  {vr}  {text}" for place, label, vr, text in self._shown()]
        return "\n".join(
            [f"Header of {counted(len(self.elements), 'element')}", *lines, *self._more()]
        )

    def _repr_html_(self) -> str:
        """Return the same as an HTML table, for notebooks."""
        rows = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row)
            + "</tr>"
            for row in self._shown()
        )
        more = "".join(f"<p>{html.escape(line)}</p>" for line in self._more())
        return (
            f"<p>Header of {counted(len(self.elements), 'element')}</p><table>{rows}</table>{more}"
        )

    def _shown(self) -> list[tuple[str, str, str, str]]:
        return [(e.tag, e.label, e.vr, _cut(e.text)) for e in self.elements[:SHOWN]]

    def _more(self) -> list[str]:
        rest = len(self.elements) - SHOWN
        return [f"{rest} more; .frame() has all, .search(text) finds some"] if rest > 0 else []

    def get(self, key: Key | Sequence[Key], default: Any = None, *, parsed: bool = True) -> Any:
        """Return the value of an element, or of several elements as a dictionary.

        Parameters
        ----------
        key
            Keyword, ``ggggeeee``, ``(gggg,eeee)``, number, pair of group and element, or a list of
            these. ``Sequence[0].Keyword`` accesses an element of an item. A private element can
            also be accessed by its name in the private dictionary, without spaces.
        default
            Returned for a missing or empty element.
        parsed
            If false, return numbers, dates and times as text, as written in the file.
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
        """Return the value like ``get``; None if the element is empty, KeyError if missing."""
        if isinstance(key, list):
            if not key:
                raise KeyError("an empty list names no element")
            return {one: self[one] for one in key}
        return self.element(key).value  # type: ignore[arg-type]

    def __contains__(self, key: object) -> bool:
        """Return whether the header has the element, even if it is empty."""
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

    @checked
    def search(self, text: str, *, exact: bool = False) -> list[HeaderElement]:
        """Return the top-level elements whose keyword or private name contains a text.

        Case is ignored unless ``exact``.
        """
        wanted = text if exact else text.lower()
        named = ((e, e.keyword or _joined(e.name) or "") for e in self.elements)
        return [e for e, name in named if wanted in (name if exact else name.lower())]

    def walk(self) -> Iterator[tuple[str, HeaderElement]]:
        """Yield every element, also those in items, with its path: ``00400275[0].00080050``."""
        yield from _walk(self.elements, "")

    def to_dict(self) -> dict[str, Any]:
        """Return typed values by keyword, or by tag if a keyword is missing or not unique."""
        return by_name(self.elements)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the DICOM JSON model (PS3.18 Annex F), like pydicom's ``to_json_dict``.

        The result differs where pydicom's is not valid JSON or does not conform to the standard:
        NaN and infinity are None, and so is an empty value among several; names have only non-empty
        component groups; an empty sequence has no ``Value`` (F.2.2, F.2.5). Like pydicom's, the
        result includes group lengths (tags that end in 0000, retired but present in many files),
        which F.2.2 excludes; remove them before sending the model to a web service.
        """
        return json_model(self.elements, self.bulk_uri)

    def to_json(self) -> str:
        """Return the DICOM JSON model as text."""
        return json.dumps(self.to_json_dict(), ensure_ascii=False, allow_nan=False)

    def frame(self) -> pl.DataFrame:
        """Return one row per element: Tag (with its path in sequences), Keyword, VR, VM, Value."""
        rows = [(place, e.label, e.vr, e.vm, e.text) for place, e in self.walk()]
        types = {"Tag": pl.String, "Keyword": pl.String, "VR": pl.String, "VM": pl.Int64}
        return pl.DataFrame(rows, schema={**types, "Value": pl.String}, orient="row")


def _cut(text: str) -> str:
    """Return a text on one line, truncated to the width of a screen."""
    line = " ".join(text[: 4 * _VALUE_WIDTH].split())
    return line if len(line) <= _VALUE_WIDTH else f"{line[: _VALUE_WIDTH - 1]}…"


def _walk(elements: Sequence[HeaderElement], place: str) -> Iterator[tuple[str, HeaderElement]]:
    for element in elements:
        yield place + element.tag, element
        for number, item in enumerate(element.items):
            yield from _walk(item, f"{place}{element.tag}[{number}].")


def _as_tag(key: object) -> str | None:
    if isinstance(key, str):
        match = _TAG.fullmatch(key.strip())
        return (match[1] + match[2]).upper() if match else None
    if isinstance(key, tuple) and len(key) == 2:
        try:
            group, element = (int(part, 16) if isinstance(part, str) else part for part in key)
        except ValueError:
            raise KeyError(key) from None
        return f"{group:04X}{element:04X}"
    if isinstance(key, int):
        return f"{key:08X}"
    raise KeyError(key)


def _joined(name: str | None) -> str | None:
    """Convert a name of the private dictionary to a keyword, such as ``CSAImageHeaderInfo``."""
    return "".join(w[0].upper() + w[1:] for w in re.findall(r"\w+", name)) if name else None
