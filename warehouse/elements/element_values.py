"""Decode all values of one element, and count its rows.

In: an element of the reference reader. Out: its values. The fast reader decodes many at a time
instead, see ``warehouse.elements.distinct``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.elements.values import (
    MAX_VALUES,
    NUMBERS,
    SEPARATED,
    Value,
    binary,
    decode,
    number_size,
)

if TYPE_CHECKING:
    from warehouse.dicom.element import Element


def element_values(element: Element) -> list[Value]:
    """Decode all values of an element; sequences and pixel data count as one."""
    if element.pixel_length is not None:
        return [Value(length=element.pixel_length)] if element.pixel_length else []
    if element.left is not None:
        length, digest = element.left
        return [Value(length=length, sha256=digest, warning=f"{length} bytes: not kept")]
    if element.raw is None:
        return [Value(integer=element.items)] if element.items else []
    if element.vr == "SQ":
        return [binary(element.raw)._replace(warning=element.warning)] if element.raw else []
    return decode(
        element.vr, element.raw, charsets=element.charsets, little=element.little, tag=element.tag
    )


def row_count(element: Element) -> int:
    """Return an upper bound for the number of rows of an element, without decoding its values."""
    raw = element.raw
    if not raw or element.vr == "SQ":
        return 1
    if element.vr in NUMBERS:
        count = len(raw) // number_size(element.vr)
        return count if 0 < count <= MAX_VALUES else 1
    if element.vr in SEPARATED:
        count = raw.count(b"\\") + 1
        return count if count <= MAX_VALUES else 1
    return 1
