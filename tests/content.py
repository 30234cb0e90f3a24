"""What a warehouse holds, without what may differ between two ways to the same content.

Batch, instance_id and reader depend on the order in which files were read; nothing else may.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from warehouse.sqlfiles import by_name, read_checks
from warehouse.store import delta
from warehouse.store.duck import connect, set_stored

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb


COLUMNS = {
    "files": "* exclude (batch, instance_id, reader)",
    "instances": "* exclude (batch, instance_id)",
    "blobs": "* exclude (batch)",
}
READ = (*COLUMNS, "elements", "vendor_payloads", "vendor_values")


def content(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all stored tables, sorted; of every version must hold what ``sound`` says."""
    connection = opened(root)
    answers = {
        table: connection.execute(f"select {columns} from {table}").fetchall()
        for table, columns in COLUMNS.items()
    }
    answers["elements"] = connection.execute(
        "select instance_key, elements.* exclude (batch, instance_id)"
        " from elements join instances using (instance_id)"
    ).fetchall()
    answers["vendor_elements"] = connection.execute(
        "select instance_key, vendor_elements.* exclude (batch, instance_id, payload)"
        " from vendor_elements join instances using (instance_id)"
    ).fetchall()
    sound(connection)
    return {table: sorted(rows, key=repr) for table, rows in answers.items()}


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this process: to open one takes as long as all the questions."""
    return connect(threads=1)


def opened(root: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with what files fill of the stored tables, read into memory once."""
    snapshot = delta.snapshot(root)
    connection = _database().cursor()
    set_stored(connection, {table: snapshot.paths(table) for table in READ})
    for table in READ:
        connection.execute(f"create temp table {table} as {by_name(table).query}")
    vendor_elements = by_name("vendor_elements").query
    connection.execute(f"create temp view vendor_elements as {vendor_elements}")
    return connection


def parts(root: Path) -> dict[str, int]:
    """Return every Parquet file of the newest version with its time of change."""
    snapshot = delta.snapshot(root)
    files = [path for table in snapshot.parts for path in snapshot.paths(table)]
    return {path: os.stat(path).st_mtime_ns for path in files}


_checks = cache(read_checks)


def sound(connection: duckdb.DuckDBPyConnection) -> None:
    """Check what must hold in every version: the checks of sql/checks, no blob too many."""
    for check in _checks():
        if set(check.depends) <= {*COLUMNS, "elements"}:
            assert connection.execute(check.sql).fetchall() == [], check.name
    unused = "from blobs where sha256 not in (select sha256 from elements where length > 256)"
    assert connection.execute(unused).fetchall() == []
