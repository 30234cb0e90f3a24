"""One file, element by element: what lock-step does to many, for the few that are left over.

In: a ``Scan`` and the number of a file in it. Out: the same records. The rules are those of
``lockstep``; here they stand as plain Python, because a NumPy call for one file costs more.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

import numpy as np

from warehouse.dicom.grammar import (
    BAD,
    EXPLICIT_CLASS,
    EXTERNAL_BYTES,
    ITEM_END_HEAD,
    ITEM_HEAD,
    LATER,
    LONG,
    LONGEST,
    LOOKS_EXPLICIT,
    MAX_FOUND,
    MAX_HEADER_BYTES,
    MAX_LEVEL,
    PIXEL_NUMBERS,
    REFERENCE,
    SEQUENCE,
    SEQUENCE_END_HEAD,
    SEQUENCE_TAGS,
    SHORT,
    TAKEN,
    UNDEFINED,
    dictionary_vr,
)
from warehouse.dicom.items import Begun, begun, comparable, take_items

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.found import Found
    from warehouse.dicom.state import Scan

_word = struct.Struct("<Q").unpack_from
_half = struct.Struct("<L").unpack_from
_CLASS = EXPLICIT_CLASS[: 1 << 16].tobytes()
_SEQUENCES = frozenset(SEQUENCE_TAGS.tolist())

FEW_ITEMS = 4
"""Items of a sequence that are walked before others are compared with one of them."""

BACKOFF_AFTER = 8
"""After so many failed comparisons, twice as many items are walked before the next one."""

LARGE_BYTES = 1 << 20
"""Read at a time where a file has many items: the more lie in one window the better."""

FIRST_TAG = 0x0002FFFF
"""The tags of a data set are greater."""

_MAX_KNOWN = 1 << 16
"""Heads kept in mind; they repeat from file to file."""
_EXPLICIT: dict[int, tuple[int, int, int]] = {}
_IMPLICIT: dict[int, tuple[int, int, int]] = {}


class _Unsupported(Exception):
    """The walker does not support this file; it falls back to pydicom."""


def walk(scan: Scan, number: int, *, implicit: bool) -> Walker | None:
    """Walk one file from the start of its data set to the end; None if it is not taken."""
    walker = Walker(scan, number, implicit=implicit)
    stack = [[int(scan.end[0, number]), 0, number, FIRST_TAG]]
    return walker if _finish(walker, int(scan.at[number]), stack) else None


def walk_on(scan: Scan, number: int, at: int, before: int, *, implicit: bool) -> None:
    """Walk a file to its end from where lock-step left it: the offset, and the tag before it."""
    top = int(scan.level[number])
    stack = [
        [int(scan.end[k, number]), int(scan.open[k, number]), int(scan.name[k, number]),
         int(scan.last[k, number])]
        for k in range(top + 1)
    ]  # fmt: skip
    if top % 2 == 0:
        stack[-1][3] = before
    _finish(Walker(scan, number, implicit=implicit), at, stack)


def _finish(walker: Walker, at: int, stack: list[list[int]]) -> bool:
    scan, number = walker.scan, walker.number
    try:
        walker.run(at, stack)
        scan.status[number] = TAKEN
    except _Unsupported:
        scan.status[number] = REFERENCE
    except _BuffersFull:
        scan.status[number] = LATER if scan.count > 1 else REFERENCE
    walker.hand_over()
    return bool(scan.status[number] == TAKEN)


def look_into(scan: Scan, found: Found, elements: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find what is inside of elements that turned out to be sequences of defined length.

    Only for implicit VR. ``found`` is extended; files whose elements cannot be read are returned.
    """
    lost: list[int] = []
    before = scan.records.count
    for i in elements.tolist():
        number, node = int(found.file[i]), int(found.node[i])
        walker = Walker(scan, number, implicit=True)
        at, length = int(found.value_at[i]), int(found.length[i])
        head = int(found.head[i])
        # As if the arena were the file: the whole value lies in it.
        walker.base, walker.window, walker.size = 0, at + length, at + length
        sequence = scan.sequence_count
        walker.sequences.append(((head & 0xFFFF) << 16 | head >> 16 & 0xFFFF, False))
        depth = 2 * int(found.node_level[node])
        stack: list[list[int]] = [[-1, 0, node, 0] for _ in range(depth + 1)]
        stack.append([at + length, 0, sequence, 0])
        try:
            walker.run(at, stack, stop=depth + 1)
        except (_Unsupported, _BuffersFull):
            lost.append(number)
        walker.hand_over()
        found.length[i] = -2 - sequence
    extended = scan.found()
    names = ("file", "head", "value_at", "length", "node", "low", "high")
    for name, column in zip(names, scan.records.columns, strict=True):
        new = column[before : scan.records.count]
        setattr(found, name, np.concatenate([getattr(found, name), new]))
    for name in ("node_file", "node_parent", "node_sequence", "node_item", "node_level",
                 "sequence_tag", "sequence_undefined"):  # fmt: skip
        setattr(found, name, getattr(extended, name))
    return np.array(lost, np.int64)


class _BuffersFull(Exception):
    """The arena is full."""


def _classify(head: int, *, implicit: bool) -> tuple[int, int, int]:
    """Return tag, bytes up to the next element and class of an element by its first 8 bytes."""
    tag = (head & 0xFFFF) << 16 | head >> 16 & 0xFFFF
    if tag >> 16 == 0xFFFE or tag in PIXEL_NUMBERS:
        return tag, 8, BAD
    if implicit:
        length = head >> 32
        if tag in _SEQUENCES:
            return tag, 8, SEQUENCE
        return tag, 8 + length, BAD if length == UNDEFINED else SHORT
    kind = _CLASS[head >> 32 & 0xFFFF]
    if kind == SHORT:
        return tag, 8 + (head >> 48), SHORT
    return tag, 12, kind if kind in {LONG, SEQUENCE} else BAD


class Walker:
    """One file. Offsets named ``*_at`` count in the arena, ends of containers in the file."""

    def __init__(self, scan: Scan, number: int, *, implicit: bool) -> None:
        self.scan = scan
        self.heads = scan.heads
        self.number = number
        self.implicit = implicit
        self.base = int(self.heads.base[number])
        self.window = int(self.heads.window_at[number])
        self.size = int(self.heads.size[number])
        self.places = array("q")
        """Where each element begins in the arena."""
        self.special: list[tuple[int, int, int]] = []
        """Elements with another place or length than their head says: number, place, length."""
        self.runs: list[tuple[int, int]] = []
        """From which element on which node goes."""
        self.nodes: list[tuple[int, int, int, int]] = []
        self.sequences: list[tuple[int, bool]] = []
        self.start = int(scan.at[number])
        self.first_node = scan.node_count
        self.first_sequence = scan.sequence_count
        self.after_pixels = False
        self.bases: list[tuple[int, int]] = [(0, self.base)]
        """From which element on which window goes."""
        self.marks: list[tuple[int, int, int]] = []
        """Items and delimiters: offset, number of the window, place in the arena."""
        self.flushes = 0
        """How often items were matched in bulk; these have no individual records."""
        self.node_base = scan.node_count
        """Number of the first node in the list."""
        self.failed = 0
        """Failed comparisons of items since the last one that matched."""
        self.eager: set[int] = set()
        """Sequences of which items were matched in bulk, so that more may be."""
        self._blocks: list[tuple[NDArray[np.int64], ...]] = []
        """Nodes, special elements and runs that are in the lists no more."""

    def run(self, at: int, stack: list[list[int]], stop: int = 0) -> None:  # noqa: PLR0915 - hot
        """Walk from offset ``at`` of the file until only ``stop`` containers are open.

        An entry of the stack is a data set or a sequence, in turns: where it ends, whether a
        delimiter ends it, its node or number, its last tag or the number of items so far.
        """
        memory, word, half = self.heads.arena.data, _word, _half
        implicit = self.implicit
        known = _IMPLICIT if implicit else _EXPLICIT
        look, add = known.get, self.places.append
        places, marks, runs, nodes = self.places, self.marks, self.runs, self.nodes
        first_node = self.node_base
        models: dict[int, Begun] = {}
        in_items = len(stack) % 2 == 0
        end, delimited, name, last = stack[-1]
        runs.append((len(places), name))
        while True:
            while at == end:
                if delimited:
                    raise _Unsupported
                stack.pop()
                if len(stack) == stop:
                    return
                end, delimited, name, last = stack[-1]
                in_items = not in_items
                if not in_items:
                    runs.append((len(places), name))
            if end - at < 8:
                raise _Unsupported
            p = self.base + at
            if p + MAX_HEADER_BYTES > self.window and self.window - self.base < self.size:
                self._refill(at)
                p = self.base + at
            if in_items:
                head = word(memory, p)[0]
                length = head >> 32
                # Once there are some items, others may be like the last one.
                few = FEW_ITEMS << (self.failed // BACKOFF_AFTER)
                if last >= few and (last & (last - 1) == 0 or name in self.eager):
                    model = models.get(name)
                    is_item = head & UNDEFINED == ITEM_HEAD
                    if is_item and model and comparable(self, model, at, end):
                        taken, at = take_items(self, model, at, end, last)
                        if taken:
                            self.eager.add(name)
                            self.failed = 0
                            first_node = self.node_base
                            last += taken
                            stack[-1][3] = last
                            continue
                        self.eager.discard(name)
                        self.failed += 1
                models[name] = begun(self, at)
                marks.append((at, len(self.bases) - 1, p))
                at += 8
                if head & UNDEFINED == ITEM_HEAD and len(stack) < MAX_LEVEL:
                    stack[-1][3] = last + 1
                    inner = end if length == UNDEFINED else at + length
                    if inner > end:
                        raise _Unsupported
                    node = first_node + len(nodes)
                    nodes.append((stack[-2][2], name, last, len(stack)))
                    end, delimited, name, last = inner, length == UNDEFINED, node, 0
                    stack.append([end, delimited, name, 0])
                    in_items = False
                    runs.append((len(places), name))
                elif head == SEQUENCE_END_HEAD and delimited:
                    stack.pop()
                    end, delimited, name, last = stack[-1]
                    in_items = False
                    runs.append((len(places), name))
                else:
                    raise _Unsupported
                continue
            # Up to here a step stays inside container and window, its header included.
            soft = min(end + self.base, self.window) - MAX_HEADER_BYTES
            while True:
                head = word(memory, p)[0]
                entry = look(head)
                if entry is None:
                    if len(known) > _MAX_KNOWN:
                        known.clear()
                    entry = known[head] = _classify(head, implicit=implicit)
                tag, step, kind = entry
                if tag <= last:
                    raise _Unsupported
                if kind:
                    if kind != LONG:
                        break
                    step = 12 + half(memory, p + 8)[0]
                q = p + step
                if q > soft:
                    break
                last = tag
                add(p)
                p = q
            at = p - self.base
            if head == ITEM_END_HEAD:
                if not delimited or len(stack) == 1:
                    raise _Unsupported
                marks.append((at, len(self.bases) - 1, p))
                at += 8
                stack.pop()
                end, delimited, name, last = stack[-1]
                in_items = True
            elif kind == SEQUENCE or (kind == BAD and self._hidden_sequence(p, head, tag)):
                header = 8 if implicit else 12
                value = at + header
                length = half(memory, p + header - 4)[0]
                inner = end if length == UNDEFINED else value + length
                if value > end or inner > end or len(stack) >= MAX_LEVEL:
                    raise _Unsupported
                number = self.first_sequence + len(self.sequences)
                self.sequences.append((tag, length == UNDEFINED))
                self.special.append((len(places), 0, -2 - number))
                add(p)
                at, last = value, tag
                if length:
                    stack[-1][3] = tag
                    end, delimited, name, last = inner, length == UNDEFINED, number, 0
                    stack.append([end, delimited, name, 0])
                    in_items = True
            else:
                at = self._one(p, head, entry, stack)
                last = tag

    def _one(self, p: int, head: int, entry: tuple[int, int, int], stack: list[list[int]]) -> int:
        """Take one element that is special or near an end; return the offset of the next."""
        tag, step, kind = entry
        at = p - self.base
        if kind == BAD:
            return self._pixels_or_leaf(p, head, tag, stack)
        header = 12 if kind == LONG else 8
        if at + header > stack[-1][0]:
            raise _Unsupported
        length = _half(self.heads.arena.data, p + 8)[0] if kind == LONG else step - 8
        return self._leaf(at, header, length, stack)

    def _leaf(self, at: int, header: int, length: int, stack: list[list[int]]) -> int:
        value = at + header
        if value + length > stack[-1][0]:
            raise _Unsupported
        if self.base + value + length > self.window:
            if length > EXTERNAL_BYTES:
                place = self.scan.note_outside(value, length)
                self.special.append((len(self.places), place, min(length, LONGEST)))
            else:
                self._refill(at)
        self.places.append(self.base + at)
        return value + length

    def _hidden_sequence(self, p: int, head: int, tag: int) -> bool:
        """Tell whether an unknown tag of undefined length in implicit VR holds items."""
        if tag in PIXEL_NUMBERS:
            return False
        if (
            not self.implicit
            or head >> 32 != UNDEFINED
            or dictionary_vr(tag) is not None
            or _half(self.heads.arena.data, p + 8)[0] != ITEM_HEAD
        ):
            raise _Unsupported
        return True

    def _pixels_or_leaf(self, p: int, head: int, tag: int, stack: list[list[int]]) -> int:
        memory = self.heads.arena.data
        at = p - self.base
        if self.implicit:
            header, length = 8, head >> 32
        elif _CLASS[head >> 32 & 0xFFFF] == LONG:
            header, length = 12, _half(memory, p + 8)[0]
        else:
            raise _Unsupported
        if at + header > stack[-1][0]:
            raise _Unsupported
        if len(stack) > 1:
            if length == UNDEFINED:
                raise _Unsupported
            return self._leaf(at, header, length, stack)
        end = self.scan.note_pixels(
            self.number, tag, at + header, length, head, implicit=self.implicit
        )
        if end is None or 0 < self.size - end < 8:
            raise _Unsupported
        if end < self.size:
            self.after_pixels = True
            self._refill(end)
            first = _word(memory, self.base + end)[0]
            if bool(LOOKS_EXPLICIT[(first >> 32) & 0xFFFF]) == self.implicit:
                raise _Unsupported
        return end

    @property
    def items(self) -> int:
        """Items so far."""
        return self.node_base - self.first_node + len(self.nodes)

    def _refill(self, at: int) -> None:
        if max(len(self.places), self.items) > MAX_FOUND:
            raise _Unsupported
        large = bool(self.eager) and self.heads.refill(self.number, at, LARGE_BYTES)
        if not large and not self.heads.refill(self.number, at):
            raise _BuffersFull
        self.base = int(self.heads.base[self.number])
        self.window = int(self.heads.window_at[self.number])
        self.bases.append((len(self.places), self.base))

    def flush(self, *more: NDArray[np.int64]) -> None:
        """Put nodes, special elements and runs away as arrays, and some more behind them."""
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
        """Give what was found to the scan."""
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
            tags, undefined = zip(*self.sequences, strict=True)
            scan.sequences.append((np.array(tags, np.int64), np.array(undefined, bool)))
            scan.sequence_count += len(tags)
