"""Find every data element in the headers of many files: match templates, else parse.

In: ``Heads``. Out: ``Found``: flat arrays, one entry per data element, and one per item of a
sequence.

The files of a series differ in values, and in the lengths of a few of them, but not in their
structure. One file is parsed element by element and becomes the template (shape) for all others,
also in later batches (``known_shapes``). Its headers are compared with those of all files in bulk;
if a length differs, the positions after it are shifted and compared again. Every header of every
file is compared, and every container must end where its elements end. A file that differs in
anything else does not match, and is compared with the next shape or parsed itself.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from warehouse.dicom.element import PixelPlace
from warehouse.dicom.found import Pixels
from warehouse.dicom.grammar import (
    EXPLICIT_CLASS,
    LATER,
    LONG,
    LONGEST,
    MAX_FOUND,
    MAX_HEADER_BYTES,
    TAKEN,
    UNDEFINED,
)
from warehouse.dicom.known_shapes import KnownShapes, keys_of
from warehouse.dicom.meta import read_meta
from warehouse.dicom.pixels import pixel_vr
from warehouse.dicom.shape import (
    MAX_SHIFTS,
    SEQUENCE_HEAD,
    Compared,
    Shape,
    compare_run,
    headers_of,
)
from warehouse.dicom.state import Scan
from warehouse.dicom.walk import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.found import Found, Records
    from warehouse.dicom.heads import Heads
    from warehouse.dicom.trace import Trace

MAX_CELLS = 1 << 21
"""Headers of files compared together, which limits the memory."""

BACKOFF_AFTER = 4
"""After this many shapes that match no other file, twice as many files are parsed before the next
shape is tried. Each matched file reduces the count by one."""

FIRST_HEADS = 24
BLOCK_HEADS = 160
"""Headers compared at a time, so that files of another shape are excluded early."""


def scan(
    heads: Heads, count: int, records: Records, known: KnownShapes | None = None
) -> tuple[Scan, Found]:
    """Find all elements of the first ``count`` files; add their shapes to ``known``."""
    state = Scan(heads, count, records)
    start = read_meta(state)
    known = known or KnownShapes()
    for implicit in (False, True):
        _read(state, start[state.implicit[start] == implicit], known, implicit=implicit)
    return state, state.found()


def _read(scan: Scan, left: NDArray[np.int64], known: KnownShapes, *, implicit: bool) -> None:
    """Match files with known shapes, parse the first unmatched file, add its shape, repeat."""
    failed = pause = 0
    keys = keys_of(scan, left, implicit=implicit)
    tried: set[int] = set()
    while left.size:
        first, key = int(left[0]), int(keys[0])
        alike = left[keys == key]
        if key not in tried:
            tried.add(key)
            alike = _match_known(scan, known, key, alike)
        if scan.status[first] != TAKEN:
            trace = walk(scan, first, implicit=implicit)
            alike = alike[1:]
            is_met = known.is_met(key) or alike.size > 0
            if pause:
                pause -= 1
            elif trace and is_met and (shape := _shape(trace)):
                known.add(key, shape)
                matched = len(alike) - len(_match(scan, shape, alike))
                failed = max(failed + 1 - matched, 0)
                pause = (1 << failed // BACKOFF_AFTER) - 1
        rest = scan.status[left] != TAKEN
        rest[0] = False
        left, keys = left[rest], keys[rest]
        if scan.records.count > MAX_FOUND:
            scan.status[left] = LATER
            return


def _match_known(
    scan: Scan, known: KnownShapes, key: int, files: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Read the files that match a known shape; return the others."""
    for shape in known.of(key):
        if not files.size or scan.records.count > MAX_FOUND:
            break
        rest = _match(scan, shape, files)
        if len(rest) < len(files):
            known.matched(key, shape)
        files = rest
    return files


def _shape(trace: Trace) -> Shape | None:
    """Return the shape of a file that was parsed completely."""
    scan, number = trace.scan, trace.number
    pixels = scan.pixels.get(number)
    if trace.after_pixels or trace.flushes or not trace.places:
        return None
    places = np.frombuffer(trace.places, np.int64)
    from_place, bases = np.array(trace.bases, np.int64).T
    windows = np.repeat(np.arange(len(bases)), np.diff(from_place, append=len(places)))
    marks = np.array(trace.marks, np.int64).reshape(-1, 3)
    special = np.array(trace.special, np.int64).reshape(-1, 3)
    sequences = special[special[:, 2] <= -2, 0]
    headers = headers_of(
        scan.heads, np.concatenate([places - bases[windows], marks[:, 0]]),
        np.concatenate([places, marks[:, 2]]), np.concatenate([windows, marks[:, 1]]),
        len(places), sequences, special[special[:, 2] > 0, 0], trace.start,
        implicit=trace.implicit,
    )  # fmt: skip
    edges = np.flatnonzero(np.diff(headers.window)) + 1
    starts, names = np.array(trace.runs, np.int64).T
    node = np.repeat(names, np.diff(starts, append=len(places)))
    node = np.where(node == number, 0, node - trace.first_node + 1)
    nodes = np.array(trace.nodes, np.int64).reshape(-1, 4)
    if len(nodes):
        nodes[:, 0] = np.where(nodes[:, 0] == number, 0, nodes[:, 0] - trace.first_node + 1)
        nodes[:, 1] -= trace.first_sequence
    tags = np.array(trace.sequences, np.int64)
    return Shape(
        headers, list(pairwise([0, *edges.tolist(), len(headers.head)])), node,
        headers.element[sequences], nodes, tags, pixels.tag if pixels else None,
    )  # fmt: skip


def _match(scan: Scan, shape: Shape, files: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read the files that match this shape; return the others."""
    heads = scan.heads
    if not files.size:
        return files
    first = heads.words[heads.base[files] + scan.at[files]]
    alike = (first ^ shape.headers.head[0]) & shape.headers.same[0] == 0
    group = files[alike]
    if not group.size:
        return files
    base0, window0 = heads.base[group].copy(), heads.window_at[group].copy()
    together = max(1, MAX_CELLS // len(shape.headers.head))
    for start in range(0, len(group), together):
        scan.status[_match_part(scan, shape, group[start : start + together])] = TAKEN
    lost = scan.status[group] != TAKEN
    heads.base[group[lost]], heads.window_at[group[lost]] = base0[lost], window0[lost]
    left: NDArray[np.bool_] = scan.status[files] != TAKEN
    return files[left]


def _match_part(scan: Scan, shape: Shape, files: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read some of the files that match this shape; return those read."""
    compared = _compare(scan, shape, files)
    return np.zeros(0, np.int64) if compared is None else _accept(scan, shape, compared)


def _compare(scan: Scan, shape: Shape, files: NDArray[np.int64]) -> Compared | None:
    """Compare headers run by run; drop files that differ in more than lengths."""
    heads, headers = scan.heads, shape.headers
    count, first = len(files), min(FIRST_HEADS, shape.segments[0][1])
    start_at = scan.at[files] + heads.base[files]
    c = Compared(
        files, start_at[:, None] + headers.offset[: first + 1], np.empty((count, first), np.uint64),
        np.empty((count, len(headers.behind)), np.int64), [heads.base[files]],
    )  # fmt: skip
    shifts = compare_run(heads, headers, c, 0, first)
    if not len(c.files) or shifts > MAX_SHIFTS:
        return None
    c.widen(headers)
    for number, (start, stop) in enumerate(shape.segments):
        if number and not _move_windows(scan, c, start):
            return None
        begin = start or first
        while begin < stop:
            end = min(begin + BLOCK_HEADS, stop)
            shifts += compare_run(heads, headers, c, begin, end)
            if not len(c.files) or shifts > MAX_SHIFTS:
                return None
            begin = end
        # All values of the run, and the next header, must be in the window.
        beyond = (
            c.place[:, stop - 1] + MAX_HEADER_BYTES
            if headers.outside[stop - 1]
            else c.place[:, stop]
        )
        c.keep(beyond <= heads.window_at[c.files])
    return c


def _move_windows(scan: Scan, c: Compared, start: int) -> bool:
    """Refill the windows where the template's was refilled; return False if no file is left."""
    heads = scan.heads
    offsets = c.place[:, start] - c.bases[-1]
    refilled = [heads.refill(f, o) for f, o in zip(c.files.tolist(), offsets.tolist(), strict=True)]
    c.keep(np.array(refilled, bool))
    base = heads.base[c.files]
    c.place[:, start:] += (base - c.bases[-1])[:, None]
    c.bases.append(base)
    return bool(len(c.files))


def _accept(scan: Scan, shape: Shape, c: Compared) -> NDArray[np.int64]:
    """Check the ends of all containers, then record the elements."""
    heads, headers = scan.heads, shape.headers
    c.keep_closed(headers)
    end = c.place[:, -1] - c.bases[-1]
    if shape.pixel_tag is None:
        c.keep(end == heads.size[c.files])
    else:
        c.keep(_pixels(scan, shape.pixel_tag, c.files, end, implicit=headers.implicit))
    files = c.files
    if not files.size:
        return files
    at = headers.element
    every = len(at) == len(headers.head)
    count = len(files)
    cells = [column.reshape(count, len(at)) for column in scan.records.room(count * len(at))]
    file, head, value_at, length, node = cells
    file[:] = files[:, None]
    head[:] = c.head if every else c.head[:, at]
    np.add(
        c.place[:, :-1] if every else c.place[:, at], headers.header[at], out=value_at,
        casting="unsafe",
    )  # fmt: skip
    bits = np.uint64(32 if headers.implicit else 48)
    np.right_shift(head, bits, out=length, casting="unsafe")
    long = np.flatnonzero(headers.header[at] == 12)
    length[:, long] = np.minimum(c.behind[:, np.searchsorted(headers.behind, at[long])], LONGEST)
    for k in np.flatnonzero(headers.outside[at]).tolist():
        column = at[k : k + 1]
        offsets = c.offset(headers, column)[:, 0] + headers.header[at[k]]
        true = (
            c.behind[:, np.searchsorted(headers.behind, at[k])]
            if headers.header[at[k]] == 12
            else length[:, k]
        )
        value_at[:, k] = [
            scan.note_outside(o, n) for o, n in zip(offsets.tolist(), true.tolist(), strict=True)
        ]
    each = np.arange(count)[:, None]
    node_count, sequence_count = len(shape.nodes), len(shape.sequence)
    if sequence_count:
        number = np.zeros(len(headers.head), np.int64)
        number[shape.sequence] = np.arange(sequence_count)
        where = np.flatnonzero(headers.kind[at] == SEQUENCE_HEAD)
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
        scan.sequences.append(np.tile(shape.sequence_tags, count))
        scan.sequence_count += count * sequence_count
    return files


def _pixels(
    scan: Scan, tag: int, files: NDArray[np.int64], offset: NDArray[np.int64], *, implicit: bool
) -> NDArray[np.bool_]:
    """Record the pixel data of files; False if there are none, or elements follow them."""
    heads = scan.heads
    size, place = heads.size[files], heads.base[files] + offset
    good = (offset + MAX_HEADER_BYTES <= size) & (
        place + MAX_HEADER_BYTES <= heads.window_at[files]
    )
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
                scan.pixels.pop(number, None)
                good[i] = False
    return good
