"""``Needles``: search bytes for very many patterns in one pass.

In: patterns, matched in any ASCII case or exactly. Out: offset and pattern of every occurrence. The
last eight or five bytes of each pattern are its anchor. At every offset of the content, the bytes
are looked up in two hash tables of anchors, then among the sorted anchors; candidates are compared
byte by byte. Tables grow with the number of patterns, but the work per byte does not; an automaton
of that size exceeds the CPU caches.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHORTEST = 5
"""Smallest size of a pattern, in bytes."""
_WIDTHS = (8, SHORTEST)
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_LOAD_BITS = 4
"""log2 of the slots of a table per anchor, unless the table has the largest size."""
_FEWEST_BITS, _MOST_BITS = 12, 26


@dataclass(frozen=True, slots=True)
class _Group:
    """Patterns whose anchors have the same width, by anchor."""

    width: int
    anchors: np.ndarray
    """Distinct and sorted, as little-endian integers."""
    patterns: list[tuple[bytes, ...]]
    tables: tuple[np.ndarray, ...]
    bits: int

    def places(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield offset and pattern of every occurrence in bytes padded with eight zeros."""
        length = len(content) - 8
        mask = np.uint64((1 << 8 * self.width) - 1)
        shift = np.uint64(64 - self.bits)
        for alignment in range(8):
            count = (length - alignment + 7) // 8
            if count <= 0:
                continue
            keys = np.frombuffer(content, "<u8", count, alignment)
            if self.width < 8:
                keys = keys & mask
            candidates = np.flatnonzero(self.tables[0][(keys * _FACTORS[0]) >> shift])
            keys = keys[candidates]
            is_candidate = self.tables[1][(keys * _FACTORS[1]) >> shift]
            candidates, keys = candidates[is_candidate], keys[is_candidate]
            positions = np.minimum(np.searchsorted(self.anchors, keys), len(self.anchors) - 1)
            is_candidate = self.anchors[positions] == keys
            ends = candidates[is_candidate] * 8 + alignment + self.width
            for end, number in zip(ends.tolist(), positions[is_candidate].tolist(), strict=True):
                for pattern in self.patterns[number]:
                    start = end - len(pattern)
                    if start >= 0 and end <= length and content.startswith(pattern, start):
                        yield start, pattern


def _group(width: int, patterns: list[bytes]) -> _Group:
    by_anchor: dict[int, list[bytes]] = {}
    for pattern in patterns:
        anchor = int.from_bytes(pattern[-width:], "little")
        by_anchor.setdefault(anchor, []).append(pattern)
    anchors = np.array(sorted(by_anchor), np.uint64)
    bits = min(max(len(anchors).bit_length() + _LOAD_BITS, _FEWEST_BITS), _MOST_BITS)
    tables = []
    for factor in _FACTORS:
        table = np.zeros(1 << bits, np.bool_)
        table[(anchors * factor) >> np.uint64(64 - bits)] = True
        tables.append(table)
    ordered = [tuple(by_anchor[anchor]) for anchor in anchors.tolist()]
    return _Group(width, anchors, ordered, tuple(tables), bits)


class Needles:
    """Patterns that are searched for together.

    Parameters
    ----------
    folded
        Patterns in lower case, matched in any ASCII case; at least ``SHORTEST`` bytes.
    exact
        Patterns that are matched exactly.

    Examples
    --------
    >>> sorted(Needles([b"doe^john"], [b"RG9lXk"]).found(b"x DOE^John RG9lXk rg9lxk"))
    [(2, b'doe^john'), (11, b'RG9lXk')]
    """

    def __init__(self, folded: Iterable[bytes], exact: Iterable[bytes] = ()) -> None:
        self._folded, self._exact = _groups(folded), _groups(exact)

    def found(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield offset and pattern of every occurrence."""
        if self._exact:
            padded = content + bytes(8)
            for group in self._exact:
                yield from group.places(padded)
        if self._folded:
            padded = content.lower() + bytes(8)
            for group in self._folded:
                yield from group.places(padded)


def _groups(patterns: Iterable[bytes]) -> list[_Group]:
    all_patterns = list(patterns)
    shortest = min(map(len, all_patterns), default=SHORTEST)
    if shortest < SHORTEST:
        raise ValueError(f"a pattern has at least {SHORTEST} bytes, not {shortest}")
    by_width = {width: list[bytes]() for width in _WIDTHS}
    for pattern in all_patterns:
        by_width[8 if len(pattern) >= 8 else SHORTEST].append(pattern)
    return [
        _group(width, group_patterns)
        for width, group_patterns in by_width.items()
        if group_patterns
    ]


class Pieces:
    """Concatenated contents, and the lookup of the content at an offset."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.contents: list[bytes] = []
        self.about: list[tuple[str, str]] = []

    def add(self, content: bytes, *about: str) -> None:
        """Append a content with two labels: file and container."""
        self.contents.append(content)
        self.about.append((about[0], about[1]))
        self.ends.append(self.size + len(content))

    @property
    def size(self) -> int:
        """Total size of the contents, in bytes."""
        return self.ends[-1] if self.ends else 0

    def of(self, start: int, end: int) -> int | None:
        """Return the index of the content with a range of bytes; None if it spans two contents."""
        number = bisect_left(self.ends, start + 1)
        return number if end <= self.ends[number] else None
