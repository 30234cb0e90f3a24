"""``Scan``: the position in every file of a scan, and the elements found so far.

In: nothing; ``meta``, ``shapes`` and ``walk`` fill it. Out: ``Found``. How elements
are found does not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.dicom.found import Found, Pixels, Records
from warehouse.dicom.grammar import REFERENCE
from warehouse.dicom.pixels import pass_over, pixel_vr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.heads import Heads


class Scan:
    """Files that are scanned together."""

    def __init__(self, heads: Heads, count: int, records: Records) -> None:
        self.heads = heads
        self.count = count
        self.status = np.full(count, REFERENCE, np.uint8)
        self.implicit = np.zeros(count, bool)
        self.syntax: list[str | None] = [None] * count
        self.pixels: dict[int, Pixels] = {}
        self.at = np.zeros(count, np.int64)
        """Offset of the first element of the data set."""
        self.nodes: list[tuple[Any, ...]] = []
        self.sequences: list[NDArray[np.int64]] = []
        self.node_count = 2 * count
        self.sequence_count = 0
        self.records = records
        records.count = 0
        self.outside: list[tuple[int, int]] = []

    def note_outside(self, offset: int, length: int) -> int:
        """Record a value outside the window, to be read later; return its placeholder."""
        self.outside.append((offset, length))
        return -len(self.outside)

    def note_pixels(
        self, number: int, tag: int, offset: int, length: int, head: int, *, implicit: bool
    ) -> int | None:
        """Record the pixel data; None if there are several, or their end cannot be found."""
        if number in self.pixels or offset > self.heads.size[number]:
            return None
        vr = pixel_vr(tag, length, head, implicit=implicit)
        size = int(self.heads.size[number])
        try:
            place, note, end = pass_over(lambda: self.heads.open(number), offset, length, size)
        except OSError:
            return None
        self.pixels[number] = Pixels(tag, vr, place, note)
        return end

    def found(self) -> Found:
        """Return what was found in the files that were read completely."""
        roots = np.concatenate([np.arange(self.count), np.arange(self.count)])
        none = np.full(2 * self.count, -1)
        zero = np.zeros(2 * self.count, np.int64)
        nodes = [(roots, none, none, zero, zero), *self.nodes]
        of_file, parent, sequence, item, level = (
            np.concatenate(column).astype(np.int64) for column in zip(*nodes, strict=True)
        )
        tags = [np.zeros(0, np.int64), *self.sequences]
        file, head, value_at, length, node, low, high = self.records.taken()
        return Found(
            file, head, value_at, length, node, low, high, self.outside, of_file, parent, sequence,
            item, level // 2, np.concatenate(tags), self.status, self.implicit, self.syntax,
            self.pixels,
        )  # fmt: skip
