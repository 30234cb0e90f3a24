"""Heads of many files → the place of every data element in them. All files are stepped together.

In: ``Heads``. Out: ``Found``: flat arrays, one entry per data element, and one per item of a
sequence. In each step NumPy moves every file by one element, so that the cost of Python is shared
by all of them; when few files are left, each is walked to its end alone (``walk``).

Strict on purpose: only little endian, one encoding per file, tags in order, every length inside
its container, every delimiter where it belongs. A file that breaks a rule is marked ``REFERENCE``
and left to the reference reader, which knows what pydicom makes of it. Values are not read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from warehouse.dicom.element import PIXEL_TAGS
from warehouse.dicom.found import tag_of
from warehouse.dicom.grammar import (
    DELIMITER,
    EXPLICIT_CLASS,
    EXTERNAL_BYTES,
    IMPLICIT_CLASS,
    ITEM,
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
    TAKEN,
    UNDEFINED,
    dictionary_vr,
    hash_head,
)
from warehouse.dicom.meta import read_meta
from warehouse.dicom.shapes import read_by_shape
from warehouse.dicom.state import Scan
from warehouse.dicom.walk import FIRST_TAG, walk_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.found import Found, Records
    from warehouse.dicom.heads import Heads

MIN_TOGETHER = 64
"""With fewer files than this left, walking one by one is cheaper than a round of NumPy calls."""

BETWEEN_ITEMS = 1 << 16
"""Offset into the class tables for a file that stands in a sequence."""

NO_ELEMENT = -1

_PIXELS = np.array(PIXEL_NUMBERS, np.uint32)
assert {f"{number:08X}" for number in PIXEL_NUMBERS} == PIXEL_TAGS


def scan(heads: Heads, count: int, records: Records) -> tuple[Scan, Found]:
    """Find all elements of the first ``count`` files."""
    state = Scan(heads, count, records)
    start = read_meta(state)
    for implicit in (False, True):
        files = start[state.implicit[start] == implicit]
        left = read_by_shape(state, files, implicit=implicit)
        Steps(state, left, implicit=implicit).run()
    return state, state.found()


class Steps:
    """Files that are stepped together, a place in each array for each; those that leave go."""

    def __init__(self, scan: Scan, files: NDArray[np.int64], *, implicit: bool) -> None:
        self.scan = scan
        self.implicit = implicit
        self.heads = scan.heads
        self.level, self.end, self.open = scan.level, scan.end, scan.open
        self.name, self.last = scan.name, scan.last
        self.a = files
        self.p = scan.at[files] + scan.heads.base[files]
        self.mode = np.zeros(len(files), np.uint64)
        self.node = files.copy()
        self.before = np.full(len(files), FIRST_TAG, np.uint32)
        self.soft = np.zeros(len(files), np.int64)
        self.alive = np.ones(len(files), bool)
        self._soften(np.arange(len(files)))

    def run(self) -> None:
        """Step all files together until few are left, then walk those alone."""
        heads, implicit = self.heads, self.implicit
        vr_shift, length_shift, mask = np.uint64(32), np.uint64(48), np.uint64(0xFFFF)
        while self.a.size >= MIN_TOGETHER:
            p = self.p
            h = heads.words[p]
            t = tag_of(h)
            if implicit:
                length = (h >> vr_shift).view(np.int64)
                c = IMPLICIT_CLASS[hash_head(h) + self.mode]
                undefined = length == UNDEFINED
                if undefined.any():
                    c[undefined & (c != ITEM)] = SEQUENCE
            else:
                length = (h >> length_shift).view(np.int64)
                c = EXPLICIT_CLASS[((h >> vr_shift) & mask) + self.mode]
            value_at = p + 8
            wrong = t <= self.before
            was, self.before = self.before, t
            self.node_now, self.kept, self.q = self.node, length, value_at + length
            if wrong.any():
                # Tags out of order, twice, or a delimiter where none belongs.
                self._leave(np.flatnonzero(wrong))
                c[wrong] = 0
                self.q[wrong] = 0
            events = np.flatnonzero(c)
            if events.size:
                self.kept = length.copy()
                self.node = self.node.copy()
                self._events(events, c[events], h, t, value_at)
            edges = np.flatnonzero((self.q > self.soft) & self.alive)
            if edges.size:
                if self.kept is length:
                    self.kept, self.node = length.copy(), self.node.copy()
                self._edges(edges, p, value_at, was)
            if self.kept is length:
                self.scan.records.add(heads, self.a, h, value_at, length, self.node_now)
            else:
                k = np.flatnonzero(self.kept != NO_ELEMENT)
                self.scan.records.add(
                    heads, self.a[k], h[k], value_at[k], self.kept[k], self.node_now[k]
                )
            self.p = self.q
            if not self.alive.all():
                self._compress()
            if self.scan.records.count > MAX_FOUND:
                self._leave(np.arange(len(self.a)), LATER if self.scan.count > 1 else REFERENCE)
                return
        for number, place, before in zip(
            self.a.tolist(), self.p.tolist(), self.before.tolist(), strict=True
        ):
            at = place - int(heads.base[number])
            walk_on(self.scan, number, at, before, implicit=implicit)

    def _compress(self) -> None:
        alive = self.alive
        self.a, self.p, self.mode, self.node = (
            self.a[alive], self.p[alive], self.mode[alive], self.node[alive]
        )  # fmt: skip
        self.before, self.soft = self.before[alive], self.soft[alive]
        self.alive = np.ones(len(self.a), bool)

    def _leave(self, i: NDArray[np.int64], status: int = REFERENCE) -> None:
        self.scan.status[self.a[i]] = status
        self.alive[i] = False

    def _soften(self, i: NDArray[np.int64]) -> None:
        """Set the place from which on a step needs care: near the end of container or window."""
        f = self.a[i]
        end_at = self.end[self.level[f], f] + self.heads.base[f]
        self.soft[i] = np.minimum(end_at, self.heads.window_at[f]) - MAX_HEADER_BYTES

    # ------------------------------------------------------------ elements that are no plain ones

    def _events(
        self, e: NDArray[np.int64], c: NDArray[np.uint8], h: NDArray[np.uint64],
        t: NDArray[np.uint32], value_at: NDArray[np.int64],
    ) -> None:  # fmt: skip
        halves = self.heads.halves
        if not self.implicit:
            long = e[(c == LONG) | (c == SEQUENCE)]
            if long.size:
                length = halves[self.p[long] + 8].astype(np.int64)
                value_at[long] += 4
                self.kept[long] = length
                self.q[long] = value_at[long] + length
                special = long[(length == UNDEFINED) | (t[long] >> 16 == 0x7FE0)]
                for i in special[c[np.searchsorted(e, special)] == LONG].tolist():
                    self._pixels(i, int(t[i]), int(value_at[i]), int(self.kept[i]), h)
            i = e[c == SEQUENCE]
            if i.size:
                self._push_sequences(i[self.alive[i]], t, value_at)
            if (c >= DELIMITER).any():
                i = e[c == DELIMITER]
                if i.size:
                    self._close_items(i, h)
                self._leave(e[c > DELIMITER])
        else:
            i = e[c == SEQUENCE]
            if i.size:
                self._implicit_events(i, h, t, value_at)
        i = e[c == ITEM]
        if i.size:
            self._between_items(i, h)

    def _implicit_events(
        self, i: NDArray[np.int64], h: NDArray[np.uint64], t: NDArray[np.uint32],
        value_at: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Look at tags that may be sequences, pixel data or delimiters."""
        tags = t[i]
        delimiter = tags >> 16 == 0xFFFE
        if delimiter.any():
            self._close_items(i[delimiter], h)
        known = SEQUENCE_TAGS[np.searchsorted(SEQUENCE_TAGS, tags) % len(SEQUENCE_TAGS)] == tags
        pixel = np.isin(tags, _PIXELS) & (self.level[self.a[i]] == 0)
        undefined = (self.kept[i] == UNDEFINED) & ~delimiter & ~known
        for k in np.flatnonzero(undefined | pixel).tolist():
            j = int(i[k])
            if pixel[k]:
                self._pixels(j, int(t[j]), int(value_at[j]), int(self.kept[j]), h)
            elif dictionary_vr(int(t[j])) is None and self.heads.halves[value_at[j]] == ITEM_HEAD:
                known[k] = True
            else:
                self._leave(i[k : k + 1])
        i = i[known]
        self._push_sequences(i, t, value_at)

    def _push_sequences(
        self, i: NDArray[np.int64], t: NDArray[np.uint32], value_at: NDArray[np.int64]
    ) -> None:
        length = self.kept[i]
        numbers = self.scan.sequence_count + np.arange(len(i))
        self.scan.sequence_count += len(i)
        self.scan.sequences.append((t[i], length == UNDEFINED))
        self.kept[i] = -2 - numbers
        filled = length != 0
        i, length, numbers = i[filled], length[filled], numbers[filled]
        f = self.a[i]
        self.last[self.level[f], f] = t[i]
        self._push(i, value_at[i], length, numbers)
        self.mode[i] = BETWEEN_ITEMS

    def _push(
        self, i: NDArray[np.int64], at: NDArray[np.int64], length: NDArray[np.int64],
        numbers: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Enter a sequence or an item."""
        f = self.a[i]
        outer = self.end[self.level[f], f]
        level = self.level[f] + 1
        undefined = length == UNDEFINED
        end = np.where(undefined, outer, at - self.heads.base[f] + length)
        self.level[f] = np.minimum(level, MAX_LEVEL)
        self.end[level, f] = end
        self.open[level, f] = undefined
        self.name[level, f] = numbers
        self.last[level, f] = 0
        self.before[i] = 0
        self.q[i] = at
        bad = (end > outer) | (level >= MAX_LEVEL)
        if bad.any():
            self._leave(i[bad])
        self._soften(i)

    def _between_items(self, i: NDArray[np.int64], h: NDArray[np.uint64]) -> None:
        """Enter the next item, or leave a sequence of undefined length at its delimiter."""
        i = i[self.alive[i]]
        tag = h[i] & np.uint64(UNDEFINED)
        length = (h[i] >> np.uint64(32)).view(np.int64)
        f = self.a[i]
        self.kept[i] = NO_ELEMENT
        enters = tag == ITEM_HEAD
        ends = (tag == SEQUENCE_END_HEAD) & self.open[self.level[f], f] & (length == 0)
        self._leave(i[~enters & ~ends])
        if ends.any():
            self._pop(i[ends])
            self.q[i[ends]] = self.p[i[ends]] + 8
        i, f, length = i[enters], f[enters], length[enters]
        if i.size:
            numbers = self.scan.node_count + np.arange(len(i))
            self.scan.node_count += len(i)
            level = self.level[f]
            self.scan.nodes.append(
                (f, self.name[level - 1, f], self.name[level, f], self.last[level, f], level + 1)
            )
            self.last[level, f] += 1
            self._push(i, self.p[i] + 8, length, numbers)
            self.mode[i] = 0
            self.node[i] = numbers

    def _close_items(self, i: NDArray[np.int64], h: NDArray[np.uint64]) -> None:
        """Leave an item of undefined length at its delimiter."""
        i = i[self.alive[i]]
        f = self.a[i]
        level = self.level[f]
        self.kept[i] = NO_ELEMENT
        good = (h[i] == ITEM_END_HEAD) & self.open[level, f] & (level > 0)
        self._leave(i[~good])
        i = i[good]
        self._pop(i)
        self.q[i] = self.p[i] + 8

    def _pop(self, i: NDArray[np.int64]) -> None:
        """Go back to the container around."""
        f = self.a[i]
        level = self.level[f] - 1
        self.level[f] = level
        sequence = level % 2 == 1
        self.mode[i] = np.where(sequence, BETWEEN_ITEMS, 0)
        self.before[i] = np.where(sequence, 0, self.last[level, f])
        self.node[i] = self.name[level - sequence, f]
        self._soften(i)

    # --------------------------------------------------------------------- ends of all kinds

    def _edges(
        self, b: NDArray[np.int64], p: NDArray[np.int64], value_at: NDArray[np.int64],
        was: NDArray[np.uint32],
    ) -> None:  # fmt: skip
        """Handle steps that came near the end of a container or of the window."""
        heads = self.heads
        f = self.a[b]
        base = heads.base[f]
        over = self.q[b] - base > self.end[self.level[f], f]
        if over.any():
            self._leave(b[over])
        cut = ~over & (self.q[b] > heads.window_at[f])
        if cut.any():
            for i in b[cut].tolist():
                self._beyond_window(i, p, value_at, was)
            b = b[self.alive[b]]
        while True:
            f = self.a[b]
            level = self.level[f]
            closing = self.alive[b] & (self.q[b] - heads.base[f] == self.end[level, f])
            if not closing.any():
                break
            undelimited = closing & self.open[level, f]
            self._leave(b[undelimited])
            finished = closing & (level == 0)
            self._leave(b[finished], TAKEN)
            self._pop(b[closing & ~undelimited & ~finished])
        b = b[self.alive[b]]
        f = self.a[b]
        self._leave(b[self.end[self.level[f], f] - (self.q[b] - heads.base[f]) < 8])
        window_at = heads.window_at[f]
        short = (self.q[b] + MAX_HEADER_BYTES > window_at) & (
            window_at - heads.base[f] < heads.size[f]
        )
        for i in b[short & self.alive[b]].tolist():
            number = int(self.a[i])
            self._refill(i, int(self.q[i] - heads.base[number]))
        self._soften(b)

    def _beyond_window(
        self, i: int, p: NDArray[np.int64], value_at: NDArray[np.int64], was: NDArray[np.uint32]
    ) -> None:
        """Go on although the value just found is not wholly in the window."""
        heads = self.heads
        number = int(self.a[i])
        base = int(heads.base[number])
        length = int(self.kept[i])
        if length < 0:
            self._leave(np.array([i]))
        elif length > EXTERNAL_BYTES:
            target = int(self.q[i]) - base
            value_at[i] = self.scan.note_outside(int(value_at[i]) - base, length)
            self.kept[i] = min(length, LONGEST)
            if target < heads.size[number]:
                self._refill(i, target)
        else:
            self.kept[i] = NO_ELEMENT
            self.before[i] = was[i]
            self._refill(i, int(p[i]) - base)

    def _refill(self, i: int, offset: int) -> None:
        number = int(self.a[i])
        if self.heads.refill(number, offset):
            self.q[i] = self.heads.base[number] + offset
        else:
            # The arena is full; alone in a batch a file that does not fit is no ordinary one.
            self._leave(np.array([i]), LATER if self.scan.count > 1 else REFERENCE)

    def _pixels(self, i: int, tag: int, value_at: int, length: int, h: NDArray[np.uint64]) -> None:
        """Note where top-level pixel data lie and move behind them."""
        number = int(self.a[i])
        heads = self.heads
        offset = value_at - int(heads.base[number])
        if tag not in PIXEL_NUMBERS or self.level[number] != 0:
            if length == UNDEFINED:
                self._leave(np.array([i]))
            return
        size = int(heads.size[number])
        end = self.scan.note_pixels(number, tag, offset, length, int(h[i]), implicit=self.implicit)
        self.kept[i] = NO_ELEMENT
        if end is None:
            self._leave(np.array([i]))
        elif end == size:
            self._leave(np.array([i]), TAKEN)
        elif size - end < 8:
            self._leave(np.array([i]))
        else:
            self._refill(i, end)
            self._soften(np.array([i]))
            first = int(heads.words[self.q[i]]) if self.alive[i] else 0
            if bool(LOOKS_EXPLICIT[(first >> 32) & 0xFFFF]) == self.implicit:
                self._leave(np.array([i]), int(self.scan.status[number]))
