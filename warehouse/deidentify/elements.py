"""Parse and encode data elements, as far as the de-identification needs PS3.5.

Kept elements are copied byte by byte, so that a written file differs only in what was changed. A
file that violates the encoding is refused, never repaired.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from warehouse.errors import NotDeidentified

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
DEEPEST = 64
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SHORT = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL",
     "SS", "ST", "TM", "UI", "UL", "US"}
)  # fmt: skip
VRS = {vr.encode(): (vr, vr in LONG) for vr in LONG | SHORT}
LONGEST_CODE = 64
"""Largest size of a value that ``first_item`` returns, in bytes."""
_HEAD = struct.Struct("<HHL")
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<L")


class Element(NamedTuple):
    """Offsets of an element; ``end`` is None for items, delimiters and undefined length."""

    tag: int
    vr: str
    """Empty in implicit VR."""
    start: int
    value: int
    end: int | None


def read_element(data: bytes, pos: int, limit: int, *, implicit: bool) -> Element:
    """Parse the element at an offset.

    Raises
    ------
    NotDeidentified
        It is cut off, extends beyond its data set, or has a VR that is not in the standard.
    """
    if pos + 8 > limit:
        raise NotDeidentified("its header is cut off")
    if implicit:
        group, number, length = _HEAD.unpack_from(data, pos)
        tag, vr, value = group << 16 | number, "", pos + 8
        if group == 0xFFFE:
            return Element(tag, "", pos, value, None)
    else:
        group, number, code, length = _SHORT.unpack_from(data, pos)
        tag, value = group << 16 | number, pos + 8
        if group == 0xFFFE:
            return Element(tag, "", pos, value, None)
        known = VRS.get(code)
        if known is None:
            raise NotDeidentified("an element has a VR that is not in the standard")
        vr, is_long = known
        if is_long:
            if pos + 12 > limit:
                raise NotDeidentified("its header is cut off")
            (length,) = _LONG.unpack_from(data, pos + 8)
            value = pos + 12
    if length == UNDEFINED:
        return Element(tag, vr, pos, value, None)
    if value + length > limit:
        raise NotDeidentified("an element extends beyond its data set")
    return Element(tag, vr, pos, value, value + length)


def read_item(data: bytes, pos: int, limit: int) -> tuple[int, int]:
    """Return the tag and length of an item or delimiter.

    Raises
    ------
    NotDeidentified
    """
    if pos + 8 > limit:
        raise NotDeidentified("a sequence is cut off")
    group, number, length = _HEAD.unpack_from(data, pos)
    return group << 16 | number, length


def fragments_end(data: bytes, pos: int, limit: int) -> int:
    """Return the end offset of encapsulated pixel data, after their delimiter.

    Raises
    ------
    NotDeidentified
    """
    while True:
        tag, length = read_item(data, pos, limit)
        pos += 8
        if tag == SEQUENCE_END:
            return pos
        if tag != ITEM or pos + length > limit:
            raise NotDeidentified("its pixel data are not fragments")
        pos += length


def skip_undefined(data: bytes, pos: int, limit: int, *, implicit: bool, depth: int = 0) -> int:
    """Return the end offset of a sequence of undefined length, after its delimiter.

    Raises
    ------
    NotDeidentified
    """
    if depth > DEEPEST:
        raise NotDeidentified(f"its sequences are nested deeper than {DEEPEST} levels")
    while True:
        tag, length = read_item(data, pos, limit)
        pos += 8
        if tag == SEQUENCE_END:
            return pos
        if tag != ITEM:
            raise NotDeidentified("a sequence contains something that is not an item")
        if length != UNDEFINED:
            if pos + length > limit:
                raise NotDeidentified("an item extends beyond its sequence")
            pos += length
            continue
        while True:
            element = read_element(data, pos, limit, implicit=implicit)
            pos = element.value
            if element.tag == ITEM_END:
                break
            if element.end is not None:
                pos = element.end
            elif element.vr == "UN":
                pos = skip_undefined(data, pos, limit, implicit=True, depth=depth + 1)
            else:
                pos = skip_undefined(data, pos, limit, implicit=implicit, depth=depth + 1)


def first_item(data: bytes, value: int, stop: int, *, implicit: bool) -> dict[int, str]:
    """Return the short values of the first item of a sequence: tag → text.

    Raises
    ------
    NotDeidentified
    """
    if value + 8 > stop:
        return {}
    tag, length = read_item(data, value, stop)
    pos, texts = value + 8, dict[int, str]()
    stop = stop if length == UNDEFINED else min(pos + length, stop)
    while tag == ITEM and pos < stop:
        element = read_element(data, pos, stop, implicit=implicit)
        if element.end is None:
            if element.tag >> 16 == 0xFFFE:
                break
            pos = skip_undefined(data, element.value, stop, implicit=implicit or element.vr == "UN")
            continue
        if element.end - element.value <= LONGEST_CODE:
            content = bytes(data[element.value : element.end])
            texts[element.tag] = content.strip(b" \0").decode("latin-1")
        pos = element.end
    return texts


def head(tag: int, vr: str, length: int, *, implicit: bool) -> bytes:
    """Return the encoded header of an element."""
    if implicit:
        return _HEAD.pack(tag >> 16, tag & 0xFFFF, length)
    if vr in LONG:
        return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0) + _LONG.pack(length)
    if length > 0xFFFF:
        raise NotDeidentified("a value is longer than its VR allows")
    return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), length)


def encoded_element(tag: int, vr: str, value: bytes, *, implicit: bool) -> bytes:
    """Return an encoded element, its value padded to an even length."""
    if len(value) % 2:
        value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    return head(tag, vr, len(value), implicit=implicit) + value


def item(content: bytes) -> bytes:
    """Return an encoded item of defined length."""
    return _HEAD.pack(0xFFFE, 0xE000, len(content)) + content
