"""Every view of a warehouse as a table, each made of the tables of those that it reads.

To ask a view, DuckDB plans all that it is made of, which takes longer than to answer it from a small
archive. Whoever looks at the rows of all views has them planned once here instead of once in
each view that reads them. That views are answered as they are asked, one within the other, is for
tests that ask them so: tests/test_api.py, tests/sql/test_extreme_numbers.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from tests.made_once import made_once
from warehouse.catalog.dictionaries import make_dictionaries
from warehouse.sqlfiles import by_name, read_models
from warehouse.store.duck import literal

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    import warehouse


def flat(
    factory: pytest.TempPathFactory, name: str, wh: warehouse.Warehouse, *only: str
) -> duckdb.DuckDBPyConnection:
    """Return a database with a table for each view, made once in a run. Not to write to.

    If views are named, for these and for those that they read.
    """
    folder = made_once(
        factory, f"{name}-flat", lambda made: make_tables(wh, made / "tables.duckdb", *only)
    )
    return duckdb.connect(folder / "tables.duckdb", read_only=True)


def make_tables(wh: warehouse.Warehouse, file: Path, *only: str) -> None:
    """Write them into a new file."""
    wanted, waiting = set[str](), list(only)
    while waiting:
        wanted.add(name := waiting.pop())
        waiting += set(by_name(name).depends) - wanted
    session = wh.catalog.session()
    session.execute(f"attach {literal(str(file))} as flat; set search_path = 'flat.main'")
    make_dictionaries(session)
    for model in read_models():
        if only and model.name not in wanted and (model.is_view or model.depends):
            continue
        if model.is_view:
            session.execute(f"create table {model.name} as {model.query}")
        else:
            session.execute(model.sql)
    session.execute("set search_path = 'memory.main'; detach flat")


def planned_once(wh: warehouse.Warehouse, *views: str) -> duckdb.DuckDBPyConnection:
    """Return a session of a warehouse in which each of these views is answered as it is asked, once.

    To plan the larger ones takes a hundred times as long as to read the few rows of a test.
    """
    session = wh.catalog.session()
    for view in views:
        session.execute(f"create temp table {view} as from {view}")
    return session
