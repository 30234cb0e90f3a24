"""Match the items of a sequence in bulk against an item with the same element headers.

In: the ``Trace`` of a file up to an item, and the start of the previous item. Out: the same trace
as if each item had been parsed element by element. Multi-frame objects and contours have thousands
of items that differ only in values, just as the files of a series do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from warehouse.dicom.grammar import ITEM_HEAD, MAX_FOUND, MAX_HEADER_BYTES, UNDEFINED
from warehouse.dicom.shape import MAX_SHIFTS, Compared, compare_run, headers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.shape import Headers
    from warehouse.dicom.trace import Trace

MIN_ITEMS = 32
"""With fewer items, parsing each one is faster."""

MAX_CELLS = 1 << 21
"""Headers compared at a time, which limits the memory."""

_NONE = np.zeros(0, np.int64)


class ItemStart(NamedTuple):
    """Start of an item: its offset, and the number of records of each kind before it."""

    at: int
    flushes: int
    windows: int
    places: int
    marks: int
    nodes: int
    sequences: int
    special: int
    runs: int


def item_start(trace: Trace, at: int) -> ItemStart:
    """Return the start of the item at an offset."""
    return ItemStart(
        at, trace.flushes, len(trace.bases), len(trace.places), len(trace.marks),
        len(trace.nodes), len(trace.sequences), len(trace.special), len(trace.runs),
    )  # fmt: skip


def comparable(trace: Trace, model: ItemStart, at: int, end: int) -> bool:
    """Return whether matching pays off: the window has enough further items."""
    if model.flushes != trace.flushes or model.windows != len(trace.bases):
        return False
    remaining = min(end, trace.window - trace.base) - at
    return remaining >= MIN_ITEMS * (at - model.at)


def record_items(trace: Trace, model: ItemStart, at: int, end: int, number: int) -> tuple[int, int]:
    """Record the items from ``at`` on that have the same headers as the item ``model``.

    ``number`` is the number of the item at ``at``. Returns the number of matched items, and their
    end.
    """
    special = np.array(trace.special[model.special :], np.int64).reshape(-1, 3)
    places = np.array(trace.places[model.places :], np.int64)
    marks = np.array(trace.marks[model.marks :], np.int64)
    if (special[:, 2] > 0).any():
        return 0, at
    headers = headers_of(
        trace.heads, np.concatenate([places - trace.base, marks[:, 0]]),
        np.concatenate([places, marks[:, 2]]), np.zeros(len(places) + len(marks), np.int64),
        len(places), special[:, 0] - model.places, _NONE, model.at, implicit=trace.implicit,
    )  # fmt: skip
    starts = _starts(trace, headers, at, end)[: MAX_CELLS // len(headers.head)]
    room = min((MAX_FOUND - len(trace.places)) // max(len(places), 1), MAX_FOUND - trace.items)
    if len(starts) < MIN_ITEMS or len(starts) > room:
        return 0, at
    found = _alike(trace, headers, starts, end)
    if found is None:
        return 0, at
    _hand_over(trace, model, headers, found, number, special)
    return len(found.files), int(found.place[-1, -1]) - trace.base


def _starts(trace: Trace, headers: Headers, at: int, end: int) -> NDArray[np.int64]:
    """Return candidate offsets of items, which are verified when headers are compared."""
    heads, base = trace.heads, trace.base
    limit = min(end, trace.window - base) - MAX_HEADER_BYTES
    is_item = headers.head & np.uint64(UNDEFINED) == ITEM_HEAD
    if headers.head[0] >> np.uint64(32) == UNDEFINED:
        # Of delimited items the length is not known. Each has as many items inside.
        words = heads.words[base + at : base + limit : 2]
        seen = np.flatnonzero(words & np.uint64(UNDEFINED) == ITEM_HEAD) * 2 + at
        return seen[:: int(np.count_nonzero(is_item))]
    starts = []
    while at < limit:
        head = int(heads.words[base + at])
        if head & UNDEFINED != ITEM_HEAD:
            break
        starts.append(at)
        at += 8 + (head >> 32)
    return np.array(starts, np.int64)


def _alike(trace: Trace, headers: Headers, starts: NDArray[np.int64], end: int) -> Compared | None:
    """Compare the headers of items; return the items before the first that differs."""
    heads, count, columns = trace.heads, len(starts), len(headers.head)
    c = Compared(
        np.arange(count), (trace.base + starts)[:, None] + headers.offset,
        np.empty((count, columns), np.uint64), np.empty((count, len(headers.behind)), np.int64),
        [np.full(count, trace.base)],
    )  # fmt: skip
    if compare_run(heads, headers, c, 0, columns) > MAX_SHIFTS or not len(c.files):
        return None
    c.keep_closed(headers)
    # The next header must be in the window, too.
    c.keep(c.place[:, -1] <= min(end + trace.base, trace.window - MAX_HEADER_BYTES))
    follows = c.files == np.arange(len(c.files))
    follows[1:] &= c.place[1:, 0] == c.place[:-1, -1]
    c.keep(np.logical_and.accumulate(follows))
    return c if len(c.files) >= MIN_ITEMS else None


def _hand_over(
    trace: Trace, model: ItemStart, headers: Headers, c: Compared, number: int,
    special: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add the records of the model for each matched item."""
    nodes = np.array(trace.nodes[model.nodes :], np.int64)
    sequences = trace.sequences[model.sequences :]
    runs = np.array(trace.runs[model.runs :], np.int64)
    first_node = trace.node_base + model.nodes
    next_node = trace.node_base + len(trace.nodes)
    first_sequence = trace.first_sequence + model.sequences
    next_sequence = trace.first_sequence + len(trace.sequences)
    count, elements = len(c.files), len(headers.element)
    each = np.arange(count)[:, None]
    # Renumber nodes and sequences inside of the model; keep those around it.
    more_nodes = next_node - first_node + each * len(nodes)
    more_sequences = next_sequence - first_sequence + each * len(sequences)
    more_places = len(trace.places) - model.places + each * elements
    parent, sequence, item, level = np.repeat(nodes[:, :, None], count, axis=2).transpose(1, 2, 0)
    parent = np.where(parent >= first_node, parent + more_nodes, parent)
    sequence = np.where(sequence >= first_sequence, sequence + more_sequences, sequence)
    item[:, 0] = number + each[:, 0]
    trace.flush(
        np.stack([parent, sequence, item, level], axis=-1).reshape(-1, 4),
        np.stack(
            [special[:, 0] + more_places, 0 * special[:, 1] + 0 * each,
             special[:, 2] - more_sequences], axis=-1,
        ).reshape(-1, 3),
        np.stack([runs[:, 0] + more_places, runs[:, 1] + more_nodes], axis=-1).reshape(-1, 2),
    )  # fmt: skip
    trace.sequences += sequences * count
    trace.places.frombytes(np.ascontiguousarray(c.place[:, headers.element]).tobytes())
