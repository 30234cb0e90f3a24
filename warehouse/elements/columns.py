"""Build the sorted rows of the long table from the elements of many files, with NumPy and Arrow.

In: slots and values from the fast reader, and elements of single files from the reference reader.
Out: Arrow tables with rows in the sort order of the store: tag, path, index, instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.dicom.element import keyword_of
from warehouse.elements.distinct import NUMBER_COLUMNS, TEXT_COLUMNS, Decoded, from_values
from warehouse.elements.element_values import element_values
from warehouse.elements.resolve import Kind, encode
from warehouse.elements.schema import BLOBS, ELEMENTS, INLINE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.element import Element
    from warehouse.elements.values import Value

_MOSTLY = 8
"""A column with less than one value per this many rows is filled value by value."""

_MOST_OBJECTS = 1 << 16
"""Values of one file kept as objects, which take ten times as much memory as columns."""

_SMALL = 1 << 16
"""NumPy sorts 16-bit numbers by radix sort, which is many times faster."""


class ValueTable:
    """Distinct values of a batch of files, as columns; row 0 is the value of an empty element."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, dict[str, Any]]] = [(1, {})]
        self.size = 1
        self.blob_bytes = 0
        self.blobs: dict[int, bytes] = {}
        """Row of a value → its bytes, if they are too long for the row."""

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
        """Store bytes that are too long for the long table."""
        if digest is not None and len(raw) > INLINE_BYTES:
            self.blobs[row] = raw
            self.blob_bytes += len(raw)

    def mark(self) -> tuple[int, ...]:
        """Return the current size of the table, for ``back_to``."""
        return len(self._parts), self.size, self.blob_bytes

    def back_to(self, mark: tuple[int, ...]) -> None:
        """Remove the values added since ``mark``."""
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
    """Elements of a batch of files as columns: file, path, kind, first value, number of values."""

    def __init__(self) -> None:
        self.values = ValueTable()
        self._paths: dict[str, int] = {}
        self._kinds: dict[Kind, int] = {}
        self._parts: list[tuple[NDArray[np.int32], ...]] = []

    def add_paths(self, paths: list[str]) -> NDArray[np.int32]:
        """Return the number of each path in this batch."""
        known = self._paths
        return np.array([known.setdefault(path, len(known)) for path in paths], np.int32)

    def add_kinds(self, kinds: list[Kind]) -> NDArray[np.int32]:
        """Return the number of each kind in this batch."""
        known = self._kinds
        return np.array([known.setdefault(kind, len(known)) for kind in kinds], np.int32)

    def add(self, *columns: NDArray[Any]) -> None:
        """Append elements whose values are in the table: file, path, kind, first value, count."""
        self._parts.append(tuple(column.astype(np.int32, copy=False) for column in columns))

    def add_elements(self, file: int, elements: list[Element]) -> int:
        """Append the elements of one file from the reference reader; return the number of rows."""
        first, count = np.zeros(len(elements), np.int32), np.zeros(len(elements), np.int32)
        flat: list[Value] = []
        start = self.values.size
        for i, element in enumerate(elements):
            values = element_values(element)
            first[i], count[i] = start + len(flat), len(values)
            if element.raw is not None and values:
                self.values.keep(start + len(flat), element.raw, values[0].sha256)
            flat += values
            if len(flat) > _MOST_OBJECTS:
                self.values.add(from_values([len(flat)], flat))
                start, flat = start + len(flat), []
        if flat:
            self.values.add(from_values([len(flat)], flat))
        paths = self.add_paths([e.path for e in elements])
        kinds = self.add_kinds([Kind(e.tag, e.vr, e.creator) for e in elements])
        self.add(np.full(len(elements), file), paths, kinds, first, count)
        return int(np.maximum(count, 1).sum())

    def mark(self) -> tuple[int, ...]:
        """Return the current size of the batch, for ``back_to``."""
        return (len(self._parts), *self.values.mark())

    def back_to(self, mark: tuple[int, ...]) -> None:
        """Remove the elements added since ``mark``."""
        del self._parts[mark[0] :]
        self.values.back_to(mark[1:])

    def rows_per_file(self, files: int) -> NDArray[np.int64]:
        """Return how many rows each file has."""
        rows = np.zeros(files, np.int64)
        for file, _, _, _, count in self._parts:
            rows += np.bincount(file, np.maximum(count, 1), files)[:files].astype(np.int64)
        return rows

    def tables(self, start: int, stop: int, first_id: int) -> tuple[pa.Table, pa.Table]:
        """Return rows and long binary values of the files from ``start`` up to ``stop``."""
        file, path, kind, first, count = self._between(start, stop)
        rank = self._ranks(path, kind)
        order = _argsort(file)
        order = order[_argsort(rank[order])]
        count = count[order]
        rows = np.maximum(count, 1)
        index = np.zeros(len(order), np.int32)
        if len(rows) and rows.max() > 1:
            element, index = _expand(rank[order], rows)
            order, count = order[element], count[element]
        value = np.where(count > 0, first[order] + index, 0)
        columns = self.values.columns()
        table = pa.Table.from_arrays(
            [
                pa.array(file[order] + np.int64(first_id)),
                *self._by_kind(path[order], kind[order]),
                pa.array(count),
                pa.array(index),
                *self._by_value(value, columns),
            ],
            schema=ELEMENTS,
        )
        return table, self._long_values(value, columns)

    def _between(self, start: int, stop: int) -> list[NDArray[np.int32]]:
        """Return the elements of files ``start`` up to ``stop``."""
        empty = (np.zeros(0, np.int32),) * 5
        if len(self._parts) == 1:
            columns = list(self._parts[0])
        else:
            columns = [np.concatenate(column) for column in zip(empty, *self._parts, strict=True)]
        chosen = (columns[0] >= start) & (columns[0] < stop)
        return columns if chosen.all() else [column[chosen] for column in columns]

    def _ranks(self, path: NDArray[np.int32], kind: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rank of each element by tag, then path, compared bytewise."""
        by_bytes = sorted(
            range(len(self._paths)), key=[p.encode() for p in self._paths].__getitem__
        )
        path_rank = np.empty(len(by_bytes), np.int64)
        path_rank[by_bytes] = np.arange(len(by_bytes))
        tag = np.array([int(k.tag, 16) for k in self._kinds], np.int64) << 31
        number, keys = encode(tag[kind] | path_rank[path])
        rank = np.empty(len(keys), np.int64)
        rank[np.argsort(keys)] = np.arange(len(keys))
        return rank[number]

    def _by_kind(self, path: NDArray[np.int32], kind: NDArray[np.int32]) -> list[pa.Array]:
        """Return the columns path, tag, keyword, vr, creator."""
        paths = pa.DictionaryArray.from_arrays(path, pa.array(list(self._paths), pa.string()))
        kinds = list(self._kinds)
        return [
            paths,
            _through([k.tag for k in kinds], kind),
            _through([keyword_of(k.tag) for k in kinds], kind),
            _through([k.vr for k in kinds], kind),
            _through([k.creator for k in kinds], kind),
        ]

    def _by_value(self, value: NDArray[np.int32], columns: dict[str, Any]) -> list[pa.Array]:
        """Return the columns from text to warning."""
        names = [field.name for field in ELEMENTS][8:]
        filled = np.zeros(self.values.size, np.uint16)
        for bit, name in enumerate(names):
            cells = columns[name]
            valid = (
                cells[1]
                if name in NUMBER_COLUMNS
                else cells.is_valid().to_numpy(zero_copy_only=False)
            )
            filled |= valid.astype(np.uint16) << np.uint16(bit)
        filled = filled[value]
        arrays = []
        for bit, name in enumerate(names):
            kind = ELEMENTS.field(name).type
            valid = (filled & np.uint16(1 << bit)) != 0
            count = int(np.count_nonzero(valid))
            if not count:
                arrays.append(pa.nulls(len(value), kind))
            elif name == "warning":
                arrays.append(columns[name].dictionary_encode().take(pa.array(value)))
            elif name in NUMBER_COLUMNS:
                arrays.append(_take_numbers(columns[name][0], valid, count, value, kind))
            elif count * _MOSTLY > len(value):
                arrays.append(columns[name].take(pa.array(value)))
            else:
                arrays.append(_take_some(columns[name], valid, value))
        return arrays

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


def _expand(
    rank: NDArray[np.int64], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return element and index of each row; within a rank rows are sorted by index, then file."""
    element = np.repeat(np.arange(len(rows)), rows)
    begin = np.cumsum(rows) - rows
    index = (np.arange(len(element)) - begin[element]).astype(np.int32)
    starts = np.flatnonzero(np.diff(rank, prepend=-1))
    widest = np.maximum.reduceat(rows, starts)
    dense = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rank)))
    many = np.flatnonzero((widest > 1)[dense][element])
    # Rank and index in one integer: sorting by it keeps the order of the files.
    begins = np.cumsum(widest, dtype=np.int64) - widest
    order = _argsort(begins[dense[element[many]]] + index[many])
    element[many], index[many] = element[many][order], index[many][order]
    return element, index


def _argsort(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Stable argsort: radix sort, in two passes for large numbers."""
    if not len(keys):
        return np.zeros(0, np.int64)
    largest = int(keys.max())
    if largest < _SMALL:
        return np.argsort(keys.astype(np.uint16), kind="stable")
    if largest < _SMALL**2:
        order = np.argsort((keys & (_SMALL - 1)).astype(np.uint16), kind="stable")
        return order[np.argsort((keys[order] >> 16).astype(np.uint16), kind="stable")]
    return np.argsort(keys, kind="stable")


def _through(cells: list[str | None], kind: NDArray[np.int32]) -> pa.DictionaryArray:
    """Return a dictionary-encoded column from one cell per kind."""
    encoded = pa.array(cells, pa.string()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int32)[kind]
    if encoded.null_count:
        missing = codes < 0
        codes[missing] = 0
        indices = _with_validity(codes, ~missing, pa.int32())
    else:
        indices = pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary)


def _take_numbers(
    numbers: NDArray[Any], valid: NDArray[np.bool_], count: int, value: NDArray[np.int32],
    kind: pa.DataType,
) -> pa.Array:  # fmt: skip
    if count * _MOSTLY > len(value):
        return _with_validity(numbers[value], valid, kind)
    rows = np.flatnonzero(valid)
    cells = np.zeros(len(value), numbers.dtype)
    cells[rows] = numbers[value[rows]]
    return _with_validity(cells, valid, kind)


def _take_some(cells: pa.Array, valid: NDArray[np.bool_], value: NDArray[np.int32]) -> pa.Array:
    """Return ``strings.take(indices)`` for a column that is mostly null."""
    rows = np.flatnonzero(valid)
    some = cells.take(pa.array(value[rows]))
    offsets = np.zeros(len(value) + 1, np.int32)
    offsets[rows + 1] = np.diff(np.frombuffer(some.buffers()[1], np.int32)[: len(rows) + 1])
    np.cumsum(offsets, out=offsets)
    bits = np.packbits(valid, bitorder="little")
    return pa.Array.from_buffers(
        cells.type, len(value), [pa.py_buffer(bits), pa.py_buffer(offsets), some.buffers()[2]]
    )


def _with_validity(cells: NDArray[Any], valid: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    bits = np.packbits(valid, bitorder="little")
    return pa.Array.from_buffers(kind, len(cells), [pa.py_buffer(bits), pa.py_buffer(cells)])
