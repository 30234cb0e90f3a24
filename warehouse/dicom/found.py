"""``Found``: the result of scanning many headers, as flat arrays of elements and nodes.

In: nothing; ``state`` builds it from the results of ``meta``, ``shapes`` and ``walk``. This module
neither finds nor decodes elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.dicom.grammar import TAKEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.element import PixelPlace
    from warehouse.dicom.heads import Heads


@dataclass(frozen=True, slots=True)
class Pixels:
    """Top-level pixel data of one file."""

    tag: int
    vr: str
    place: PixelPlace
    note: str | None


class Records:
    """Growable columns of found elements, reused from batch to batch.

    New memory is slow, because the kernel zeroes each page at its first access.
    """

    def __init__(self) -> None:
        self.count = 0
        self._room(1 << 16)

    def _room(self, capacity: int) -> None:
        old = getattr(self, "columns", None)
        self.columns = tuple(
            np.empty(capacity, kind)
            for kind in (np.int32, "<u8", np.int32, np.int32, np.int32, "<u8", "<u4")
        )
        for column, before in zip(self.columns, old or (), strict=False):
            column[: self.count] = before[: self.count]

    def add(self, heads: Heads, *cells: NDArray[Any]) -> None:
        """Append file, head, place, length and node of elements."""
        for column, cell in zip(self.room(len(cells[0])), cells, strict=True):
            column[:] = cell
        self.look(heads, len(cells[0]))

    def room(self, count: int) -> list[NDArray[Any]]:
        """Return views to write file, head, place, length and node of new elements to."""
        start, stop = self.count, self.count + count
        if stop > len(self.columns[0]):
            self._room(max(2 * len(self.columns[0]), stop))
        self.count = stop
        return [column[start:stop] for column in self.columns[:5]]

    def look(self, heads: Heads, count: int) -> None:
        """Prefetch the first bytes of the values of the last elements.

        A value is next to the header just read, so it is in the CPU cache now, but not later.
        """
        last = slice(self.count - count, self.count)
        at = self.columns[2][last]
        self.columns[5][last] = heads.words[at]
        self.columns[6][last] = heads.halves[at + 8]

    def taken(self) -> list[NDArray[Any]]:
        """Return the columns, as far as they are filled."""
        return [column[: self.count] for column in self.columns]


@dataclass(slots=True)
class Found:
    """Positions of elements, unordered. Nodes are data sets: files, file metas, items.

    Node ``f`` is the data set of file ``f``, node ``count + f`` its file meta information.
    """

    file: NDArray[np.int32]
    head: NDArray[np.uint64]
    """The first 8 bytes of the element."""
    value_at: NDArray[np.int32]
    """Position of the value in the arena; ``-1 - number`` for a long value outside of it."""
    length: NDArray[np.int32]
    """Length of the value; ``-2 - number`` for the sequence of that number."""
    node: NDArray[np.int32]
    low: NDArray[np.uint64]
    """First 8 bytes of the value; for a shorter value, followed by the next bytes."""
    high: NDArray[np.uint32]
    """The next 4 bytes."""
    outside: list[tuple[int, int]]
    """Offset in its file and length of each long value outside of the arena."""
    node_file: NDArray[np.int64]
    node_parent: NDArray[np.int64]
    node_sequence: NDArray[np.int64]
    """Number of the sequence that contains the item; -1 for files."""
    node_item: NDArray[np.int64]
    node_level: NDArray[np.int64]
    sequence_tag: NDArray[np.int64]
    status: NDArray[np.uint8]
    implicit: NDArray[np.bool_]
    syntax: list[str | None]
    pixels: dict[int, Pixels]


def restrict(found: Found) -> None:
    """Keep only the elements of files that were read completely."""
    if (found.status == TAKEN).all():
        return
    ours = np.flatnonzero((found.status == TAKEN)[found.file])
    for name in ("file", "head", "value_at", "length", "node", "low", "high"):
        setattr(found, name, getattr(found, name)[ours])


def tag_of(head: NDArray[np.uint64]) -> NDArray[Any]:
    """Return group and element as one number that sorts in DICOM order."""
    low = head.astype(np.uint32)
    return (low << 16) | (low >> 16)
