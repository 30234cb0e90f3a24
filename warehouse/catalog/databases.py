"""A pool of DuckDB databases with the views attached, for reuse by the next catalog.

In: a database with the views attached. Out: the same database, without objects or settings that its
user has added. Opening a database and attaching the views takes 35 ms of CPU time; checking a used
one takes 5 ms. A process that queries after each commit, or opens one warehouse after another, pays
the higher cost only once.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from warehouse.catalog.template import NAME
from warehouse.store.duck import be_quiet

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 2
"""Maximum number of databases in the pool; each takes 14 MB."""

_STATE = (
    "select name, value from duckdb_settings()",
    "select database_name, path from duckdb_databases() order by all",
    "select extension_name from duckdb_extensions() where loaded order by all",
)
"""Queries for the state of a database. They run one by one: planning them as one query takes as
long as running two of them."""
_SET_BY_US = ("memory_limit", "temp_directory")  # store.duck.bound


class _Waiting(NamedTuple):
    file: Path
    """The file with the views that is attached."""
    zone: str | None
    """Time zone of the process when it was opened."""
    database: duckdb.DuckDBPyConnection


_waiting: list[_Waiting] = []
_of_parent: list[duckdb.DuckDBPyConnection] = []
"""Databases inherited by fork, whose threads do not exist; they must be neither used nor closed."""
_as_new: dict[tuple[Path, str | None], tuple[object, ...]] = {}
"""State of a database that has not been used yet."""


def _leave_to_parent() -> None:
    _of_parent.extend(each.database for each in _waiting)
    _waiting.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def return_to_pool(user: object, connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Return a database to the pool when its user is garbage-collected.

    Parameters
    ----------
    user
        The only object that opens connections to the database.
    connection
        A connection to the database.
    file
        The file with views that is attached.
    """
    waiting = _Waiting(file, os.environ.get("TZ"), connection.cursor())
    if _waiting and waiting[:2] not in _as_new:
        # This is the second new database of this process, so more are likely to follow.
        _as_new[waiting[:2]] = _state(waiting.database)
    weakref.finalize(user, _wait, waiting, os.getpid()).atexit = False


def _wait(waiting: _Waiting, process: int) -> None:
    """Add a database to the pool; runs in the thread that drops the last reference to its user."""
    if process != os.getpid():
        _of_parent.append(waiting.database)
        return
    _waiting.append(waiting)
    if len(_waiting) > _KEPT:
        _waiting.pop(0)


def from_pool(file: Path) -> duckdb.DuckDBPyConnection | None:
    """Return a connection to a pooled database with these views, or None.

    Objects that a user created in it are gone. A database is not reused if its settings were
    changed, or if results of it still exist; it is closed together with them.
    """
    key = (file, os.environ.get("TZ"))
    if key not in _as_new:
        return None
    for _ in range(len(_waiting)):
        try:
            waiting = _waiting.pop()
        except IndexError:
            break  # another thread was faster
        if waiting[:2] != key:
            _waiting.insert(0, waiting)
            continue
        try:
            if _is_as_new(waiting.database, _as_new[key]):
                connection = waiting.database.cursor()
                be_quiet(connection)
                return connection
        except duckdb.Error:
            # For example, its configuration is locked: do not reuse it.
            continue
    return None


def _is_as_new(database: duckdb.DuckDBPyConnection, state: tuple[object, ...]) -> bool:
    if database.execute("from duckdb_connection_count()").fetchall() != [(1,)]:
        return False
    for name in _SET_BY_US:
        database.execute(f"reset {name}")
    # This drops its tables, views, macros and schemas too.
    database.execute(f"use {NAME}; detach memory; attach ':memory:' as memory; use memory")
    return _state(database) == state


def _state(database: duckdb.DuckDBPyConnection) -> tuple[object, ...]:
    cursor = database.cursor()
    return tuple(tuple(cursor.execute(question).fetchall()) for question in _STATE)
