"""Byte ranges of frames: pure functions, and one that reads item headers.

In: ``Image``. Out: byte ranges. Ranges of uncompressed frames are computed from the catalog alone.
Ranges of compressed frames are found by reading the item headers of the pixel data (PS3.5 A.4), 8
bytes each. An offset table that disagrees with the items is ignored. An extended offset table
(PS3.3 C.7.6.3.1.8) requires one item per frame, so it adds no information.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from warehouse.errors import PixelsUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from warehouse.pixels.image import Image

_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE
_EOI = b"\xff\xd9"
_header = struct.Struct("<LL").unpack


class Range(NamedTuple):
    """A byte range of a file."""

    offset: int
    length: int


def native_frame(image: Image, index: int) -> Range:
    """Return the range of an uncompressed frame of whole bytes; ``index`` from 0."""
    length = int(image.frame_bytes)
    return Range(image.pixel_offset + index * length, length)


def compressed_frames(image: Image, read: Callable[[int, int], bytes]) -> list[list[Range]]:
    """Return the fragments of every frame of encapsulated pixel data.

    Parameters
    ----------
    image
        Its pixel data are encapsulated.
    read
        Returns bytes of its file: offset, length.

    Returns
    -------
    list[list[Range]]
        One list of fragments per frame of the header; more frames in the data are left out.

    Raises
    ------
    PixelsUnreadable
        The items are damaged, or cannot be assigned to frames.
    """
    items = _items(image, read)
    if not items:
        raise PixelsUnreadable(image.path, "compressed pixel data without an offset table item")
    table, fragments = items[0], items[1:]
    wanted = image.frame_count
    if len(fragments) < wanted:
        raise PixelsUnreadable(image.path, f"{len(fragments)} fragments for {wanted} frames")
    groups = _by_table(image, fragments, _offsets(image, table, read))
    if groups is None and wanted == 1:
        return [fragments]
    if groups is None and len(fragments) == wanted:
        groups = [[fragment] for fragment in fragments]
    if groups is None:
        groups = _by_marker(fragments, read)
    if len(groups) < wanted:
        raise PixelsUnreadable(
            image.path,
            f"{len(fragments)} fragments without an offset table that says which of them make "
            f"{wanted} frames",
        )
    return groups[:wanted]


def _items(image: Image, read: Callable[[int, int], bytes]) -> list[Range]:
    at, end = image.pixel_offset, image.pixel_offset + image.pixel_length
    items = []
    while at + 8 <= end:
        tag, length = _header(read(at, 8).ljust(8, b"\0"))
        if tag == _END:
            break
        if tag != _ITEM or at + 8 + length > end:
            raise PixelsUnreadable(image.path, f"damaged item of pixel data at byte {at}")
        items.append(Range(at + 8, length))
        at += 8 + length
    return items


def _offsets(image: Image, table: Range, read: Callable[[int, int], bytes]) -> list[int]:
    if not table.length or table.length % 4:
        return []
    raw = read(*table)
    if len(raw) != table.length:
        raise PixelsUnreadable(image.path, "the file ends inside the offset table")
    return list(struct.unpack(f"<{table.length // 4}L", raw))


def _by_table(
    image: Image, fragments: Sequence[Range], offsets: Sequence[int]
) -> list[list[Range]] | None:
    """Assign fragments to frames by the basic offset table; None if it is invalid."""
    if len(offsets) < image.frame_count or offsets[0] != 0:
        return None
    # Offsets are relative to the first item after the table, and point to item headers.
    start = fragments[0].offset
    place = {fragment.offset - start: number for number, fragment in enumerate(fragments)}
    cuts = [place.get(offset) for offset in offsets]
    known = [cut for cut in cuts if cut is not None]
    if len(known) != len(cuts) or any(b <= a for a, b in pairwise(known)):
        return None
    return [list(fragments[a:b]) for a, b in zip(known, [*known[1:], len(fragments)], strict=True)]


def _by_marker(fragments: Sequence[Range], read: Callable[[int, int], bytes]) -> list[list[Range]]:
    """Assign fragments to frames by the end marker of JPEG codestreams, as pydicom does."""
    groups: list[list[Range]] = [[]]
    for fragment in fragments:
        groups[-1].append(fragment)
        tail = min(fragment.length, 10)
        if _EOI in read(fragment.offset + fragment.length - tail, tail):
            groups.append([])
    return groups[:-1]
