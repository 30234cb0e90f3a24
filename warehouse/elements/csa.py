"""Parse Siemens CSA headers, types 1 and 2.

In: the value field of (0029,xx10) or (0029,xx20) of ``SIEMENS CSA HEADER``. Out: one value per
item, and one without text for an element without items. The format is not published; this parser
follows nibabel's description, and a test compares every value with nibabel's reader.

The headers of a series differ in some dozen items. ``CsaReader`` therefore caches recently parsed
headers: if a header equals one of them in all bytes outside of items, only items that differ are
parsed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from warehouse.elements.payload import PayloadValue, clipped, damaged, read_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ELEMENTS = 1000
MAX_ITEMS = 1000
"""nibabel's limit, which no real header comes near."""

MAX_VALUES = 20_000
"""Maximum number of rows of a header; a real one with a hundred elements has some two hundred."""

MAX_LIKE_BYTES = 64 << 10
"""Largest header that is compared with cached ones: image headers have 15 KB, and series headers
usually repeat unchanged."""

MAX_LIKE = 8
"""Headers kept for comparison."""

MAX_SEEN = 10_000
"""Items cached for each of them."""

CHECKS = (77, 205)

PROTOCOLS = ("MrPhoenixProtocol", "MrProtocol")
"""Elements whose text is a protocol with its own rows; the first existing one is used."""

_ELEMENT = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<iiii")
_WHOLE_NUMBERS = frozenset({"SS", "US", "SL", "UL", "IS"})
_NUMBERS = _WHOLE_NUMBERS | {"FL", "FD", "DS"}


class _Item(NamedTuple):
    name: str
    position: int
    vr: str
    start: int
    length: int
    """-1 for an element without values."""
    warning: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A parsed header, and a mask of its bytes that are structure, not values."""

    raw: NDArray[np.uint8]
    structure: NDArray[np.bool_]
    items: list[_Item]
    starts: NDArray[np.int64]
    """Offsets of the items that have bytes, sorted; ``places`` has their numbers."""
    places: list[int]
    values: list[PayloadValue]
    seen: dict[tuple[int, bytes], PayloadValue] = field(default_factory=dict)
    """Parsed items that differed; slices and their times repeat in every volume."""


class CsaReader:
    """Parses headers and caches the structure of a few, because most headers repeat it."""

    def __init__(self) -> None:
        self._known: list[_Known] = []

    def read(self, raw: bytes) -> list[PayloadValue]:
        """Return the values of a header; if it is damaged, the last one has a warning."""
        content = np.frombuffer(raw, np.uint8)
        for number, known in enumerate(self._known):
            if len(known.raw) != len(content):
                continue
            differs = known.raw != content
            if (differs & known.structure).any():
                continue
            if number:
                self._known.insert(0, self._known.pop(number))
            values = list(known.values)
            changed = np.searchsorted(known.starts, np.flatnonzero(differs), "right") - 1
            for nth in set(changed.tolist()):
                place = known.places[nth]
                item = known.items[place]
                key = place, raw[item.start : item.start + item.length]
                value = known.seen.get(key)
                if value is None:
                    value = _value(raw, item)
                    if len(known.seen) < MAX_SEEN:
                        known.seen[key] = value
                values[place] = value
            return values
        items, why = _walk(raw)
        values = [_value(raw, item) for item in items]
        if why is not None:
            return [*values, damaged(why)]
        if len(raw) <= MAX_LIKE_BYTES:
            self._known = [_known(content, items, values), *self._known[: MAX_LIKE - 1]]
        return values


def protocol_text(raw: bytes) -> str | None:
    """Return the protocol in a series header; None if there is none."""
    items, _ = _walk(raw)
    by_name = {item.name: item for item in items if item.length > 0 and item.position == 0}
    for name in PROTOCOLS:
        if name in by_name:
            item = by_name[name]
            return _until_nul(raw[item.start : item.start + item.length])
    return None


def _known(content: NDArray[np.uint8], items: list[_Item], values: list[PayloadValue]) -> _Known:
    structure = np.ones(len(content), bool)
    for item in items:
        if item.length > 0:
            structure[item.start : item.start + item.length] = False
    places = [n for n, item in enumerate(items) if item.length > 0]
    starts = np.array([items[n].start for n in places], np.int64)
    return _Known(content, structure, items, starts, places, values)


def _walk(raw: bytes) -> tuple[list[_Item], str | None]:
    """Find the items (in a damaged header, those before the damage), and return what is wrong."""
    items, why = _walk_all(raw)
    # Name and position identify a row. If two elements have the same name, use the last (nibabel).
    return list({(item.name, item.position): item for item in items}.values()), why


def _walk_all(raw: bytes) -> tuple[list[_Item], str | None]:
    items: list[_Item] = []
    type_2 = raw[:4] == b"SV10"
    at = 8 if type_2 else 0
    if len(raw) < at + 8:
        return items, "not a CSA header: too short"
    (count,) = struct.unpack_from("<I", raw, at)
    at += 8
    if not 0 < count <= MAX_ELEMENTS:
        return items, f"not a CSA header: {count} elements"
    first_items = 0
    for number in range(count):
        if at + _ELEMENT.size > len(raw):
            return items, f"CSA header ends in element {number} of {count}"
        name, vm, vr, _, item_count, check = _ELEMENT.unpack_from(raw, at)
        at += _ELEMENT.size
        if number == 0:
            first_items = item_count
        if not 0 <= item_count <= MAX_ITEMS:
            return items, f"CSA element {number} of {count} claims {item_count} items"
        if len(items) > MAX_VALUES:
            return items, f"more than {MAX_VALUES} values"
        warning = None if check in CHECKS else "check value is neither 77 nor 205"
        element = _until_nul(name), _until_nul(vr)
        if not element[0]:
            return items, f"CSA element {number} of {count} has no name"
        found, at, why = _items_of(
            raw, at, element, (vm, item_count), None if type_2 else first_items, warning
        )
        if why is not None and found:
            found[-1] = found[-1]._replace(warning=why)
        items += found or [_Item(element[0], 0, element[1], at, -1, why or warning)]
        # Some type 1 headers in use continue with the next element after an impossible length.
        if why is not None and (type_2 or at + _ITEM.size > len(raw)):
            return items, why
    return items, None


def _items_of(
    raw: bytes, at: int, element: tuple[str, str], counts: tuple[int, int],
    first_items: int | None, warning: str | None,
) -> tuple[list[_Item], int, str | None]:  # fmt: skip
    """Find the items of one element; return the offset of the next element and what is wrong."""
    name, vr = element
    vm, item_count = counts
    wanted = vm if vm > 0 else item_count
    items: list[_Item] = []
    for index in range(item_count):
        if at + _ITEM.size > len(raw):
            return items, at, "CSA header ends in the items of an element"
        first, second, _, _ = _ITEM.unpack_from(raw, at)
        at += _ITEM.size
        # Type 1 adds the number of items of the first element to each length.
        length = second if first_items is None else first - first_items
        if length < 0 or at + length > len(raw):
            return items, at, "CSA item is longer than its header"
        if index < wanted and length == 0 and vr in _NUMBERS:
            # Some writers add more items than values; numbers end at the first empty item.
            wanted = index
        if index < wanted:
            items.append(_Item(name, index, vr, at, length, warning))
        at += length + -length % 4
    return items, at, None


def _value(raw: bytes, item: _Item) -> PayloadValue:
    name, index, vr, start, length, warning = item
    if length < 0:
        return PayloadValue(name, index, vr, warning=warning)
    text = _until_nul(raw[start : start + length])
    if vr in _NUMBERS:
        text = text.strip()
        number = read_number(text)
        if number is not None:
            integer, real = number
            integer = integer if vr in _WHOLE_NUMBERS else None
            return PayloadValue(name, index, vr, text, integer, real, warning)
        warning = warning or ("not a number" if text else None)
    if name in PROTOCOLS:
        # The protocol text has its own rows.
        return PayloadValue(name, index, vr, warning=warning)
    kept, too_long = clipped(text)
    return PayloadValue(name, index, vr, kept, warning=warning or too_long)


def _until_nul(written: bytes) -> str:
    return str(written, "latin-1").partition("\0")[0].rstrip(" ")
