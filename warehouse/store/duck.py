"""DuckDB connections without network access, and Parquet files written by DuckDB."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb

from warehouse.errors import WriteFailed
from warehouse.sqlfiles import by_name
from warehouse.store import layout
from warehouse.store.layout import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

ROW_GROUP_ROWS = 122_880
"""Rows in a Parquet row group: DuckDB's own unit, which makes its scans parallel."""

# Version 2 pages delta-encode the sorted key: 2.7 times smaller than version 1 (see docs).
_FORMAT = f"(format parquet, compression zstd, parquet_version v2, row_group_size {ROW_GROUP_ROWS})"


def connect(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that neither installs nor loads extensions."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(config=config)
    be_quiet(connection)
    return connection


def be_quiet(connection: duckdb.DuckDBPyConnection) -> None:
    """Turn off DuckDB's progress bar."""
    # In a script without a file (python -c) DuckDB draws one after two seconds. In a notebook
    # without ipywidgets there is none, and turning it off raises an error.
    with contextlib.suppress(duckdb.InvalidInputException):
        connection.execute("set enable_progress_bar = false")


@dataclass(frozen=True, slots=True)
class _Database:
    connection: duckdb.DuckDBPyConnection
    tables: set[str] = field(default_factory=set)
    """Stored tables that have a view in the database."""


_idle: list[_Database] = []
"""Pool of empty databases: opening and closing one takes as long as a small commit."""
_IDLE_KEPT = 2
_of_parent: list[_Database] = []
"""Databases inherited by fork, whose threads do not exist; they must be neither used nor closed."""


def _leave_to_parent() -> None:
    _of_parent.extend(_idle)
    _idle.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextlib.contextmanager
def lent(
    stored: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a connection to an empty database of the pool, used by no other thread.

    It is meant for a few statements: tables created in it are dropped afterwards. Do not change
    settings, which belong to the database and would persist.

    Parameters
    ----------
    stored
        Stored table → its Parquet files; a view is created for each table.
    """
    try:
        database = _idle.pop()
    except IndexError:
        database = _Database(connect())
    connection = database.connection.cursor()
    try:
        connection.execute(f"attach ':memory:' as {_LENT}; use {_LENT}")
        if stored is not None:
            set_stored(connection, stored)
            _find_stored(database, connection, stored)
        yield connection
        connection.close()
        database.connection.execute(f"detach {_LENT}")
    except BaseException:
        # The state of the database is unknown, so it does not return to the pool.
        connection.close()
        database.connection.close()
        raise
    if len(_idle) < _IDLE_KEPT:
        _idle.append(database)
    else:
        database.connection.close()


def _find_stored(
    database: _Database, connection: duckdb.DuckDBPyConnection, tables: Iterable[str]
) -> None:
    """Create views of stored tables, which stay in the database for the next user.

    The views read the files listed in a variable of the connection, so they work for any warehouse.
    Creating one takes as long as most queries.
    """
    for table in tables:
        if table not in database.tables:
            query = by_name(table).query
            connection.execute(f"create or replace view memory.main.{table} as {query}")
            database.tables.add(table)
    connection.execute(f"set search_path = '{_LENT}.main,memory.main'")


_LENT = "lent"


def cursor(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return another connection to the same tables, except temporary ones."""
    database = connection.execute("select current_database()").fetchall()[0][0]
    another = connection.cursor()
    another.execute(f"use {literal(database)}")
    return another


Variable: TypeAlias = "str | Mapping[str, Sequence[str]]"


def set_variables(connection: duckdb.DuckDBPyConnection, variables: Mapping[str, Variable]) -> None:
    """Set variables of this connection, which views read."""
    for name, value in variables.items():
        connection.execute(f"set variable {name} = $1", [value])


def set_stored(connection: duckdb.DuckDBPyConnection, parts: Mapping[str, Sequence[str]]) -> None:
    """Set the variable `stored`: table → Parquet files, which the views of layer 1 read.

    One variable for all tables, because setting one takes a tenth of a millisecond.
    """
    set_variables(connection, {"stored": parts})


def view_files(connection: duckdb.DuckDBPyConnection, parts: list[str]) -> None:
    """Create the view `files` on these parts, with ``path`` instead of ``file_path``."""
    set_stored(connection, {"files": parts})
    query = by_name("files").query
    connection.execute(
        f"create or replace view files as select * rename (file_path as path) from ({query})"
    )


MEMORY_LIMIT = "1GB"
"""Memory limit of a bounded connection, which then spills to the temporary folder."""


def bound(connection: duckdb.DuckDBPyConnection) -> None:
    """Limit the memory of a connection, and let it spill to disk; the default is 80 % of memory."""
    connection.execute(f"set memory_limit = {literal(MEMORY_LIMIT)}")
    connection.execute(f"set temp_directory = {literal(spill_folder(os.getpid()))}")


def spill_folder(process: int) -> str:
    """Return the folder to which the connections of a process spill."""
    return os.path.join(tempfile.gettempdir(), f"dicom-warehouse-{process}")


def literal(text: str) -> str:
    """Quote a string for places where SQL takes no parameter, such as the target of COPY.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def columns_for_json(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Return the columns of a query with null for NaN and infinity, which JSON does not have.

    Parameters
    ----------
    connection
        Connection that can run the query.
    query
        A SELECT without a semicolon.
    """
    relation = connection.sql(query)
    columns = ['"' + name.replace('"', '""') + '"' for name in relation.columns]
    return ", ".join(
        f"{_finite(column, kind)} as {column}"
        for column, kind in zip(columns, relation.types, strict=True)
    )


def _finite(value: str, kind: Any, depth: int = 0) -> str:
    """Return an expression that replaces NaN and infinite numbers in a value by null."""
    if str(kind) == "JSON":
        # DuckDB accepts NaN as JSON: store such a value as text.
        outside = f"""regexp_replace(cast({value} as varchar), '"([^"\\\\]|\\\\.)*"', '', 'g')"""
        is_json = f"not regexp_matches({outside}, 'nan|inf', 'i')"
        return f"if({is_json}, {value}, to_json(cast({value} as varchar)))"
    if not re.search(r"DOUBLE|FLOAT", str(kind)):
        return value
    if kind.id in {"double", "float"}:
        return f"if(isfinite({value}), {value}, null)"
    if kind.id in {"list", "array"}:
        each = f"each{depth}"
        inner = _finite(each, kind.children[0][1], depth + 1)
        return f"list_transform(cast({value} as {kind.children[0][1]}[]), lambda {each}: {inner})"
    if kind.id == "struct":
        fields = ", ".join(
            f"{name} := {_finite(f'{value}.{name}', inner, depth)}"
            for name, inner in (('"' + n.replace('"', '""') + '"', k) for n, k in kind.children)
        )
        return f"if({value} is null, null, struct_pack({fields}))"
    if kind.id == "map":
        each = f"each{depth}"
        # JSON keys are always text.
        inner = _finite(f"{each}.value", kind.children[1][1], depth + 1)
        pair = f"struct_pack(k := {each}.key, v := {inner})"
        return f"map_from_entries(list_transform(map_entries({value}), lambda {each}: {pair}))"
    # A union or a user-defined type: store it as text, so that no number loses precision.
    return f"cast({value} as varchar)"


def copy_part(connection: duckdb.DuckDBPyConnection, select: str, folder: Path, part: str) -> Part:
    """Write the rows of a SELECT as one part of a table, like ``copy_to``."""
    made = copy_to(connection, select, folder, part)
    return replace(made, path=layout.sealed(folder, made.path))


def copy_to(connection: duckdb.DuckDBPyConnection, select: str, folder: Path, part: str) -> Part:
    """Write the rows of a SELECT as one Parquet file.

    Raises
    ------
    WriteFailed
        The file could not be written; a partial file is deleted.
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
