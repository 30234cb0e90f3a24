"""``Trace``: elements, items and sequences of one file, in file order.

In: nothing; ``walk`` adds elements one by one, ``items`` many items at once. Out: rows of a
``Scan``, and all records in file order for ``shapes``, which compares other files with this one.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from warehouse.dicom.grammar import EXPLICIT_CLASS, SHORT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.state import Scan


class Trace:
    """Records of one file. Places are relative to the arena, offsets to the file."""

    def __init__(self, scan: Scan, number: int, *, implicit: bool) -> None:
        self.scan = scan
        self.heads = scan.heads
        self.number = number
        self.implicit = implicit
        self.base = int(self.heads.base[number])
        self.window = int(self.heads.window_at[number])
        """End of the window that is in the arena now."""
        self.start = int(scan.at[number])
        self.places = array("q")
        """Position of each element."""
        self.special: list[tuple[int, int, int]] = []
        """Elements whose position or length differs from their head: number, place, length."""
        self.runs: list[tuple[int, int]] = []
        """First element and node of each run."""
        self.nodes: list[tuple[int, int, int, int]] = []
        """Items: parent, sequence, number in it, level."""
        self.sequences: list[int] = []
        """Tags."""
        self.bases: list[tuple[int, int]] = [(0, self.base)]
        """First element and base of each window."""
        self.marks: list[tuple[int, int, int]] = []
        """Items and delimiters: offset, number of the window, place."""
        self.after_pixels = False
        """Whether elements come after the pixel data."""
        self.first_node = scan.node_count
        self.first_sequence = scan.sequence_count
        self.node_base = scan.node_count
        """Number of the first node in the list."""
        self.flushes = 0
        """How often items were matched in bulk; these have no individual records."""
        self._blocks: list[tuple[NDArray[np.int64], ...]] = []
        """Nodes, special elements and runs that were moved out of the lists."""

    @property
    def items(self) -> int:
        """Number of items so far."""
        return self.node_base - self.first_node + len(self.nodes)

    def moved(self) -> None:
        """Record that another window of the file was read."""
        self.base = int(self.heads.base[self.number])
        self.window = int(self.heads.window_at[self.number])
        self.bases.append((len(self.places), self.base))

    def flush(self, *more: NDArray[np.int64]) -> None:
        """Convert pending records to arrays, and append some more."""
        self.node_base += len(self.nodes) + len(more[0])
        self._blocks += [self._arrays(), more]
        self.flushes += 1
        for rows in (self.nodes, self.special, self.runs):
            rows.clear()

    def _arrays(self) -> tuple[NDArray[np.int64], ...]:
        return (
            np.array(self.nodes, np.int64).reshape(-1, 4),
            np.array(self.special, np.int64).reshape(-1, 3),
            np.array(self.runs, np.int64).reshape(-1, 2),
        )

    def hand_over(self) -> None:
        """Add all records to the scan."""
        scan = self.scan
        blocks = [*self._blocks, self._arrays()]
        nodes, special, runs = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
        if self.places:
            p = np.frombuffer(self.places, np.int64)
            head = self.heads.words[p]
            if self.implicit:
                value_at, length = p + 8, (head >> np.uint64(32)).view(np.int64)
            else:
                long = EXPLICIT_CLASS[head >> np.uint64(32) & np.uint64(0xFFFF)] != SHORT
                value_at = p + 8 + 4 * long
                length = np.where(
                    long, self.heads.halves[p + 8], (head >> np.uint64(48)).view(np.int64)
                )
            which, place, lengths = special.T
            value_at[which], length[which] = place, lengths
            starts, names = runs.T
            node = np.repeat(names, np.diff(starts, append=len(p)))
            scan.records.add(self.heads, np.full(len(p), self.number), head, value_at, length, node)
        if len(nodes):
            parent, sequence, item, level = nodes.T
            scan.nodes.append((np.full(len(parent), self.number), parent, sequence, item, level))
            scan.node_count += len(parent)
        if self.sequences:
            scan.sequences.append(np.array(self.sequences, np.int64))
            scan.sequence_count += len(self.sequences)
