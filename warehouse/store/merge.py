"""Merge sorted Parquet files in bounded memory.

In: files whose rows are sorted by the same columns. Out: consecutive tables in that order. Only a
limited number of rows of each file is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def merge(
    paths: Sequence[Path], schema: pa.Schema, order: Sequence[str], rows_at_once: int
) -> Iterator[pa.Table]:
    """Yield the rows of all files in sort order.

    Parameters
    ----------
    paths
        Parquet files, each sorted by ``order``. Rows with equal values keep the order of the files.
    schema
        Columns to read, and their types; text with a dictionary type is read as a dictionary.
    order
        Names of the sort columns, whose values are text or integers and never missing.
    rows_at_once
        Total number of rows in memory, of all files.
    """
    for some in _apart(paths, order):
        yield from _merged(some, schema, order, rows_at_once)


def _apart(paths: Sequence[Path], order: Sequence[str]) -> list[list[Path]]:
    """Return groups of files whose ranges overlap, in order; no two groups overlap.

    The ranges of the parts of ``instances`` usually do not overlap. If all files of such a wide
    table were read at once, only a few rows of each would fit in memory: with 256 files, each row
    took a tenth of a millisecond.
    """
    if len(order) != 1:
        return [list(paths)]
    ranges = [(_range(path, order[0]), path) for path in paths]
    if any(found is None for found, _ in ranges):
        return [list(paths)]
    groups: list[list[Path]] = []
    last: int | None = None
    for (first, end), path in sorted(
        ((found, path) for found, path in ranges if found), key=lambda each: each[0]
    ):
        if last is not None and first <= last:
            groups[-1].append(path)
            last = max(last, end)
        else:
            groups.append([path])
            last = end
    # Equal rows keep the order of their files.
    place = {path: number for number, path in enumerate(paths)}
    return [sorted(group, key=place.__getitem__) for group in groups]


def _range(path: Path, column: str) -> tuple[int, int] | None:
    """Return minimum and maximum of a column from the footer; None without statistics."""
    metadata = pq.read_metadata(path)
    place = metadata.schema.names.index(column)
    found = list[int]()
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(place).statistics
        if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, int):
            return None
        found += (statistics.min, statistics.max)
    return (min(found), max(found)) if found else None


def _merged(
    paths: Sequence[Path], schema: pa.Schema, order: Sequence[str], rows_at_once: int
) -> Iterator[pa.Table]:
    """Merge the files of one group."""
    size = max(1, rows_at_once // max(1, len(paths)))
    runs: list[_Run] = []
    try:
        for path in paths:
            metadata = pq.read_metadata(path)
            parquet = pq.ParquetFile(
                path, metadata=metadata, memory_map=True,
                read_dictionary=readable_as_dictionary(metadata, schema),
            )  # fmt: skip
            batches = parquet.iter_batches(-(-size // 2), columns=schema.names)
            runs.append(_Run(parquet, batches, schema, size))
        while pieces := _next_pieces(runs, order):
            yield _sorted(pieces, order)
    finally:
        for run in runs:
            run.parquet.close()


def readable_as_dictionary(metadata: pq.FileMetaData, schema: pa.Schema) -> list[str]:
    """Return the dictionary columns that Arrow can read as such; not all written by DuckDB are."""
    coded = {field.name for field in schema if pa.types.is_dictionary(field.type)}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = (group.column(place) for place in range(group.num_columns))
        coded -= {
            chunk.path_in_schema
            for chunk in chunks
            if any(encoding.startswith("DELTA") for encoding in chunk.encodings)
        }
    return sorted(coded)


@dataclass(slots=True)
class _Run:
    """A sorted file that is read in groups of rows, with a buffer."""

    parquet: pq.ParquetFile
    batches: Iterator[pa.RecordBatch]
    schema: pa.Schema
    size: int
    rows: pa.Table = field(init=False)
    left: int = field(init=False)
    """Number of rows not read yet."""

    def __post_init__(self) -> None:
        self.rows = self.schema.empty_table()
        self.left = self.parquet.metadata.num_rows

    def fill(self) -> None:
        """Read the next rows when half of the buffer has been taken.

        If the buffer were refilled only when empty, the buffers of the files would run out one by
        one, and each time only a few rows of the other files could be returned.
        """
        while self.left and self.rows.num_rows <= self.size // 2:
            batch = pa.Table.from_batches([next(self.batches)])
            batch = batch.select(self.schema.names).cast(self.schema)
            self.rows = pa.concat_tables([self.rows, batch]) if self.rows.num_rows else batch
            self.left -= batch.num_rows

    def take(self, count: int) -> pa.Table:
        """Remove the first rows from the buffer and return them."""
        taken, self.rows = self.rows.slice(0, count), self.rows.slice(count)
        return taken


def _next_pieces(runs: list[_Run], order: Sequence[str]) -> list[pa.Table]:
    """Take the rows that precede all rows not read yet."""
    for run in runs:
        run.fill()
    last = {
        number: _key(run.rows, run.rows.num_rows - 1, order)
        for number, run in enumerate(runs)
        if run.left
    }
    if not last:
        pieces = [run.take(run.rows.num_rows) for run in runs]
    else:
        first = min(last, key=last.__getitem__)
        pieces = [
            # Take all rows of one file, so that a file out of order cannot end the run early.
            # It may continue with rows equal to its last one, which precede those of later files.
            run.take(
                run.rows.num_rows
                if number == first
                else _count_up_to(run.rows, last[first], order, with_equal=number < first)
            )
            for number, run in enumerate(runs)
        ]
    return [piece for piece in pieces if piece.num_rows]


def _key(rows: pa.Table, place: int, order: Sequence[str]) -> tuple[Any, ...]:
    return tuple(rows[name][place].as_py() for name in order)


def _count_up_to(
    rows: pa.Table, bound: tuple[Any, ...], order: Sequence[str], *, with_equal: bool
) -> int:
    """Return the number of rows of a sorted table that are less than or equal to the bound."""
    low, high = 0, rows.num_rows
    while low < high:
        middle = (low + high) // 2
        found = _key(rows, middle, order)
        if found < bound or (with_equal and found == bound):
            low = middle + 1
        else:
            high = middle
    return low


def _sorted(pieces: list[pa.Table], order: Sequence[str]) -> pa.Table:
    if len(pieces) == 1 or not order:
        return pa.concat_tables(pieces)
    rows = pa.concat_tables(pieces).unify_dictionaries().combine_chunks()
    # np.lexsort takes the primary key last.
    keys = [_ranks(rows[name].chunk(0)) for name in reversed(order)]
    return rows.take(pa.array(np.lexsort(keys)))


def _ranks(column: pa.Array) -> NDArray[np.int64]:
    """Return numbers that sort like the values; text sorts by bytes."""
    if pa.types.is_string(column.type):
        column = column.dictionary_encode()
    if not pa.types.is_dictionary(column.type):
        numbers: NDArray[np.int64] = column.to_numpy()
        return numbers
    rank = np.empty(len(column.dictionary), np.int64)
    rank[pc.sort_indices(column.dictionary).to_numpy()] = np.arange(len(rank))
    ranked: NDArray[np.int64] = rank[column.indices.to_numpy()]
    return ranked
