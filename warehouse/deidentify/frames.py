"""Blank comments and application segments of compressed frames.

In: fragments of encapsulated pixel data. Out: the same, with zeros for comments, application
segments and bytes after the end of an image. Nothing is decoded, and no length changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.deidentify.facts import Chunk

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f"
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Not in entropy-coded data, where 00 or RSTn (JPEG) or less than 80 (JPEG-LS) follows FF."""
_COMMENT, _END = 0xFE, 0xD9
_TILE, _DATA, _COMMENT_2000 = 0x90, 0x93, 0x64


def without_comments(content: Chunk) -> bytes | None:
    """Blank comments, application segments and bytes after the end of JPEG and JPEG 2000 frames.

    Parameters
    ----------
    content
        Fragments of encapsulated pixel data.

    Returns
    -------
    bytes or None
        None if there is nothing to blank.
    """
    blanked: bytearray | None = None
    pos, limit = 0, len(content)
    while pos + 8 <= limit:
        length = int.from_bytes(content[pos + 4 : pos + 8], "little")
        start, end = pos + 8, min(pos + 8 + length, limit)
        for first, last in _ranges_to_blank(content, start, end):
            blanked = blanked or bytearray(content)
            blanked[first:last] = bytes(last - first)
        pos = end
    return bytes(blanked) if blanked is not None else None


def _ranges_to_blank(content: Chunk, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of bytes in a fragment that are not part of its image."""
    kind = bytes(content[start : start + 2])
    find_ranges = {_JPEG: _jpeg_ranges, _JPEG_2000: _jpeg_2000_ranges}.get(kind)
    if find_ranges is not None:
        for first, last in find_ranges(content, start + 2, end):
            # Fragments are padded with 00 or FF.
            if bytes(content[first:last]).strip(b"\0\xff"):
                yield first, last


def _jpeg_ranges(content: Chunk, pos: int, end: int) -> Iterator[tuple[int, int]]:
    while match := _MARKER.search(content, pos, end):
        pos, marker = match.end(), content[match.start() + 1]
        if marker == _END:
            yield pos, end
            return
        length = int.from_bytes(content[pos : pos + 2], "big")
        if length < 2:
            return
        # APP0 and APP14 define the color space, APP8 the color transform of JPEG-LS.
        if marker == _COMMENT or (0xE1 <= marker <= 0xEF and marker not in {0xE8, 0xEE}):
            yield pos + 2, min(pos + length, end)
        pos += length


def _jpeg_2000_ranges(content: Chunk, pos: int, end: int) -> Iterator[tuple[int, int]]:
    tile_end = 0
    while pos + 4 <= end and content[pos] == 0xFF:
        marker, length = content[pos + 1], int.from_bytes(content[pos + 2 : pos + 4], "big")
        if marker == _DATA:
            if tile_end <= pos:  # it extends to the end of the image, or is invalid
                return
            pos = tile_end
            if pos + 2 <= end and bytes(content[pos : pos + 2]) == b"\xff\xd9":
                yield pos + 2, end
                return
            continue
        if length < 2:
            return
        if marker == _TILE:
            tile_end = pos + int.from_bytes(content[pos + 6 : pos + 10], "big")
        elif marker == _COMMENT_2000:  # after the two bytes of Rcom
            yield pos + 6, min(pos + 2 + length, end)
        pos += 2 + length
