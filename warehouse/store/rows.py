"""Write sorted rows in memory as one Parquet file.

In: a table in the sort order of the store. Out: a file. Rows are not sorted here: a general sort
costs more than reading all headers. The caller chooses the location of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROW_GROUP_ROWS = 122_880
"""DuckDB's row group size; smaller ones slow down queries, larger ones the look-up of one file."""

BATCH_ROWS = 16_384
"""Rows passed to the encoder at a time; Arrow's default of 1,024 takes a fifth longer."""

_LEVEL = 6
"""zstd compression level: 4 % smaller than the default in the same time, as pages are small."""

_FEW = 32
"""Dictionaries up to this size are written with their unused entries."""


def write_rows(rows: pa.Table, path: str) -> None:
    """Write rows as zstd Parquet; dictionaries are an encoding only, readers see plain strings.

    This is two to four times as fast as the writers of Polars and DuckDB, at about the same size,
    because columns need not be hashed again (docs/decisions/0006-arrow-writes-the-long-table.md).
    """
    write_pieces([rows], rows.schema, path)


def write_pieces(pieces: Iterable[pa.Table], schema: pa.Schema, path: str) -> None:
    """Write consecutive tables as one file, like ``write_rows``."""
    names = schema.names
    ids = tables.id_columns()
    plain = [name for name in names if name not in ids]
    # Ids increase within each tag or name, so nearly all differences are equal.
    delta = {name: "DELTA_BINARY_PACKED" for name in names if name in ids}
    searched = tables.searched_columns()
    statistics = [name for name in names if name in searched]
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=_LEVEL, version="2.6",
        data_page_version="2.0",
        use_dictionary=plain, column_encoding=delta, write_statistics=statistics,
        store_schema=False,
        write_batch_size=BATCH_ROWS,
    ) as writer:  # fmt: skip
        for group in _row_groups(pieces):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)


def _row_groups(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Re-chunk tables into row groups; only the last one may be short."""
    held: pa.Table | None = None
    for piece in pieces:
        held = pa.concat_tables([held, piece]) if held else piece
        held = held.unify_dictionaries().combine_chunks()
        full = held.num_rows - held.num_rows % ROW_GROUP_ROWS
        for start in range(0, full, ROW_GROUP_ROWS):
            yield _compact(held.slice(start, ROW_GROUP_ROWS))
        held = held.slice(full)
    if held:
        yield _compact(held)


def _compact(group: pa.Table) -> pa.Table:
    for number, field in enumerate(group.schema):
        if pa.types.is_dictionary(field.type):
            group = group.set_column(number, field, _only_used(group.column(number)))
    return group


def _only_used(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Drop unused dictionary entries: each row group stores its own dictionary."""
    return pa.chunked_array([_only_used_of(chunk) for chunk in column.chunks], column.type)


def _only_used_of(array: pa.DictionaryArray) -> pa.DictionaryArray:
    if len(array.dictionary) <= _FEW:
        return array
    codes = array.indices
    values = (codes.fill_null(0) if codes.null_count else codes).to_numpy()
    used = np.flatnonzero(np.bincount(values, minlength=len(array.dictionary)))
    number = np.zeros(len(array.dictionary), np.int32)
    number[used] = np.arange(len(used))
    missing = codes.is_null().to_numpy(zero_copy_only=False) if codes.null_count else None
    return pa.DictionaryArray.from_arrays(
        pa.array(number[values], mask=missing), array.dictionary.take(pa.array(used))
    )
