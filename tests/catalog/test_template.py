"""Views that are made once and kept: as good as made anew, and never in the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import warehouse
from tests.golden.test_layout_1 import unpacked
from warehouse.catalog import template
from warehouse.catalog.connect import open_catalog
from warehouse.sqlfiles import Model, read_models


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


def needed_by(*asked: str) -> list[Model]:
    """Return models after all those they need."""
    names = set(asked)
    for model in reversed(read_models()):
        if model.name in names:
            names |= set(model.depends)
    return [
        model
        for model in read_models()
        if model.name in names or not (model.is_view or model.depends)
    ]


@pytest.fixture(scope="module")
def first(
    sample: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[object, ...]]]:
    """The folder of views that the first opening made in an empty home, and what it found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("first")))
        template._file.cache_clear()
        found = described(sample)
        file = template._file("views")
    template._file.cache_clear()
    assert file is not None
    return file.parent, found


@pytest.fixture
def second(first: tuple[Path, list[tuple[object, ...]]], home: Path) -> Path:
    """A home in which the views were made before: to make them takes as long as a hundred tests."""
    shutil.copytree(first[0], home)
    return home


def test_kept_views_are_those_made_anew(
    sample: warehouse.Warehouse, first: tuple[Path, list[tuple[object, ...]]], second: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert [path.suffix for path in second.iterdir()] == [".duckdb"]
    made = {path: path.stat().st_mtime_ns for path in second.iterdir()}
    kept = described(sample)
    assert {path: path.stat().st_mtime_ns for path in second.iterdir()} == made
    monkeypatch.setattr(template, "_file", lambda kept: None)
    assert described(sample) == kept == first[1]
    assert {name for name, *_ in kept} >= {model.name for model in read_models() if model.is_view}


def test_the_file_tells_nothing_about_the_warehouse(
    sample: warehouse.Warehouse, first: tuple[Path, list[tuple[object, ...]]]
) -> None:
    (kept,) = first[0].iterdir()
    content = kept.read_bytes()
    assert str(sample.root).encode() not in content
    assert os.path.basename(sample.root.parent).encode() not in content


def test_several_warehouses_are_open_at_once_with_one_file(
    sample: warehouse.Warehouse, tmp_path: Path, second: Path
) -> None:
    (tmp_path / "in").mkdir()
    other = warehouse.open(tmp_path / "w", create=True)
    other.ingest(tmp_path / "in")
    assert warehouse.open(sample.root).sql("select count(*) from files").fetchall() != [(0,)]
    assert sample.sql("select count(*) from files").fetchall() != [(0,)]
    assert other.sql("select count(*) from files").fetchall() == [(0,)]
    assert len(list(second.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"not a database", None])
def test_a_file_that_is_damaged_or_cannot_be_made_is_done_without(
    tmp_path: Path, home: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of all models only those that are asked: whoever is without the file makes each of them.
    needed = needed_by("series")
    monkeypatch.setattr(template, "read_models", lambda: needed)
    root = unpacked(tmp_path / "w")
    kept = template._file("views")
    assert kept is not None
    if content is None:
        home.parent.mkdir()
        home.write_text("a file where the folder should be")
    else:
        home.mkdir(parents=True)
        kept.write_bytes(content)
    catalog = open_catalog(root)
    assert catalog.connection.execute("select count(*) from series").fetchall() == [(3,)]
    made = catalog.connection.execute("select view_name from duckdb_views() where not internal")
    assert set(made.fetchall()) >= {(model.name,) for model in needed if model.is_view}
    assert not (home.is_dir() and kept.read_bytes() != content)


@pytest.mark.usefixtures("second")
def test_users_may_make_tables_and_views_of_their_own(
    sample: warehouse.Warehouse,
) -> None:
    connection = open_catalog(sample.root).connection
    connection.execute("create table mine as select 1 as a")
    connection.execute("create view counted as select count(*) as n from series")
    assert connection.execute("select a, n > 0 from mine, counted").fetchall() == [(1, True)]
    with pytest.raises(Exception, match="read-only"):
        connection.execute(f"create table {template.NAME}.main.theirs as select 1 as a")
