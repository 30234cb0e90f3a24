"""Catalogs one after another: in the same database, and each as if it were alone."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.dicom_files import image, write
from warehouse.catalog import databases
from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.cohorts.guard import locked_catalog
from warehouse.store.duck import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry per database that a catalog was opened in anew; none wait at first."""
    made: list[None] = []

    def watched(threads: int | None = None) -> object:
        made.append(None)
        return connect(threads)

    monkeypatch.setattr("warehouse.catalog.connect.connect", watched)
    gc.collect()  # whoever still holds a catalog of an earlier test
    databases._waiting.clear()
    return made


@pytest.fixture
def root(sample: warehouse.Warehouse, opened: list[None]) -> Path:
    """A warehouse of which a process has opened enough catalogs to know what a new one is like."""
    for _ in range(2):
        open_catalog(sample.root)
    opened.clear()
    return sample.root


def state(catalog: Catalog) -> list[object]:
    """Return whatever a question could find in a catalog besides the rows of the warehouse."""
    own = "where database_name not in ('system', 'dicom_warehouse')"
    asked = (
        "select name, value from duckdb_settings() order by all",
        f"select database_name, schema_name, table_name from duckdb_tables() {own}",
        f"select database_name, schema_name, view_name from duckdb_views() {own}",
        f"select database_name, schema_name from duckdb_schemas() {own}",
        f"select database_name, schema_name, function_name from duckdb_functions() {own}",
        f"select database_name, schema_name, type_name from duckdb_types() {own} and not internal",
        f"select database_name, schema_name, sequence_name from duckdb_sequences() {own}",
        "select database_name, readonly from duckdb_databases() order by all",
        "select current_database(), current_schema(), current_setting('search_path')",
    )
    session = catalog.session()
    return [session.execute(query).fetchall() for query in asked]


LEFT = {
    "a table": "create table elements as select 1 as tag",
    "a view": "create view series as select 1 as modality",
    "a macro": "create macro attribute(x) as 'mine'",
    "a type": "create type mood as enum ('x')",
    "a schema": "create schema other; create table other.t (x int)",
    "a sequence": "create sequence counted",
    "a database": "attach ':memory:' as other",
    "a setting": "set global default_null_order = 'nulls_first'",
    "a setting of this session": "set default_null_order = 'nulls_first'",
    "a temporary table": "create temp table instances as select 1 as x",
    "a variable": "set variable stored = {'files': ['/nowhere']}",
    "a bound": "set memory_limit = '1GB'; set temp_directory = '/nowhere'",
    "a lock": "set lock_configuration = true",
    "a database less": "use dicom_warehouse; detach memory",
}


@pytest.mark.parametrize(
    "kinds",
    [
        ["a table", "a macro", "a setting of this session", "a lock"],
        pytest.param(
            [*LEFT],
            marks=pytest.mark.long("test_nothing_that_was_left_in_one_is_found_in_the_next"),
        ),
    ],
    ids=["some", "all"],
)
def test_nothing_that_was_left_in_one_is_found_in_the_next(root: Path, kinds: list[str]) -> None:
    count = "select count(*) from files"
    catalog = open_catalog(root)
    expected = state(catalog)
    files = catalog.connection.execute(count).fetchall()
    for what in kinds:
        catalog.connection.execute(LEFT[what])
        del catalog
        catalog = open_catalog(root)
        assert state(catalog) == expected, what
        assert catalog.connection.execute(count).fetchall() == files, what


def test_a_database_is_used_again(root: Path, opened: list[None]) -> None:
    for left in ("select 1", LEFT["a table"], LEFT["a bound"]):
        catalog = open_catalog(root)
        catalog.connection.execute(left)
        del catalog
    assert not opened
    # Two at once are two databases.
    _both = open_catalog(root), open_catalog(root)
    assert len(opened) <= 1


def test_one_that_was_set_otherwise_or_locked_is_not(
    root: Path, opened: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for left in (LEFT["a setting"], LEFT["a database"]):
        databases._waiting.clear()
        catalog = open_catalog(root)
        catalog.connection.execute(left)
        opened.clear()
        del catalog
        open_catalog(root)
        assert len(opened) == 1, left
    databases._waiting.clear()
    locked_catalog(root)
    opened.clear()
    open_catalog(root)
    assert len(opened) == 1
    # DuckDB takes the time zone of the process when it begins.
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    open_catalog(root)
    assert len(opened) == 2


def test_an_answer_that_is_held_keeps_its_database(root: Path, opened: list[None]) -> None:
    wh = warehouse.open(root)
    held = wh.sql("select Modality, count(*) as series from series group by all order by all")
    frame = wh.table("series")
    expected = held.fetchall()
    databases._waiting.clear()
    catalog = open_catalog(root)
    catalog.connection.execute("create table mine as select 7 as x")
    of_mine = catalog.session().sql("from mine")
    wh.refresh()
    del catalog  # these catalogs have gone; the answers and the frame have not
    assert warehouse.open(root).sql("select 1").fetchall() == [(1,)]
    assert held.fetchall() == expected
    assert of_mine.fetchall() == [(7,)]
    assert frame.collect().height == sum(count for _, count in expected)
    assert opened


def test_each_sees_its_own_warehouse(
    root: Path, opened: list[None], ingest: Callable[..., warehouse.IngestReport], tmp_path: Path
) -> None:
    count = "select count(*) from instances"
    there = open_catalog(root).connection.execute(count).fetchall()
    for number in range(1, 3):
        ingest(write(tmp_path / f"{number}.dcm", image(f"1.2.{number}")))
        other = open_catalog(tmp_path / "warehouse")
        assert other.connection.execute(count).fetchall() == [(number,)]
        del other
        assert open_catalog(root).connection.execute(count).fetchall() == there


def test_one_that_waits_holds_nothing_that_was_read(root: Path) -> None:
    size = "select cast(sum(memory_usage_bytes) as bigint) from duckdb_memory()"
    catalog = open_catalog(root)
    ((before,),) = catalog.connection.execute(size).fetchall()
    catalog.connection.execute("select count(distinct text) from elements").fetchall()
    del catalog
    ((after,),) = databases._waiting[-1].database.execute(size).fetchall()
    assert after < before + 50_000


def test_a_process_that_was_forked_opens_its_own(root: Path) -> None:
    held = open_catalog(root)
    open_catalog(root)
    assert databases._waiting
    child = os.fork()
    if child == 0:
        code = 1
        try:
            waiting = len(databases._waiting)
            del held
            code = 10 + waiting + len(databases._waiting)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert held.connection.execute("select 1").fetchall() == [(1,)]


def test_few_wait(root: Path) -> None:
    _held = [open_catalog(root) for _ in range(5)]
    _held.clear()
    assert 1 <= len(databases._waiting) <= 2
