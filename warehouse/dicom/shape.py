"""``Shape``: a template of the element headers of a file or item, to match others against.

In: headers of a parsed file or item, and possible starts of others. Out: ``Compared``, those with
the same headers: tags, VRs and structure; lengths of values may differ. If a length differs, the
positions after it are shifted and compared again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.dicom.grammar import EXPLICIT_CLASS, EXTERNAL_BYTES, SHORT, UNDEFINED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.heads import Heads

MAX_SHIFTS = 160
"""Maximum number of different lengths within a run; with more, parsing is faster."""

PLAIN, LONG_HEAD, SEQUENCE_HEAD, MARK = range(4)
"""Header classes: length in the head; length after it; a sequence; an item or delimiter."""

_TAG = np.uint64(UNDEFINED)
_TAG_AND_VR = np.uint64(0xFFFFFFFFFFFF)


@dataclass(frozen=True, slots=True, eq=False)
class Headers:
    """Consecutive element headers, including items and delimiters, in file order."""

    implicit: bool
    head: NDArray[np.uint64]
    behind: NDArray[np.int64]
    """Headers that have their length after the head, …"""
    behind_length: NDArray[np.int64]
    """… and these lengths."""
    window: NDArray[np.int64]
    """Window of each header; one more at the end."""
    offset: NDArray[np.int64]
    """Offset of each header from the first one; one more at the end."""
    kind: NDArray[np.int64]
    same: NDArray[np.uint64]
    """Bits of the head that must be equal."""
    header: NDArray[np.int64]
    length: NDArray[np.int64]
    """Bytes of the value; 0 for sequences, items and delimiters."""
    outside: NDArray[np.bool_]
    """Whether the value is outside of the arena."""
    container: NDArray[np.int64]
    """Sequences and items of defined length, …"""
    container_end: NDArray[np.int64]
    """… and the header that comes after each."""
    element: NDArray[np.int64]
    """Headers that are elements."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Structure shared by files with the same sequence of element headers."""

    headers: Headers
    segments: list[tuple[int, int]]
    """Runs of headers that are in one window."""
    node: NDArray[np.int64]
    """Node of each element: 0 for the file, then counted from 1."""
    sequence: NDArray[np.int64]
    """Headers that are sequences, by number."""
    nodes: NDArray[np.int64]
    """Per node: parent, sequence, item, level."""
    sequence_tags: NDArray[np.int64]
    pixel_tag: int | None
    """Tag of the pixel data at the end, if there are any."""


def headers_of(
    heads: Heads, offset: NDArray[np.int64], place: NDArray[np.int64], window: NDArray[np.int64],
    elements: int, sequences: NDArray[np.int64], outside: NDArray[np.int64], start: int, *,
    implicit: bool,
) -> Headers:  # fmt: skip
    """Sort headers by offset and classify each.

    Parameters
    ----------
    offset, place, window
        Of each header: first of all elements, then of items and delimiters.
    elements
        How many of them are elements.
    sequences, outside
        Elements that are sequences, and those whose value is left outside of the arena.
    start
        Offset of the first header, or of what precedes it.
    """
    order = np.argsort(offset, kind="stable")
    at, total, window = place[order], offset[order], window[order]
    # Windows in which no header begins are not counted.
    window = np.cumsum(np.diff(window, prepend=window[0]) != 0)
    head = heads.words[at]
    count = len(head)
    is_element = order < elements
    kind = np.full(count, MARK)
    header = np.full(count, 8)
    kind[is_element] = PLAIN
    if not implicit:
        long = is_element & (EXPLICIT_CLASS[head >> np.uint64(32) & np.uint64(0xFFFF)] != SHORT)
        kind[long] = LONG_HEAD
        header[long] = 12
    element = np.empty(elements, np.int64)
    element[order[is_element]] = np.flatnonzero(is_element)
    kind[element[sequences]] = SEQUENCE_HEAD
    left_outside = np.zeros(count, bool)
    left_outside[element[outside]] = True
    long_length = np.where(header == 12, heads.halves[at + 8], 0).astype(np.int64)
    in_head = (head >> np.uint64(32 if implicit else 48)).view(np.int64)
    length = np.where(kind == PLAIN, in_head, np.where(kind == LONG_HEAD, long_length, 0))
    same = np.full(count, _TAG_AND_VR)
    same[(kind == MARK) | implicit] = _TAG
    stated = np.where(header == 12, long_length, (head >> np.uint64(32)).view(np.int64))
    container = np.flatnonzero((kind >= SEQUENCE_HEAD) & (stated != UNDEFINED))
    ends = total[container] + header[container] + stated[container]
    full = np.append(total, total[-1] + header[-1] + length[-1])
    behind = np.flatnonzero(header == 12)
    return Headers(
        implicit, head, behind, long_length[behind], np.append(window, window[-1]), full - start,
        kind, same, header, length, left_outside, container, np.searchsorted(full, ends), element,
    )  # fmt: skip


@dataclass(slots=True)
class Compared:
    """Files that match a shape so far: arrays (file, header)."""

    files: NDArray[np.int64]
    place: NDArray[np.int64]
    """In the arena; one more at the end."""
    head: NDArray[np.uint64]
    behind: NDArray[np.int64]
    """The length behind the head, for headers that have one (``Headers.behind``)."""
    bases: list[NDArray[np.int64]]
    """Per window: where byte 0 of each file would lie."""

    def keep(self, good: NDArray[np.bool_]) -> None:
        """Drop all other files."""
        if good.all():
            return
        self.files, self.place, self.head = self.files[good], self.place[good], self.head[good]
        self.behind = self.behind[good]
        self.bases = [base[good] for base in self.bases]

    def widen(self, shape: Headers) -> None:
        """Extend the arrays from some headers to all of them."""
        known = self.head.shape[1]
        further = shape.offset[known + 1 :] - shape.offset[known]
        self.place = np.concatenate([self.place, self.place[:, -1:] + further], axis=1)
        rest = np.empty((len(self.files), len(further)), np.uint64)
        self.head = np.concatenate([self.head, rest], axis=1)

    def offset(self, shape: Headers, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return offsets relative to the files."""
        if len(self.bases) == 1:
            return self.place[:, columns] - self.bases[0][:, None]
        return self.place[:, columns] - np.stack(self.bases, axis=1)[:, shape.window[columns]]

    def keep_closed(self, shape: Headers) -> None:
        """Drop files with a container of defined length that does not end where it should."""
        if not shape.container.size:
            return
        at = shape.container
        stated = (self.head[:, at] >> np.uint64(32)).view(np.int64)
        long = np.flatnonzero(shape.header[at] == 12)
        stated[:, long] = self.behind[:, np.searchsorted(shape.behind, at[long])]
        ends = self.offset(shape, at) + shape.header[at] + stated
        self.keep((ends == self.offset(shape, shape.container_end)).all(axis=1))


def compare_run(heads: Heads, shape: Headers, c: Compared, begin: int, end: int) -> int:
    """Compare a run of headers in all files; return how many lengths differed."""
    rows: Any = slice(None)
    wrong = np.zeros((len(c.files), end - begin), bool)
    shifts = 0
    while True:
        # Positions are computed from lengths in the files, so they may be out of range.
        place = c.place[rows, begin:end]
        if place.size and place[:, -1].max() > heads.capacity:
            place = np.minimum(place, heads.capacity)
        head = heads.words[place]
        c.head[rows, begin:end] = head
        differs = head != shape.head[begin:end]
        first, last = np.searchsorted(shape.behind, (begin, end))
        if last > first:
            behind = shape.behind[first:last] - begin
            length = heads.halves[place[:, behind] + 8]
            c.behind[rows, first:last] = length
            differs[:, behind] |= length != shape.behind_length[first:last]
        wrong[rows, begin - end :] = differs
        columns: NDArray[np.bool_] = np.any(wrong, axis=0)
        j = int(columns.argmax())
        if not columns[j]:
            return shifts
        rows = np.flatnonzero(wrong[:, j])
        # From here on only compare what follows this header.
        j += end - wrong.shape[1]
        wrong = wrong[:, j + 1 - end :] if j + 1 < end else wrong[:, :0]
        shifts += 1
        good, length = length_at(shape, c, rows, j)
        if shape.kind[j] <= LONG_HEAD:
            c.place[rows, j + 1 :] += (length - shape.length[j])[:, None]
        if not good.all():
            keep = np.ones(len(c.files), bool)
            keep[rows[~good]] = False
            c.keep(keep)
            wrong = wrong[keep]
            rows = (np.cumsum(keep) - 1)[rows[good]]
        begin = j + 1
        if not len(c.files) or shifts > MAX_SHIFTS or begin == end:
            return shifts


def length_at(
    shape: Headers, c: Compared, rows: NDArray[np.int64], j: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which files have the same element with another length, and that length."""
    head = c.head[rows, j]
    good = (head ^ shape.head[j]) & shape.same[j] == 0
    if shape.header[j] == 12:
        k = int(np.searchsorted(shape.behind, j))
        length = c.behind[rows, k]
        was = int(shape.behind_length[k])
        good &= head == shape.head[j]
    elif shape.kind[j] == PLAIN and not shape.implicit:
        return good, (head >> np.uint64(48)).view(np.int64)
    else:
        length = (head >> np.uint64(32)).view(np.int64)
        was = int(shape.head[j] >> np.uint64(32))
    good &= (length == UNDEFINED) == (was == UNDEFINED)
    if shape.outside[j]:
        good &= length > EXTERNAL_BYTES
    return good, length
