"""Files with the same sequence of element headers as one that was walked → found at one stroke.

In: a ``Scan`` and the files to read. Out: the same records, and the files that fit no shape.
The files of a series differ in values, and in the lengths of a few of them, but not in their
structure. A walked file serves as the shape of those that follow: its headers are compared with
theirs all at once; where a length differs, what lies behind it is moved and compared again. Every
header of every file is compared, every container has to end where its elements end: a file
that differs in anything else is none of this shape, and is stepped or walked instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.dicom.element import PixelPlace
from warehouse.dicom.found import Pixels
from warehouse.dicom.grammar import (
    ELBOW,
    EXPLICIT_CLASS,
    EXTERNAL_BYTES,
    LONG,
    LONGEST,
    SHORT,
    TAKEN,
    UNDEFINED,
)
from warehouse.dicom.pixels import pixel_vr
from warehouse.dicom.walk import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.lockstep import Scan
    from warehouse.dicom.walk import Walker

BLOCK_FILES = 128
"""Files compared with a shape together: neighbours in a folder, so often of one series."""

FIRST_HEADS = 24
BLOCK_HEADS = 160
"""Headers compared at a time; few at first, so that files of another shape drop out early."""

POOL = 6
"""Shapes kept; the one that fitted last is tried first."""

MAX_SHIFTS = 160
"""Lengths that may differ inside of a group; with more it is cheaper to step."""

_PLAIN, _LONG, _SEQUENCE, _MARK = range(4)
"""Length in the head; length behind it; a sequence; an item or a delimiter."""

_TAG = np.uint64(UNDEFINED)
_TAG_AND_VR = np.uint64(0xFFFFFFFFFFFF)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The headers of one file, items and delimiters among them, in the order of the file."""

    implicit: bool
    head: NDArray[np.uint64]
    behind: NDArray[np.int64]
    """Headers that have their length behind the head, …"""
    behind_length: NDArray[np.int64]
    """… and these lengths."""
    window: NDArray[np.int64]
    """In which window each lies; one more at the end."""
    offset: NDArray[np.int64]
    """From the start of the data set; one more at the end."""
    kind: NDArray[np.int64]
    same: NDArray[np.uint64]
    """Bits of the head that must not differ."""
    header: NDArray[np.int64]
    length: NDArray[np.int64]
    """Bytes of the value; 0 for sequences, items and delimiters."""
    outside: NDArray[np.bool_]
    """Whether the value is left outside of the arena."""
    segments: list[tuple[int, int]]
    """Runs of headers that lie in one window."""
    container: NDArray[np.int64]
    """Sequences and items of defined length, …"""
    container_end: NDArray[np.int64]
    """… and the header that comes after each."""
    element: NDArray[np.int64]
    """Headers that are elements, …"""
    node: NDArray[np.int64]
    """… and for each of these its node: 0 for the file, then counted from 1."""
    sequence: NDArray[np.int64]
    """Headers that are sequences, by number."""
    nodes: NDArray[np.int64]
    """Per node: parent, sequence, item, level."""
    sequence_tags: NDArray[np.int64]
    sequence_undefined: NDArray[np.bool_]
    pixel_tag: int | None
    """Tag of the pixel data at the end, if there are any."""


def read_by_shape(scan: Scan, files: NDArray[np.int64], *, implicit: bool) -> NDArray[np.int64]:
    """Read files that share their shape with a neighbour; return all others."""
    pool: list[Shape] = []
    left: list[NDArray[np.int64]] = []
    for start in range(0, len(files), BLOCK_FILES):
        block = files[start : start + BLOCK_FILES]
        for shape in list(pool):
            if not block.size:
                break
            rest = _match(scan, shape, block)
            if len(rest) < len(block):
                pool.remove(shape)
                pool.insert(0, shape)
            block = rest
        walked = matched = 0
        while block.size > 1 and matched >= walked - 4:
            walker = walk(scan, int(block[0]), implicit=implicit)
            block = block[1:]
            walked += 1
            shape_found = _shape(walker) if walker and block.size else None
            if shape_found is None:
                continue
            rest = _match(scan, shape_found, block)
            if len(rest) < len(block):
                pool.insert(0, shape_found)
                del pool[POOL:]
                matched += len(block) - len(rest)
            block = rest
        left.append(block)
    return np.concatenate(left) if left else files


def _shape(walker: Walker) -> Shape | None:  # noqa: PLR0915
    """Return the shape of a file that was walked to its end."""
    scan, number, implicit = walker.scan, walker.number, walker.implicit
    pixels = scan.pixels.get(number)
    if walker.after_pixels or not walker.places:
        return None
    places = np.frombuffer(walker.places, np.int64)
    from_place, bases = np.array(walker.bases, np.int64).T
    windows = np.repeat(np.arange(len(bases)), np.diff(from_place, append=len(places)))
    offset = places - bases[windows]
    marks = np.array(walker.marks, np.int64).reshape(-1, 3)
    start = walker.start
    all_offset = np.concatenate([offset, marks[:, 0]])
    order = np.argsort(all_offset, kind="stable")
    window = np.concatenate([windows, marks[:, 1]])[order]
    head = scan.heads.words[np.concatenate([places, marks[:, 2]])[order]]
    count = len(head)
    is_element = order < len(places)
    place_of = order[is_element]
    special = np.array(walker.special, np.int64).reshape(-1, 3)
    sequence_place = special[special[:, 2] <= -2, 0]
    outside_place = special[special[:, 2] > 0, 0]
    kind = np.full(count, _MARK)
    header = np.full(count, 8)
    kind[is_element] = _PLAIN
    if not implicit:
        long = is_element & (EXPLICIT_CLASS[head >> np.uint64(32) & np.uint64(0xFFFF)] != SHORT)
        kind[long] = _LONG
        header[long] = 12
    back = np.empty(len(places), np.int64)
    back[place_of] = np.flatnonzero(is_element)
    sequence = back[sequence_place]
    kind[sequence] = _SEQUENCE
    outside = np.zeros(count, bool)
    outside[back[outside_place]] = True
    at = np.concatenate([places, marks[:, 2]])[order]
    long_length = np.where(header == 12, scan.heads.halves[at + 8], 0).astype(np.int64)
    in_head = (head >> np.uint64(32 if implicit else 48)).view(np.int64)
    length = np.where(kind == _PLAIN, in_head, np.where(kind == _LONG, long_length, 0))
    same = np.full(count, _TAG_AND_VR)
    same[(kind == _MARK) | implicit] = _TAG
    stated = np.where(header == 12, long_length, (head >> np.uint64(32)).view(np.int64))
    total = all_offset[order]
    last_end = int(total[-1] + header[-1] + length[-1])
    container = np.flatnonzero((kind >= _SEQUENCE) & (stated != UNDEFINED))
    ends = total[container] + header[container] + stated[container]
    # Windows in which nothing begins are not counted.
    edges = np.flatnonzero(np.diff(window)) + 1
    window = np.searchsorted(edges, np.arange(count), side="right")
    bounds = [0, *edges.tolist(), count]
    starts, names = np.array(walker.runs, np.int64).T
    node = np.repeat(names, np.diff(starts, append=len(places)))
    node = np.where(node == number, 0, node - walker.first_node + 1)
    nodes = np.array(walker.nodes, np.int64).reshape(-1, 4)
    if len(nodes):
        nodes[:, 0] = np.where(nodes[:, 0] == number, 0, nodes[:, 0] - walker.first_node + 1)
        nodes[:, 1] -= walker.first_sequence
    tags = np.array([tag for tag, _ in walker.sequences], np.int64)
    undefined = np.array([flag for _, flag in walker.sequences], bool)
    full = np.append(total, last_end)
    behind = np.flatnonzero(header == 12)
    return Shape(
        implicit, head, behind, long_length[behind], np.append(window, window[-1]), full - start,
        kind, same, header, length, outside,
        list(pairwise(bounds)), container, np.searchsorted(full, ends),
        back, node, sequence, nodes, tags, undefined, pixels.tag if pixels else None,
    )  # fmt: skip


def _match(scan: Scan, shape: Shape, files: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read the files of this shape; return the others, untouched."""
    heads = scan.heads
    if not files.size:
        return files
    first = heads.words[heads.base[files] + scan.at[files]]
    alike = (first ^ shape.head[0]) & shape.same[0] == 0
    group = files[alike]
    if not group.size:
        return files
    base0, window0 = heads.base[group].copy(), heads.window_at[group].copy()
    compared = _compare(scan, shape, group)
    taken = compared.files if compared is not None else np.zeros(0, np.int64)
    if compared is not None and len(taken):
        taken = _accept(scan, shape, compared)
    lost = ~np.isin(group, taken)
    heads.base[group[lost]], heads.window_at[group[lost]] = base0[lost], window0[lost]
    scan.status[taken] = TAKEN
    return files[~np.isin(files, taken)]


@dataclass(slots=True)
class _Compared:
    """Files that have the headers of the shape: per file (row) and header (column)."""

    files: NDArray[np.int64]
    place: NDArray[np.int64]
    """In the arena; one more at the end."""
    head: NDArray[np.uint64]
    behind: NDArray[np.int64]
    """The length behind the head, for headers that have one (``Shape.behind``)."""
    bases: list[NDArray[np.int64]]
    """Per window: where byte 0 of each file would lie."""

    def keep(self, good: NDArray[np.bool_]) -> None:
        """Drop all other files."""
        if good.all():
            return
        self.files, self.place, self.head = self.files[good], self.place[good], self.head[good]
        self.behind = self.behind[good]
        self.bases = [base[good] for base in self.bases]

    def offset(self, shape: Shape, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return offsets in the files."""
        if len(self.bases) == 1:
            return self.place[:, columns] - self.bases[0][:, None]
        return self.place[:, columns] - np.stack(self.bases, axis=1)[:, shape.window[columns]]


def _compare(scan: Scan, shape: Shape, files: NDArray[np.int64]) -> _Compared | None:
    """Compare headers run by run; files that differ in more than lengths drop out."""
    heads = scan.heads
    count, columns = len(files), len(shape.head)
    start_at = scan.at[files] + heads.base[files]
    c = _Compared(
        files, start_at[:, None] + shape.offset, np.empty((count, columns), np.uint64),
        np.empty((count, len(shape.behind)), np.int64), [heads.base[files]],
    )  # fmt: skip
    shifts = 0
    for number, (start, stop) in enumerate(shape.segments):
        if number and not _move_windows(scan, c, start):
            return None
        begin = start
        while begin < stop:
            end = min(begin + (BLOCK_HEADS if begin else FIRST_HEADS), stop)
            shifts += _compare_run(scan, shape, c, begin, end)
            if not len(c.files) or shifts > MAX_SHIFTS:
                return None
            begin = end
        # All values of the run must be in the window; so must the header of what comes next.
        beyond = c.place[:, stop - 1] + ELBOW if shape.outside[stop - 1] else c.place[:, stop]
        c.keep(beyond <= heads.window_at[c.files])
    return c


def _move_windows(scan: Scan, c: _Compared, start: int) -> bool:
    """Read on where the shape's file was read on; False if no file is left."""
    heads = scan.heads
    offsets = c.place[:, start] - c.bases[-1]
    there = [heads.refill(f, o) for f, o in zip(c.files.tolist(), offsets.tolist(), strict=True)]
    c.keep(np.array(there, bool))
    base = heads.base[c.files]
    c.place[:, start:] += (base - c.bases[-1])[:, None]
    c.bases.append(base)
    return bool(len(c.files))


def _compare_run(scan: Scan, shape: Shape, c: _Compared, begin: int, end: int) -> int:
    """Compare some headers of all files; return how many lengths differed."""
    heads = scan.heads
    rows: Any = slice(None)
    wrong = np.zeros((len(c.files), end - begin), bool)
    shifts = 0
    while True:
        # Places come from lengths that files state: they may be anywhere.
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
        # From here on only what lies behind this header is looked at.
        j += end - wrong.shape[1]
        wrong = wrong[:, j + 1 - end :] if j + 1 < end else wrong[:, :0]
        shifts += 1
        good, length = _length_at(shape, c, rows, j)
        if shape.kind[j] <= _LONG:
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


def _length_at(
    shape: Shape, c: _Compared, rows: NDArray[np.int64], j: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which files have the same element with another length there, and the lengths."""
    head = c.head[rows, j]
    good = (head ^ shape.head[j]) & shape.same[j] == 0
    if shape.header[j] == 12:
        k = int(np.searchsorted(shape.behind, j))
        length = c.behind[rows, k]
        was = int(shape.behind_length[k])
        good &= head == shape.head[j]
    elif shape.kind[j] == _PLAIN and not shape.implicit:
        return good, (head >> np.uint64(48)).view(np.int64)
    else:
        length = (head >> np.uint64(32)).view(np.int64)
        was = int(shape.head[j] >> np.uint64(32))
    good &= (length == UNDEFINED) == (was == UNDEFINED)
    if shape.outside[j]:
        good &= length > EXTERNAL_BYTES
    return good, length


def _accept(scan: Scan, shape: Shape, c: _Compared) -> NDArray[np.int64]:  # noqa: PLR0915
    """Check that all containers end where they say; hand the elements over."""
    heads = scan.heads
    in_head = np.uint64(32)
    if shape.container.size:
        at = shape.container
        stated = (c.head[:, at] >> in_head).view(np.int64)
        long = np.flatnonzero(shape.header[at] == 12)
        stated[:, long] = c.behind[:, np.searchsorted(shape.behind, at[long])]
        ends = c.offset(shape, at) + shape.header[at] + stated
        c.keep((ends == c.offset(shape, shape.container_end)).all(axis=1))
    end = c.place[:, -1] - c.bases[-1]
    if shape.pixel_tag is None:
        c.keep(end == heads.size[c.files])
    else:
        c.keep(_pixels(scan, shape.pixel_tag, c.files, end, implicit=shape.implicit))
    files = c.files
    if not files.size:
        return files
    at = shape.element
    every = len(at) == len(shape.head)
    count = len(files)
    cells = [column.reshape(count, len(at)) for column in scan.records.room(count * len(at))]
    file, head, value_at, length, node = cells
    file[:] = files[:, None]
    head[:] = c.head if every else c.head[:, at]
    np.add(
        c.place[:, :-1] if every else c.place[:, at], shape.header[at], out=value_at,
        casting="unsafe",
    )  # fmt: skip
    np.right_shift(head, in_head if shape.implicit else np.uint64(48), out=length, casting="unsafe")
    long = np.flatnonzero(shape.header[at] == 12)
    length[:, long] = np.minimum(c.behind[:, np.searchsorted(shape.behind, at[long])], LONGEST)
    for k in np.flatnonzero(shape.outside[at]).tolist():
        column = at[k : k + 1]
        offsets = c.offset(shape, column)[:, 0] + shape.header[at[k]]
        true = (
            c.behind[:, np.searchsorted(shape.behind, at[k])]
            if shape.header[at[k]] == 12
            else length[:, k]
        )
        value_at[:, k] = [
            scan.note_outside(o, n) for o, n in zip(offsets.tolist(), true.tolist(), strict=True)
        ]
    each = np.arange(count)[:, None]
    node_count, sequence_count = len(shape.nodes), len(shape.sequence)
    if sequence_count:
        number = np.zeros(len(shape.head), np.int64)
        number[shape.sequence] = np.arange(sequence_count)
        where = np.flatnonzero(shape.kind[at] == _SEQUENCE)
        length[:, where] = -2 - scan.sequence_count - number[at[where]] - each * sequence_count
        value_at[:, where] = 0
    first_node = scan.node_count - 1 + each * node_count
    node[:] = files[:, None]
    if node_count:
        inside = np.flatnonzero(shape.node)
        node[:, inside] = first_node + shape.node[inside]
    scan.records.look(heads, count * len(at))
    if node_count:
        parent, sequence, item, level = shape.nodes.T
        scan.nodes.append(
            (
                np.repeat(files, node_count),
                np.where(parent == 0, files[:, None], first_node + parent).ravel(),
                (scan.sequence_count + each * sequence_count + sequence).ravel(),
                np.tile(item, count), np.tile(level, count),
            )
        )  # fmt: skip
        scan.node_count += count * node_count
    if sequence_count:
        scan.sequences.append(
            (np.tile(shape.sequence_tags, count), np.tile(shape.sequence_undefined, count))
        )
        scan.sequence_count += count * sequence_count
    return files


def _pixels(
    scan: Scan, tag: int, files: NDArray[np.int64], offset: NDArray[np.int64], *, implicit: bool
) -> NDArray[np.bool_]:
    """Note the pixel data of files; False where there are none, or something comes after them."""
    heads = scan.heads
    size, place = heads.size[files], heads.base[files] + offset
    good = (offset + ELBOW <= size) & (place + ELBOW <= heads.window_at[files])
    place = np.where(good, place, 0)
    head = heads.words[place].view(np.int64)
    good &= (head & 0xFFFF) << 16 | head >> 16 & 0xFFFF == tag
    if implicit:
        header, length = 8, head >> 32 & UNDEFINED
    else:
        good &= EXPLICIT_CLASS[head >> 32 & 0xFFFF] == LONG
        header, length = 12, heads.halves[place + 8].astype(np.int64)
    # Most pixel data are not compressed and end with their file.
    plain = good & (offset + header + length == size) & (length != UNDEFINED)
    cells = (
        column.tolist() for column in (files, offset, length, head.view(np.uint64), good, plain)
    )
    for i, (number, at, long, word, fits, is_plain) in enumerate(zip(*cells, strict=True)):
        if is_plain and number not in scan.pixels:
            vr = pixel_vr(tag, long, word, implicit=implicit)
            place_of = PixelPlace(at + header, long, encapsulated=False)
            scan.pixels[number] = Pixels(tag, vr, place_of, None)
        elif fits:
            end = scan.note_pixels(number, tag, at + header, long, word, implicit=implicit)
            if end != heads.size[number]:
                del scan.pixels[number]
                good[i] = False
    return good
