"""Parse size and precision of compressed frames, to refuse decompression bombs.

In: the bytes of a frame. Out: rows, columns, samples and precision, or the color space. Only marker
segments are parsed.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_NO_FRAME_HEADER = {0xC4, 0xC8, 0xCC}
"""Codes in the range of frame headers that are not: Huffman tables, reserved, conditioning."""
_START_OF_SCAN, _JFIF, _ADOBE = 0xDA, 0xE0, 0xEE
_J2K = b"\xff\x4f\xff\x51"
_FILL = re.compile(rb"\xff+")


class Codestream(NamedTuple):
    """Size and precision of a frame."""

    rows: int
    columns: int
    samples: int
    precision: int
    """Bits per sample; for JPEG 2000, those of the first component."""


def describe(frame: bytes) -> list[Codestream]:
    """Return the size that a JPEG, JPEG-LS or JPEG 2000 frame declares.

    The list has several items if there are several frame headers or a JP2 file has several
    codestreams, and is empty if there is no codestream.

    Sources: ITU-T T.81 B.2.2 (SOF), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ) and I.4 (boxes).
    """
    if frame[:4] == _J2K:
        return _jpeg_2000(frame, 0)
    if frame[4:8] == b"jP  ":
        return [header for at in _codestreams(frame) for header in _jpeg_2000(frame, at)]
    if frame[:2] != b"\xff\xd8":
        return []
    return [
        Codestream._make((*struct.unpack(">HHB", part[1:6]), part[0]))
        for code, part in _segments(frame)
        if _is_frame_header(code) and len(part) >= 6
    ]


def color_space_of(frame: bytes) -> str | None:
    """Return RGB or YBR_FULL if a JPEG frame with three components states it, else None.

    Component identifiers (letters), the Adobe marker and the JFIF marker are checked in the same
    order as in decoders (ITU-T T.871, T.872).
    """
    space = None
    for code, part in _segments(frame) if frame[:2] == b"\xff\xd8" else ():
        if _is_frame_header(code) and len(part) >= 15 and part[5] == 3:
            if part[6:15:3] in {b"RGB", b"rgb"}:
                return "RGB"
        elif code == _ADOBE and part[:5] == b"Adobe" and len(part) >= 12:
            space = {0: "RGB", 1: "YBR_FULL"}.get(part[11], space)
        elif code == _JFIF and part[:4] == b"JFIF" and space is None:
            space = "YBR_FULL"
    return space


def _is_frame_header(code: int) -> bool:
    return (0xC0 <= code <= 0xCF and code not in _NO_FRAME_HEADER) or code == 0xF7


def _codestreams(frame: bytes) -> Iterator[int]:
    """Yield the offsets of the codestreams in a JP2 file."""
    at = 0
    while at + 8 <= len(frame):
        length, kind = struct.unpack(">L4s", frame[at : at + 8])
        head = 8
        if length == 1:
            if at + 16 > len(frame):
                return
            (length,) = struct.unpack(">Q", frame[at + 8 : at + 16])
            head = 16
        if kind == b"jp2c":
            yield at + head
        if length < head:  # 0: to the end
            return
        at += length


def _jpeg_2000(frame: bytes, at: int) -> list[Codestream]:
    if len(frame) < at + 43 or frame[at : at + 4] != _J2K:
        return []
    width, height, left, top = struct.unpack(">4L", frame[at + 8 : at + 24])
    samples, depth = struct.unpack(">HB", frame[at + 40 : at + 43])
    return [Codestream(height - top, width - left, samples, (depth & 0x7F) + 1)]


def _segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and content of the marker segments before the first scan."""
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        if (fill := _FILL.match(frame, at)) is not None:
            at = fill.end() - 1  # fill bytes stand before a marker
        if at + 4 > len(frame):
            return
        code = frame[at + 1]
        if code in _STANDALONE:
            at += 2
            continue
        (length,) = struct.unpack(">H", frame[at + 2 : at + 4])
        yield code, frame[at + 4 : at + 2 + length]
        if code == _START_OF_SCAN:
            return
        at += 2 + length
