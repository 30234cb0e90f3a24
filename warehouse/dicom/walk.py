"""One file, element by element: what lock-step does to many, for the few that are left over.

In: a ``Scan`` and the number of a file in it. Out: the same records. The rules are those of
``lockstep``; here they stand as plain Python, because a NumPy call for one file costs more.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from warehouse.dicom.grammar import (
    EXPLICIT_CLASS,
    ITEM_END_HEAD,
    ITEM_HEAD,
    LONG,
    LOOKS_EXPLICIT,
    MAX_LEVEL,
    PIXEL_NUMBERS,
    SEQUENCE,
    SEQUENCE_END_HEAD,
    SEQUENCE_TAGS,
    SHORT,
    UNDEFINED,
    dictionary_vr,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.lockstep import Found, Scan

_word = struct.Struct("<Q").unpack_from
_half = struct.Struct("<L").unpack_from
_CLASS = EXPLICIT_CLASS[: 1 << 16].tobytes()
_SEQUENCES = frozenset(SEQUENCE_TAGS.tolist())


class _Give(Exception):
    """The file is left to somebody else."""


def walk(scan: Scan, i: int, *, implicit: bool) -> None:
    """Walk the file at place ``i`` of the active ones to its end."""
    from warehouse.dicom.lockstep import LATER, REFERENCE, TAKEN

    number = int(scan.a[i])
    walker = _Walker(scan, number, implicit=implicit)
    top = int(scan.level[number])
    at = int(scan.p[i] - scan.heads.base[number])
    stack = [
        [int(scan.end[k, number]), bool(scan.open[k, number]), int(scan.name[k, number]),
         int(scan.last[k, number])]
        for k in range(top + 1)
    ]  # fmt: skip
    stack[-1][3] = int(scan.before[i]) if top % 2 == 0 else stack[-1][3]
    try:
        walker.run(at, stack)
        scan.status[number] = TAKEN
    except _Give:
        scan.status[number] = REFERENCE
    except _NoRoom:
        scan.status[number] = LATER if scan.count > 1 else REFERENCE
    walker.hand_over()


def look_into(scan: Scan, found: Found, elements: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find what is inside of elements that turned out to be sequences of defined length.

    Only for implicit VR. ``found`` is extended; files whose elements cannot be read are returned.
    """
    lost: list[int] = []
    before = scan.records.count
    for i in elements.tolist():
        number, node = int(found.file[i]), int(found.node[i])
        walker = _Walker(scan, number, implicit=True)
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
        except (_Give, _NoRoom):
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


class _NoRoom(Exception):
    """The arena is full."""


class _Walker:
    def __init__(self, scan: Scan, number: int, *, implicit: bool) -> None:
        self.scan = scan
        self.heads = scan.heads
        self.number = number
        self.implicit = implicit
        self.base = int(self.heads.base[number])
        self.window = int(self.heads.window_at[number])
        self.size = int(self.heads.size[number])
        self.records: list[tuple[int, int, int, int]] = []
        self.nodes: list[tuple[int, int, int, int]] = []
        self.sequences: list[tuple[int, bool]] = []

    def run(self, at: int, stack: list[list[int]], stop: int = 0) -> None:
        """Walk from ``at`` until only ``stop`` containers are open."""
        from warehouse.dicom.lockstep import ELBOW, EXTERNAL_BYTES, LONGEST, MAX_FOUND

        implicit = self.implicit
        memory = self.heads.arena.data
        size = self.size
        records = self.records
        end, undelimited, name, last = stack[-1]
        base, window = self.base, self.window
        while True:
            while at == end:
                if undelimited:
                    raise _Give
                stack.pop()
                if len(stack) == stop:
                    return
                end, undelimited, name, last = stack[-1]
            if end - at < 8:
                raise _Give
            p = base + at
            if p + ELBOW > window and window - base < size:
                self._refill(at)
                base, window = self.base, self.window
                p = base + at
            head = _word(memory, p)[0]
            low = head & UNDEFINED
            if len(stack) % 2 == 0:
                length = head >> 32
                if low == SEQUENCE_END_HEAD and undelimited and not length:
                    at += 8
                    stack.pop()
                    end, undelimited, name, last = stack[-1]
                    continue
                if low != ITEM_HEAD or len(stack) >= MAX_LEVEL:
                    raise _Give
                at += 8
                node = self.scan.node_count + len(self.nodes)
                self.nodes.append((stack[-2][2], name, last, len(stack)))
                stack[-1][3] = last + 1
                inner = end if length == UNDEFINED else at + length
                if inner > end:
                    raise _Give
                end, undelimited, name, last = inner, length == UNDEFINED, node, 0
                stack.append([end, undelimited, name, last])
                continue
            tag = (low >> 16) | (low & 0xFFFF) << 16
            if tag <= last:
                raise _Give
            if low == ITEM_END_HEAD:
                if head != ITEM_END_HEAD or not undelimited or len(stack) == 1:
                    raise _Give
                at += 8
                stack.pop()
                end, undelimited, name, last = stack[-1]
                continue
            last = tag
            header = 8
            if implicit:
                length = head >> 32
                sequence = tag in _SEQUENCES
                if length == UNDEFINED and not sequence and not (
                    tag in PIXEL_NUMBERS and len(stack) == 1
                ):
                    if dictionary_vr(tag) is not None or _half(memory, p + 8)[0] != ITEM_HEAD:
                        raise _Give
                    sequence = True
            else:
                kind = _CLASS[(head >> 32) & 0xFFFF]
                sequence = kind == SEQUENCE
                if kind == SHORT:
                    length = head >> 48
                elif kind <= SEQUENCE:
                    length = _half(memory, p + 8)[0]
                    header = 12
                else:
                    raise _Give
            value = at + header
            if sequence:
                if value > end:
                    raise _Give
                found = self.scan.sequence_count + len(self.sequences)
                self.sequences.append((tag, length == UNDEFINED))
                records.append((head, 0, -2 - found, name))
                at = value
                if length:
                    inner = end if length == UNDEFINED else value + length
                    if inner > end or len(stack) >= MAX_LEVEL:
                        raise _Give
                    stack[-1][3] = last
                    end, undelimited, name, last = inner, length == UNDEFINED, found, 0
                    stack.append([end, undelimited, name, last])
                continue
            if tag in PIXEL_NUMBERS and len(stack) == 1:
                if header == 8 and not implicit:
                    raise _Give
                at = self._pixels(tag, value, length, head)
                base, window = self.base, self.window
                continue
            if value + length > end:
                raise _Give
            value_at = base + value
            if value_at + length > window:
                if length > EXTERNAL_BYTES:
                    value_at = self.scan.note_outside(value, length)
                else:
                    self._refill(at)
                    base, window = self.base, self.window
                    value_at = base + value
            records.append((head, value_at, min(length, LONGEST), name))
            if len(records) > 4 * MAX_FOUND:
                raise _Give
            at = value + length

    def _refill(self, at: int) -> None:
        if not self.heads.refill(self.number, at):
            raise _NoRoom
        self.base = int(self.heads.base[self.number])
        self.window = int(self.heads.window_at[self.number])

    def _pixels(self, tag: int, offset: int, length: int, head: int) -> int:
        size = int(self.heads.size[self.number])
        end = self.scan.note_pixels(
            self.number, tag, offset, length, head, implicit=self.implicit
        )
        if end is None or 0 < size - end < 8:
            raise _Give
        if end < size:
            self._refill(end)
            first = _word(self.heads.arena.data, self.base + end)[0]
            if bool(LOOKS_EXPLICIT[(first >> 32) & 0xFFFF]) == self.implicit:
                raise _Give
        return end

    def hand_over(self) -> None:
        """Give the records to the scan."""
        scan = self.scan
        if self.records:
            head, value_at, length, node = zip(*self.records, strict=True)
            scan.records.add(
                self.heads, np.full(len(head), self.number), np.array(head, np.uint64),
                np.array(value_at, np.int64), np.array(length, np.int64), np.array(node, np.int64),
            )  # fmt: skip
        if self.nodes:
            parent, sequence, item, level = (np.array(column) for column in zip(*self.nodes, strict=True))
            scan.nodes.append((np.full(len(parent), self.number), parent, sequence, item, level))
            scan.node_count += len(parent)
        if self.sequences:
            tags, undefined = zip(*self.sequences, strict=True)
            scan.sequences.append((np.array(tags, np.int64), np.array(undefined, bool)))
            scan.sequence_count += len(tags)
