"""What a compressed frame says of its own size, so that none unpacks to more than its header says.

In: the bytes of a frame. Out: rows, columns and samples. Only markers are looked at.
"""

from __future__ import annotations

import struct

_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_NO_FRAME_HEADER = {0xC4, 0xC8, 0xCC}
"""Huffman tables, reserved and arithmetic conditioning: between the codes of frame headers."""


def size_of(frame: bytes) -> tuple[int, int, int] | None:
    """Return (rows, columns, samples) of a JPEG, JPEG-LS or JPEG 2000 codestream, else None.

    Sources: ITU-T T.81 B.2.2 (SOF), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ).
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        return _jpeg_2000(frame)
    if frame[4:8] == b"jP  ":
        at = frame.find(b"\xff\x4f\xff\x51")
        return _jpeg_2000(frame[at : at + 64]) if at >= 0 else None
    return _jpeg(frame) if frame[:2] == b"\xff\xd8" else None


def _jpeg_2000(frame: bytes) -> tuple[int, int, int] | None:
    if len(frame) < 42:
        return None
    width, height, left, top = struct.unpack(">4L", frame[8:24])
    return height - top, width - left, struct.unpack(">H", frame[40:42])[0]


def _jpeg(frame: bytes) -> tuple[int, int, int] | None:
    at = 2
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            return None
        code = frame[at + 1]
        if code == 0xFF:  # fill byte
            at += 1
            continue
        if code in _STANDALONE:
            at += 2
            continue
        if (0xC0 <= code <= 0xCF and code not in _NO_FRAME_HEADER) or code == 0xF7:
            if at + 10 > len(frame):
                return None
            rows, columns, samples = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return rows, columns, samples
        at += 2 + struct.unpack(">H", frame[at + 2 : at + 4])[0]
    return None
