"""DuckDB connections that never reach for the network, and files written by them."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import duckdb

from warehouse.errors import WriteFailed
from warehouse.sqlfiles import by_name
from warehouse.store.layout import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROW_GROUP_ROWS = 122_880
"""Rows of a Parquet row group: DuckDB's own unit, so that its scans are parallel."""

# Version 2 pages delta-encode the sorted key: 2.7 times smaller than version 1 (see docs).
_FORMAT = f"(format parquet, compression zstd, parquet_version v2, row_group_size {ROW_GROUP_ROWS})"


def connect(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database; all extensions it may use are built in."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if threads is not None:
        config["threads"] = threads
    return duckdb.connect(config=config)


def set_variables(
    connection: duckdb.DuckDBPyConnection, variables: Mapping[str, str | list[str]]
) -> None:
    """Set variables that views read; another connection to the same database does not see them."""
    for name, value in variables.items():
        connection.execute(f"set variable {name} = $1", [value])


def view_files(connection: duckdb.DuckDBPyConnection, parts: list[str]) -> None:
    """Make the view `files` over these parts of its table."""
    connection.execute("set variable files_files = $1", [parts])
    connection.execute(by_name("files").sql)


MEMORY_LIMIT = "1GB"
"""What a bounded connection may hold; beyond it, it spills into the folder of TMPDIR."""


def bound(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection spill to disk rather than fill the memory, which DuckDB takes 80 % of."""
    spill = os.path.join(tempfile.gettempdir(), f"dicom-warehouse-{os.getpid()}")
    connection.execute(f"set memory_limit = {literal(MEMORY_LIMIT)}")
    connection.execute(f"set temp_directory = {literal(spill)}")


def literal(text: str) -> str:
    """Quote a string where SQL takes no parameter, as in the target of COPY.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def columns_for_json(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Return the columns of a query with null for NaN and infinity, which JSON does not have.

    Parameters
    ----------
    connection
        Where the query can be asked.
    query
        A SELECT without a semicolon.
    """
    shown = []
    for name, kind, *_ in connection.execute(f"describe {query}").fetchall():
        column = '"' + name.replace('"', '""') + '"'
        if kind in {"DOUBLE", "FLOAT"}:
            shown.append(f"if(isfinite({column}), {column}, null) as {column}")
        elif kind in {"DOUBLE[]", "FLOAT[]"}:
            each = f"list_transform({column}, lambda number: if(isfinite(number), number, null))"
            shown.append(f"{each} as {column}")
        else:
            shown.append(column)
    return ", ".join(shown)


def copy_to(connection: duckdb.DuckDBPyConnection, select: str, folder: Path, part: str) -> Part:
    """Write the answer of a SELECT as one Parquet file.

    Raises
    ------
    WriteFailed
        The file could not be written; what was begun is removed.
    """
    target = folder / part
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(f"copy ({select}) to {literal(str(target))} {_FORMAT}")
        rows = connection.fetchall()[0][0]
        return Part(part, rows, os.path.getsize(target))
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        target.unlink(missing_ok=True)
        raise WriteFailed(f"rows of {folder.name}", error) from error
