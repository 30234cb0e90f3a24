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

_START = re.compile(rb"\xff+(\xd8|\x4f\xff\x51)")
"""Start of a JPEG image, or of a JPEG 2000 codestream with its SIZ, after fill bytes."""
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Not in entropy-coded data, where 00 or RSTn (JPEG) or less than 80 (JPEG-LS) follows FF."""
_COMMENT, _END = 0xFE, 0xD9
_APPLICATIONS = {
    0xE0: {b"JFIF\0": 14},
    0xE8: {b"mrfx": 5, b"SPIFF\0": 30, b"\0\0\0\1": 6},
    0xEE: {b"Adobe": 12},
}
"""Application segments that state colors, or end those of SPIFF: signature → bytes to keep."""
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
    for fragments in _images(content):
        for first, last in _ranges_to_blank(content, fragments):
            blanked = blanked or bytearray(content)
            blanked[first:last] = bytes(last - first)
    return bytes(blanked) if blanked is not None else None


def _images(content: Chunk) -> Iterator[list[tuple[int, int]]]:
    """Yield the ranges of bytes of the fragments of each image.

    A fragment that does not begin with the start of an image continues the one before.
    """
    fragments: list[tuple[int, int]] = []
    pos, limit = 0, len(content)
    while pos + 8 <= limit:
        length = int.from_bytes(content[pos + 4 : pos + 8], "little")
        start, end = pos + 8, min(pos + 8 + length, limit)
        if _START.match(content, start, end) and fragments:
            yield fragments
            fragments = []
        if end > start:
            fragments.append((start, end))
        pos = end
    if fragments:
        yield fragments


def _ranges_to_blank(
    content: Chunk, fragments: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Yield the ranges of bytes in the fragments of an image that are not part of it."""
    begin, end = fragments[0]
    start = _START.match(content, begin, end)
    if start is None:
        return
    find_ranges = _jpeg_ranges if start[1] == b"\xd8" else _jpeg_2000_ranges
    pieces = [content[first:last] for first, last in fragments]
    image = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    for first, last in find_ranges(image, start.start(1) + 1 - begin, len(image)):
        # Fragments are padded with 00 or FF.
        if bytes(image[first:last]).strip(b"\0\xff"):
            yield from _in_content(fragments, first, last)


def _in_content(
    fragments: list[tuple[int, int]], first: int, last: int
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Yield the ranges of bytes in the content that a range of an image has."""
    offset = 0
    for begin, end in fragments:
        low, high = max(first - offset, 0), min(last - offset, end - begin)
        if low < high:
            yield begin + low, begin + high
        offset += end - begin


def _jpeg_ranges(content: Chunk, pos: int, end: int) -> Iterator[tuple[int, int]]:
    while match := _MARKER.search(content, pos, end):
        pos, marker = match.end(), content[match.start() + 1]
        if marker == _END:
            yield pos, end
            return
        length = int.from_bytes(content[pos : pos + 2], "big")
        if length < 2:
            return
        if marker == _COMMENT or 0xE0 <= marker <= 0xEF:
            payload = bytes(content[pos + 2 : pos + 8])
            known = _APPLICATIONS.get(marker, {})
            needed = next((size for name, size in known.items() if payload.startswith(name)), 0)
            yield min(pos + 2 + needed, pos + length, end), min(pos + length, end)
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
