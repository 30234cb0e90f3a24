"""Elements of a batch of files → sorted rows of the long table. Nothing is done per row in Python.

In: slots and values (by the fast reader), and elements read one file at a time (by the reference
reader). Out: Arrow tables whose rows are in the order of the store: tag, path, index, instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.dicom.element import keyword_of
from warehouse.elements.batches import element_values
from warehouse.elements.distinct import NUMBER_COLUMNS, TEXT_COLUMNS, Decoded, from_values
from warehouse.elements.resolve import Slot
from warehouse.elements.schema import BLOBS, ELEMENTS, INLINE_BYTES
from warehouse.elements.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from warehouse.dicom.element import Element

_SMALL = 1 << 16
"""NumPy sorts numbers of 16 bits by radix, which is many times faster."""


class ValueTable:
    """Distinct values of a batch, as columns; row 0 is the value of an empty element."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, dict[str, Any]]] = [(1, {})]
        self.size = 1
        self.blob_bytes = 0
        self.blobs: dict[int, bytes] = {}
        """Row of a value → its bytes, where they are too long to stand in the row."""

    def add(self, decoded: Decoded) -> NDArray[np.int64]:
        """Append values; return the row of the first value of each field."""
        ends = np.cumsum(decoded.count)
        total = int(ends[-1]) if len(ends) else 0
        first = self.size + ends - decoded.count
        self._parts.append((total, decoded.columns))
        self.size += total
        return first

    def add_values(self, values: list[Value], raw: bytes) -> int:
        """Append the values of one field decoded alone; return the row of the first."""
        first = self.size
        self.add(from_values([len(values)], values))
        if values:
            self.keep(first, raw, values[0].sha256)
        return first

    def keep(self, row: int, raw: bytes, digest: str | None) -> None:
        """Remember bytes that are too long to stand in their row."""
        if digest is not None and len(raw) > INLINE_BYTES:
            self.blobs[row] = raw
            self.blob_bytes += len(raw)

    def mark(self) -> tuple[int, ...]:
        """Return where the table stands now, for ``back_to``."""
        return len(self._parts), self.size, self.blob_bytes

    def back_to(self, mark: tuple[int, ...]) -> None:
        """Forget the values added since ``mark``."""
        parts, self.size, self.blob_bytes = mark
        del self._parts[parts:]
        self.blobs = {row: raw for row, raw in self.blobs.items() if row < self.size}

    def columns(self) -> dict[str, Any]:
        """Return the columns: Arrow arrays for text, pairs of values and validity for numbers."""
        columns: dict[str, Any] = {}
        for name, dtype in NUMBER_COLUMNS.items():
            values, valid = np.zeros(self.size, dtype), np.zeros(self.size, bool)
            at = 0
            for count, part in self._parts:
                if name in part:
                    values[at : at + count], valid[at : at + count] = part[name]
                at += count
            columns[name] = (values, valid)
        for name, kind in TEXT_COLUMNS.items():
            pieces: list[pa.Array] = []
            gap = 0
            for count, part in self._parts:
                if name not in part:
                    gap += count
                    continue
                if gap:
                    pieces.append(pa.nulls(gap, kind))
                    gap = 0
                pieces.append(part[name])
            if gap:
                pieces.append(pa.nulls(gap, kind))
            columns[name] = pa.concat_arrays(pieces)
        return columns


class Batch:
    """Elements of some files: for each its file, slot, first value and number of values."""

    def __init__(self) -> None:
        self.values = ValueTable()
        self.slots: list[Slot] = []
        self._slot_number: dict[Slot, int] = {}
        self._parts: list[tuple[NDArray[np.int64], ...]] = []

    def add_slots(self, slots: Iterable[Slot]) -> NDArray[np.int64]:
        """Return the number of each slot in this batch."""
        numbers = [self._slot_number.setdefault(slot, len(self._slot_number)) for slot in slots]
        self.slots = list(self._slot_number)
        return np.array(numbers, np.int64)

    def add(
        self, file: NDArray[np.int64], slot: NDArray[np.int64], first: NDArray[np.int64],
        count: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Append elements whose values are in the table."""
        self._parts.append((file, slot, first, count))

    def add_elements(self, file: int, elements: list[Element]) -> int:
        """Append one file that was read by the reference reader; return its number of rows."""
        slots = self.add_slots([Slot(e.path, e.tag, e.vr, e.creator) for e in elements])
        first, count = np.zeros(len(elements), np.int64), np.zeros(len(elements), np.int64)
        flat: list[Value] = []
        start = self.values.size
        for i, element in enumerate(elements):
            values = element_values(element)
            first[i], count[i] = start + len(flat), len(values)
            if element.raw is not None and values:
                self.values.keep(start + len(flat), element.raw, values[0].sha256)
            flat += values
        if flat:
            self.values.add(from_values([len(flat)], flat))
        self.add(np.full(len(elements), file, np.int64), slots, first, count)
        return int(np.maximum(count, 1).sum())

    def mark(self) -> tuple[int, ...]:
        """Return where the batch stands now, for ``back_to``."""
        return (len(self._parts), *self.values.mark())

    def back_to(self, mark: tuple[int, ...]) -> None:
        """Forget the elements added since ``mark``."""
        del self._parts[mark[0] :]
        self.values.back_to(mark[1:])

    def rows_per_file(self, files: int) -> NDArray[np.int64]:
        """Return how many rows each file has."""
        rows = np.zeros(files, np.int64)
        for file, _, _, count in self._parts:
            rows += np.bincount(file, np.maximum(count, 1), files)[:files].astype(np.int64)
        return rows

    def tables(self, start: int, stop: int, first_id: int) -> tuple[pa.Table, pa.Table]:
        """Return rows and long binary values of the files from ``start`` up to ``stop``."""
        columns = self.values.columns()
        file, slot, first, count = self._between(start, stop)
        rank = _ranks(self.slots)[slot]
        if (count > 1).any():
            rows = np.maximum(count, 1)
            begin = np.cumsum(rows) - rows
            element = np.repeat(np.arange(len(rows)), rows)
            index = np.arange(len(element)) - begin[element]
            file, slot, first, count = file[element], slot[element], first[element], count[element]
            # One number for rank and index together: sorted by it, files stay in their order.
            rank = rank[element]
            last_index = np.zeros(len(self.slots) + 1, np.int64)
            further = index > 0
            np.maximum.at(last_index, rank[further], index[further])
            begins = np.cumsum(last_index + 1) - (last_index + 1)
            rank = begins[rank] + index
            order = _argsort(rank)
            index = index[order]
        else:
            order = _argsort(rank)
            index = np.zeros(len(file), np.int64)
        file, slot, first, count = file[order], slot[order], first[order], count[order]
        value = np.where(count > 0, first + index, 0)
        table = self._rows(file + first_id, slot, value, count, index, columns)
        return table, self._long_values(value, columns)

    def _between(self, start: int, stop: int) -> tuple[NDArray[np.int64], ...]:
        """Return the elements of some files, in the order of the files."""
        empty = (np.zeros(0, np.int64),) * 4
        file, slot, first, count = (
            np.concatenate(column) for column in zip(empty, *self._parts, strict=True)
        )
        chosen = np.flatnonzero((file >= start) & (file < stop))
        if len(chosen) < len(file):
            file, slot, first, count = file[chosen], slot[chosen], first[chosen], count[chosen]
        order = _argsort(file)
        return file[order], slot[order], first[order], count[order]

    def _rows(
        self, instance: NDArray[np.int64], slot: NDArray[np.int64], value: NDArray[np.int64],
        count: NDArray[np.int64], index: NDArray[np.int64], columns: dict[str, Any],
    ) -> pa.Table:  # fmt: skip
        slots = self.slots
        by_slot = {
            "path": [s.path for s in slots], "tag": [s.tag for s in slots],
            "keyword": [keyword_of(s.tag) for s in slots], "vr": [s.vr for s in slots],
            "creator": [s.creator for s in slots],
        }  # fmt: skip
        of_value = pa.array(value)
        arrays: list[pa.Array] = []
        for field in ELEMENTS:
            name = field.name
            if name in by_slot:
                arrays.append(_through(by_slot[name], slot))
            elif name == "instance_id":
                arrays.append(pa.array(instance))
            elif name == "vm":
                arrays.append(pa.array(count.astype(np.int32)))
            elif name == "index":
                arrays.append(pa.array(index.astype(np.int32)))
            elif name in NUMBER_COLUMNS:
                numbers, valid = columns[name]
                arrays.append(_take_numbers(numbers, valid, value, field.type))
            elif name == "warning":
                encoded = columns[name].dictionary_encode()
                arrays.append(encoded.take(of_value))
            else:
                arrays.append(_take_text(columns[name], of_value))
        return pa.Table.from_arrays(arrays, schema=ELEMENTS)

    def _long_values(self, value: NDArray[np.int64], columns: dict[str, Any]) -> pa.Table:
        blobs = self.values.blobs
        held = np.array(sorted(blobs), np.int64)
        used = np.zeros(self.values.size, bool)
        used[value] = True
        rows = held[used[held]]
        kept: dict[str, bytes] = {}
        for row, digest in zip(rows.tolist(), columns["sha256"].take(pa.array(rows)), strict=True):
            kept.setdefault(digest.as_py(), blobs[row])
        return pa.table(
            {
                "sha256": list(kept),
                "length": [len(raw) for raw in kept.values()],
                "bytes": list(kept.values()),
            },
            schema=BLOBS,
        )


def _ranks(slots: list[Slot]) -> NDArray[np.int64]:
    """Return the place of each slot in the order of the store: tag, then path, byte by byte."""
    keys = sorted({(s.tag, s.path.encode()) for s in slots})
    place = {key: number for number, key in enumerate(keys)}
    return np.array([place[s.tag, s.path.encode()] for s in slots], np.int64)


def _argsort(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort stably; small numbers by radix, larger ones in two passes of it."""
    if not len(keys):
        return np.zeros(0, np.int64)
    largest = int(keys.max())
    if largest < _SMALL:
        return np.argsort(keys.astype(np.uint16), kind="stable")
    if largest < _SMALL**2:
        order = np.argsort((keys & (_SMALL - 1)).astype(np.uint16), kind="stable")
        return order[np.argsort((keys[order] >> 16).astype(np.uint16), kind="stable")]
    return np.argsort(keys, kind="stable")


def _through(cells: list[str | None], slot: NDArray[np.int64]) -> pa.DictionaryArray:
    """Return a dictionary column from one cell per slot."""
    encoded = pa.array(cells, pa.string()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()[slot].astype(np.int32)
    missing = codes < 0
    indices = pa.array(codes, pa.int32(), mask=missing) if missing.any() else pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary)


def _take_numbers(
    numbers: NDArray[Any], valid: NDArray[np.bool_], value: NDArray[np.int64], kind: pa.DataType
) -> pa.Array:
    if not valid.any():
        return pa.nulls(len(value), kind)
    array = pa.array(numbers[value], mask=~valid[value])
    return array.cast(kind) if array.type != kind else array


def _take_text(cells: pa.Array, value: pa.Array) -> pa.Array:
    if cells.null_count == len(cells):
        return pa.nulls(len(value), cells.type)
    return cells.take(value)
