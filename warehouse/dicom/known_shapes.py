"""Cache of header templates (shapes), by a hash of the first element headers of a file.

In: files whose data set is about to be read. Out: shapes that they may match. An archive has far
fewer shapes than files, and each batch usually has most of them, so a shape that was parsed once is
reused for all later batches. ``shapes`` then compares every header with the shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from warehouse.dicom.grammar import BAD, EXPLICIT_CLASS, MAX_HEADER_BYTES, SHORT, UNDEFINED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.shape import Shape
    from warehouse.dicom.state import Scan

FIRST_HEADERS = 64
"""Number of headers in a key; more distinguish more shapes but cost more per file."""

MAX_HEADERS = 1 << 17
"""Total number of headers in cached shapes, of some 75 bytes each, which limits the memory."""

MAX_SHAPES = 64
"""Shapes cached per key; in every batch each is tried with all files of the key."""

MAX_KEYS = 1 << 14
"""Number of keys cached without a shape."""

_TAG, _TAG_AND_VR = np.uint64(UNDEFINED), np.uint64(0xFFFFFFFFFFFF)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def keys_of(scan: Scan, files: NDArray[np.int64], *, implicit: bool) -> NDArray[np.uint64]:
    """Return a hash of the first element headers of each file, equal for files of one shape.

    The hash covers tags and VRs of the first headers, but not lengths, which differ within a shape.
    Files with the same hash may have different shapes.
    """
    heads = scan.heads
    place, end = scan.at[files] + heads.base[files], heads.window_at[files] - MAX_HEADER_BYTES
    keys = np.full(len(files), implicit, np.uint64)
    on = np.arange(len(files))
    for _ in range(FIRST_HEADERS):
        on = on[place[on] <= end[on]]
        at = place[on]
        head = heads.words[at]
        keys[on] = (keys[on] ^ head & (_TAG if implicit else _TAG_AND_VR)) * _FACTOR
        if implicit:
            length = (head >> np.uint64(32)).view(np.int64)
            step, known = 8 + length, length != UNDEFINED
        else:
            kind = EXPLICIT_CLASS[head >> np.uint64(32) & np.uint64(0xFFFF)]
            long = kind != SHORT
            length = np.where(long, heads.halves[at + 8], (head >> np.uint64(48)).view(np.int64))
            step, known = np.where(long, 12, 8) + length, (kind != BAD) & (length != UNDEFINED)
        place[on] += step
        on = on[known]
    return keys


class KnownShapes:
    """LRU cache of shapes by key."""

    def __init__(self) -> None:
        self._shapes: dict[int, list[Shape]] = {}
        self._met: set[int] = set()
        self._headers = 0

    def of(self, key: int) -> list[Shape]:
        """Return the shapes of a key, which becomes the most recently used."""
        shapes = self._shapes.pop(key, [])
        if shapes:
            self._shapes[key] = shapes
        return list(shapes)

    def matched(self, key: int, shape: Shape) -> None:
        """Move a shape to the front of the shapes of its key."""
        shapes = self._shapes[key]
        shapes.remove(shape)
        shapes.insert(0, shape)

    def is_met(self, key: int) -> bool:
        """Return whether a file with this key was parsed element by element before."""
        if key in self._met:
            return True
        if len(self._met) >= MAX_KEYS:
            self._met.clear()
        self._met.add(key)
        return False

    def add(self, key: int, shape: Shape) -> None:
        """Add a shape; evict the least recently used ones."""
        shapes = self._shapes.setdefault(key, [])
        shapes.insert(0, shape)
        self._headers += len(shape.headers.head)
        if len(shapes) > MAX_SHAPES:
            self._forget_last(key)
        while self._headers > MAX_HEADERS:
            self._forget_last(next(iter(self._shapes)))

    def _forget_last(self, key: int) -> None:
        shapes = self._shapes[key]
        self._headers -= len(shapes.pop().headers.head)
        if not shapes:
            del self._shapes[key]
