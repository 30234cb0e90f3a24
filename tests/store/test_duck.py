"""A database that is lent is empty, and that of whoever borrows it alone."""

from __future__ import annotations

import os
import threading

import duckdb
import pytest

from warehouse.store import duck


@pytest.fixture(autouse=True)
def _none_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duck, "_idle", [])


def databases(connection: duckdb.DuckDBPyConnection) -> set[str]:
    asked = "select database_name from duckdb_databases() where not internal"
    return {name for (name,) in connection.execute(asked).fetchall()}


def test_what_is_made_in_it_is_gone_for_the_next() -> None:
    made = (
        "create table t as select 1 as a", "create temp table u as select 1 as a",
        "create view v as from t", "create temp view w as from u", "create macro m(x) as x + 1",
        "create macro n() as table from t", "create schema s", "create type k as enum ('a')",
        "create sequence q", "set variable x = 1", "prepare p as select 1",
    )  # fmt: skip
    counts = []
    for _ in range(3):
        with duck.lent() as connection:
            assert connection.execute("select getvariable('x')").fetchall() == [(None,)]
            for statement in made:
                connection.execute(statement)
            connection.register("r", connection.sql("from t").to_arrow_table())
            assert connection.sql("select m(a) from r").fetchall() == [(2,)]
            with duck.cursor(connection) as other:
                assert other.sql("from v").fetchall() == [(1,)]
            # An answer that is not read to its end.
            connection.execute("from range(100000)").fetchone()
            counts.append(len(databases(connection)))
        assert len(duck._idle) == 1
    assert counts == [2, 2, 2]


def test_two_at_once_are_two() -> None:
    with duck.lent() as first, duck.lent() as second:
        first.execute("create table t as select 1 as a")
        with pytest.raises(duckdb.CatalogException):
            second.execute("from t")
        with duck.lent() as third:
            third.execute("create table t as select 2 as a")
            assert first.execute("from t").fetchall() == [(1,)]
    assert len(duck._idle) == duck._IDLE_KEPT


def test_after_an_error_nobody_gets_it() -> None:
    with pytest.raises(duckdb.ConversionException), duck.lent() as connection:
        connection.execute("select cast('x' as integer)").fetchall()
    assert duck._idle == []
    with pytest.raises(duckdb.ConnectionException):
        connection.execute("select 1")


def test_threads_share_none() -> None:
    seen, errors = [], []

    def work() -> None:
        try:
            for number in range(20):
                with duck.lent() as connection:
                    connection.execute(f"create table t as select {number} as a")
                    seen.append(connection.execute("from t").fetchall() == [(number,)])
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, len(seen), all(seen)) == ([], 80, True)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_its_own() -> None:
    """That of its parent lacks its threads there: a query would wait for them for ever."""
    with duck.lent() as connection:
        connection.execute("select 1").fetchall()
    assert duck._idle
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with duck.lent() as connection:
                rows = connection.execute("select sum(range) from range(1000000)").fetchall()
            code = int(rows != [(499999500000,)])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with duck.lent() as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]
