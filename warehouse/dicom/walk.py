"""Parse one file element by element, with a cache keyed by the 8 bytes of an element head.

In: a ``Scan`` and the number of a file in it. Out: a ``Trace``, which is added to the scan.

The parser is strict: only little endian, one encoding per file, tags in ascending order, every
length inside its container, every delimiter at its place. A file that violates a rule is marked
``REFERENCE`` and falls back to the reference reader (pydicom). Values are not decoded here.
"""

from __future__ import annotations

import struct
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
from warehouse.dicom.items import ItemStart, comparable, item_start, record_items
from warehouse.dicom.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.found import Found
    from warehouse.dicom.state import Scan

_word = struct.Struct("<Q").unpack_from
_half = struct.Struct("<L").unpack_from
_CLASS = EXPLICIT_CLASS.tobytes()

FEW_ITEMS = 4
"""Items of a sequence that are parsed before others are compared with one of them."""

BACKOFF_AFTER = 8
"""After this many failed comparisons, twice as many items are parsed before the next one."""

LARGE_BYTES = 1 << 20
"""Window size for files with many items; matching is faster with more items in a window."""

FIRST_TAG = 0x0002FFFF
"""All tags of a data set are greater than this."""

_MAX_KNOWN = 1 << 16
"""Number of cached heads, which repeat between files."""
_EXPLICIT: dict[int, tuple[int, int, int]] = {}
_IMPLICIT: dict[int, tuple[int, int, int]] = {}


class _Unsupported(Exception):
    """The walker does not support this file; it falls back to pydicom."""


def walk(scan: Scan, number: int, *, implicit: bool) -> Trace | None:
    """Parse one file from the start of its data set to the end; None if it is not supported."""
    walker = Walker(scan, number, implicit=implicit)
    try:
        walker.run(int(scan.at[number]), [[walker.size, 0, number, FIRST_TAG]])
        scan.status[number] = TAKEN
    except _Unsupported:
        scan.status[number] = REFERENCE
    except _BuffersFull:
        scan.status[number] = LATER if scan.count > 1 else REFERENCE
    walker.trace.hand_over()
    return walker.trace if scan.status[number] == TAKEN else None


def parse_defined_length(
    scan: Scan, found: Found, elements: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Parse elements that turned out to be sequences of defined length.

    Only for implicit VR. Extends ``found``; returns the files whose elements cannot be read.
    """
    lost: list[int] = []
    before = scan.records.count
    for i in elements.tolist():
        number, node = int(found.file[i]), int(found.node[i])
        walker = Walker(scan, number, implicit=True)
        at, length = int(found.value_at[i]), int(found.length[i])
        head = int(found.head[i])
        # Treat the arena as the file, because the whole value is in it.
        trace = walker.trace
        trace.base, trace.window, walker.size = 0, at + length, at + length
        sequence = scan.sequence_count
        trace.sequences.append((head & 0xFFFF) << 16 | head >> 16 & 0xFFFF)
        depth = 2 * int(found.node_level[node])
        stack: list[list[int]] = [[-1, 0, node, 0] for _ in range(depth + 1)]
        stack.append([at + length, 0, sequence, 0])
        try:
            walker.run(at, stack, stop=depth + 1)
        except (_Unsupported, _BuffersFull):
            lost.append(number)
        trace.hand_over()
        found.length[i] = -2 - sequence
    extended = scan.found()
    names = ("file", "head", "value_at", "length", "node", "low", "high")
    for name, column in zip(names, scan.records.columns, strict=True):
        new = column[before : scan.records.count]
        setattr(found, name, np.concatenate([getattr(found, name), new]))
    for name in ("node_file", "node_parent", "node_sequence", "node_item", "node_level",
                 "sequence_tag"):  # fmt: skip
        setattr(found, name, getattr(extended, name))
    return np.array(lost, np.int64)


class _BuffersFull(Exception):
    """The arena is full."""


def _classify(head: int, *, implicit: bool) -> tuple[int, int, int]:
    """Return tag, total size and class of an element from its first 8 bytes."""
    tag = (head & 0xFFFF) << 16 | head >> 16 & 0xFFFF
    if tag >> 16 == 0xFFFE or tag in PIXEL_NUMBERS:
        return tag, 8, BAD
    if implicit:
        length = head >> 32
        if tag in SEQUENCE_TAGS:
            return tag, 8, SEQUENCE
        return tag, 8 + length, BAD if length == UNDEFINED else SHORT
    kind = _CLASS[head >> 32 & 0xFFFF]
    if kind == SHORT:
        return tag, 8 + (head >> 48), SHORT
    return tag, 12, kind if kind in {LONG, SEQUENCE} else BAD


class Walker:
    """Parser of one file. Offsets ``*_at`` are relative to the arena, ends to the file."""

    def __init__(self, scan: Scan, number: int, *, implicit: bool) -> None:
        self.scan = scan
        self.heads = scan.heads
        self.number = number
        self.implicit = implicit
        self.size = int(self.heads.size[number])
        self.trace = Trace(scan, number, implicit=implicit)
        self.failed = 0
        """Failed comparisons of items since the last one that matched."""
        self.eager: set[int] = set()
        """Sequences with items that were matched in bulk, so that more items may match."""

    def run(self, at: int, stack: list[list[int]], stop: int = 0) -> None:  # noqa: PLR0915 - hot
        """Parse from offset ``at`` of the file until only ``stop`` containers are open.

        Entries of the stack alternate between data sets and sequences. An entry has its end,
        whether a delimiter ends it, its node or number, and its last tag or number of items.
        """
        memory, word, half = self.heads.arena.data, _word, _half
        implicit = self.implicit
        known = _IMPLICIT if implicit else _EXPLICIT
        trace = self.trace
        look, add = known.get, trace.places.append
        places, marks, runs, nodes = trace.places, trace.marks, trace.runs, trace.nodes
        first_node = trace.node_base
        models: dict[int, ItemStart] = {}
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
            p = trace.base + at
            if p + MAX_HEADER_BYTES > trace.window and trace.window - trace.base < self.size:
                self._refill(at)
                p = trace.base + at
            if in_items:
                head = word(memory, p)[0]
                length = head >> 32
                # After a few items, the following ones may match the last one.
                few = FEW_ITEMS << (self.failed // BACKOFF_AFTER)
                if last >= few and (last & (last - 1) == 0 or name in self.eager):
                    model = models.get(name)
                    is_item = head & UNDEFINED == ITEM_HEAD
                    if is_item and model and comparable(trace, model, at, end):
                        taken, at = record_items(trace, model, at, end, last)
                        if taken:
                            self.eager.add(name)
                            self.failed = 0
                            first_node = trace.node_base
                            last += taken
                            stack[-1][3] = last
                            continue
                        self.eager.discard(name)
                        self.failed += 1
                models[name] = item_start(trace, at)
                marks.append((at, len(trace.bases) - 1, p))
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
            # Up to here an element header is surely inside container and window.
            soft = min(end + trace.base, trace.window) - MAX_HEADER_BYTES
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
            at = p - trace.base
            if head == ITEM_END_HEAD:
                if not delimited or len(stack) == 1:
                    raise _Unsupported
                marks.append((at, len(trace.bases) - 1, p))
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
                number = trace.first_sequence + len(trace.sequences)
                trace.sequences.append(tag)
                trace.special.append((len(places), 0, -2 - number))
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
        """Parse one element that is special or near an end; return the offset of the next."""
        tag, step, kind = entry
        at = p - self.trace.base
        if kind == BAD:
            return self._pixels_or_leaf(p, head, tag, stack)
        header = 12 if kind == LONG else 8
        if at + header > stack[-1][0]:
            raise _Unsupported
        length = _half(self.heads.arena.data, p + 8)[0] if kind == LONG else step - 8
        return self._leaf(at, header, length, stack)

    def _leaf(self, at: int, header: int, length: int, stack: list[list[int]]) -> int:
        trace = self.trace
        value = at + header
        if value + length > stack[-1][0]:
            raise _Unsupported
        if trace.base + value + length > trace.window:
            if length > EXTERNAL_BYTES:
                place = self.scan.note_outside(value, length)
                trace.special.append((len(trace.places), place, min(length, LONGEST)))
            else:
                self._refill(at)
        trace.places.append(trace.base + at)
        return value + length

    def _hidden_sequence(self, p: int, head: int, tag: int) -> bool:
        """Return whether an unknown tag of undefined length in implicit VR contains items."""
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
        at = p - self.trace.base
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
            self.trace.after_pixels = True
            self._refill(end)
            first = _word(memory, self.trace.base + end)[0]
            if bool(LOOKS_EXPLICIT[(first >> 32) & 0xFFFF]) == self.implicit:
                raise _Unsupported
        return end

    def _refill(self, at: int) -> None:
        trace = self.trace
        if max(len(trace.places), trace.items) > MAX_FOUND:
            raise _Unsupported
        large = bool(self.eager) and self.heads.refill(self.number, at, LARGE_BYTES)
        if not large and not self.heads.refill(self.number, at):
            raise _BuffersFull
        trace.moved()
