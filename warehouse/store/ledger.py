"""The view ``files`` on the ledger, with the rows of small parts cached in memory.

In: the parts of a version. Out: the view ``files``, as by ``warehouse.store.duck.view_files``. Each
commit adds a part of ``files``, and an ingest queries ``files`` five times; with a thousand small
parts each query takes a tenth of a second. Therefore a process keeps the rows of small parts in
memory, and for the next version reads only parts that were added since. Parts are immutable.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa

from warehouse.sqlfiles import by_name
from warehouse.store.duck import set_stored

if TYPE_CHECKING:
    import duckdb

WORTHWHILE = 16
"""Number of small parts from which their rows are cached."""

SMALL_BYTES = 32 << 10

KEPT_ROWS = 100_000
"""Largest number of rows cached per warehouse, some 30 MB."""

_CHUNKS = 64

_kept: dict[str, tuple[frozenset[str], pa.Table]] = {}
"""Path of a warehouse's part of ``files`` without rows → cached parts and their rows."""


def view_ledger(connection: duckdb.DuckDBPyConnection, parts: list[str]) -> None:
    """Create the temporary view `files`, with ``path`` instead of ``file_path``.

    Parameters
    ----------
    parts
        Result of ``warehouse.store.delta.newest_files``.
    """
    names, rows = _small(connection, parts)
    set_stored(connection, {"files": [part for part in parts if part not in names]})
    select = f"select * rename (file_path as path) from ({by_name('files').query})"
    if rows is not None:
        connection.register("small_files", rows)
        select += " union all from small_files"
    connection.execute(f"create or replace temp view files as {select}")


def _small(
    connection: duckdb.DuckDBPyConnection, parts: list[str]
) -> tuple[frozenset[str], pa.Table | None]:
    """Return the parts whose rows are cached, and these rows."""
    empty = parts[-1]
    names, rows = _kept.get(empty, (frozenset[str](), None))
    # If a part was removed, for example because a file was read again, read all parts again.
    if not names <= set(parts):
        names, rows = frozenset(), None
    new = [part for part in parts if part not in names and part != empty]
    if len(names) + len(new) < WORTHWHILE or (rows is not None and rows.num_rows > KEPT_ROWS):
        return names, rows
    new = [part for part in new if os.stat(part).st_size <= SMALL_BYTES]
    if new:
        set_stored(connection, {"files": [*new, empty]})
        select = f"select * rename (file_path as path) from ({by_name('files').query})"
        read = connection.sql(select).to_arrow_table()
        rows = read if rows is None else pa.concat_tables([rows, read])
        if rows.column(0).num_chunks > _CHUNKS:
            rows = rows.combine_chunks()
        names = names | set(new)
        if len(_kept) >= _CHUNKS:
            _kept.clear()
        _kept[empty] = names, rows
    return names, rows
