"""Views that are made once and kept: as good as made anew, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import warehouse
from warehouse.catalog import template
from warehouse.catalog.connect import open_catalog
from warehouse.sqlfiles import read_models


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = template._file  # a test may replace it
    kept.cache_clear()
    yield tmp_path / "cache" / "dicom-warehouse"
    kept.cache_clear()


def described(wh: warehouse.Warehouse) -> list[tuple[object, ...]]:
    """Return every view and column with its comment, and every macro."""
    connection = open_catalog(wh.root).connection
    columns = connection.execute(
        "select table_name, column_name, data_type, comment from duckdb_columns() "
        "where not internal order by all"
    ).fetchall()
    views = connection.execute(
        "select view_name, comment from duckdb_views() where not internal order by all"
    ).fetchall()
    macros = connection.execute(
        "select function_name, parameters from duckdb_functions() "
        "where function_type like '%macro' and not internal order by all"
    ).fetchall()
    return [*columns, *views, *macros]


def test_kept_views_are_those_made_anew(
    sample: warehouse.Warehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = described(sample)
    assert [path.suffix for path in home.iterdir()] == [".duckdb"]
    kept = described(sample)
    monkeypatch.setattr(template, "_file", lambda kept: None)
    assert described(sample) == kept == first
    assert {name for name, *_ in kept} >= {model.name for model in read_models() if model.is_view}


def test_the_file_tells_nothing_about_the_warehouse(
    sample: warehouse.Warehouse, home: Path
) -> None:
    described(sample)
    (kept,) = home.iterdir()
    content = kept.read_bytes()
    assert str(sample.root).encode() not in content
    assert os.path.basename(sample.root.parent).encode() not in content


def test_several_warehouses_are_open_at_once_with_one_file(
    sample: warehouse.Warehouse, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "in").mkdir()
    other = warehouse.open(tmp_path / "w", create=True)
    other.ingest(tmp_path / "in")
    assert sample.sql("select count(*) from files").fetchall() != [(0,)]
    assert other.sql("select count(*) from files").fetchall() == [(0,)]
    assert len(list(home.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"not a database", None])
def test_a_file_that_is_damaged_or_cannot_be_made_is_done_without(
    sample: warehouse.Warehouse, home: Path, content: bytes | None
) -> None:
    expected = sample.sql("select count(*) from series").fetchall()
    kept = template._file(False)
    assert kept is not None
    if content is None:
        home.parent.mkdir()
        home.write_text("a file where the folder should be")
    else:
        home.mkdir(parents=True)
        kept.write_bytes(content)
    catalog = open_catalog(sample.root)
    assert catalog.connection.execute("select count(*) from series").fetchall() == expected


def test_users_may_make_tables_and_views_of_their_own(
    sample: warehouse.Warehouse, home: Path
) -> None:
    connection = open_catalog(sample.root).connection
    connection.execute("create table mine as select 1 as a")
    connection.execute("create view counted as select count(*) as n from series")
    assert connection.execute("select a, n > 0 from mine, counted").fetchall() == [(1, True)]
    with pytest.raises(Exception, match="read-only"):
        connection.execute(f"create table {template.NAME}.main.theirs as select 1 as a")
