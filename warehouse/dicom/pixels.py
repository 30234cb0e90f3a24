"""Locate the top-level pixel data of one file: offset, length and encapsulation.

In: a file and the offset of the value field. Out: ``PixelPlace``. Only the item headers of
encapsulated pixel data are read, 8 bytes each; other pixel data are not read.
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

from warehouse.dicom.element import PixelPlace
from warehouse.dicom.grammar import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable

_ITEM, _SEQUENCE_END = 0xE000FFFE, 0xE0DDFFFE
_header = struct.Struct("<LL").unpack


def implicit_pixel_vr(tag: int, length: int) -> str:
    """Return the VR of pixel data in implicit VR (PS3.5 A.1; OB if encapsulated)."""
    if tag == 0x7FE00010:
        return "OB" if length == UNDEFINED else "OW"
    return "OF" if tag == 0x7FE00008 else "OD"


def pixel_vr(tag: int, length: int, head: int, *, implicit: bool) -> str:
    """Return the VR of pixel data whose first 8 bytes are ``head``."""
    if implicit:
        return implicit_pixel_vr(tag, length)
    return chr(head >> 32 & 0xFF) + chr(head >> 40 & 0xFF)


def pass_over(
    opened: Callable[[], IO[bytes]], offset: int, length: int, size: int
) -> tuple[PixelPlace, str | None, int]:
    """Return the location, a note if the file is truncated, and the end of the pixel data.

    Raises
    ------
    OSError
        The file, opened by ``opened`` to read its item headers, cannot be read.
    """
    if length != UNDEFINED:
        end = offset + length
        if end > size:
            remaining = size - offset
            note = f"pixel data end early: {remaining} of {length} bytes are there"
            return PixelPlace(offset, remaining, encapsulated=False), note, size
        return PixelPlace(offset, length, encapsulated=False), None, end
    with opened() as file:
        last = _follow(file, offset, size)
    if last is None:
        note = "encapsulated pixel data end early: no sequence delimiter"
        return PixelPlace(offset, size - offset, encapsulated=True), note, size
    return PixelPlace(offset, last - offset, encapsulated=True), None, last


def _follow(file: IO[bytes], at: int, size: int) -> int | None:
    """Walk the items; return the end of the sequence delimiter, None without one."""
    while True:
        head = file.read(8) if file.seek(at) == at else b""
        tag, step = _header(head) if len(head) == 8 else (0, 0)
        if tag == _SEQUENCE_END:
            return at + 8
        at += 8 + step
        if tag != _ITEM or at > size:
            return None
