"""Views that are made once and kept: as good as made anew, and never in the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.golden.test_layout_1 import unpacked
from warehouse.catalog import template
from warehouse.catalog.connect import open_catalog
from warehouse.sqlfiles import Model, read_models

if TYPE_CHECKING:
    from collections.abc import Iterable


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


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """Have few views instead of all, which take as long as a hundred tests to make."""
    needed = needed_by("series")
    monkeypatch.setattr(template, "read_models", lambda: needed)
    return needed


def first_opened(
    sample: warehouse.Warehouse, folder: Path, models: list[Model]
) -> tuple[Path, list[tuple[object, ...]]]:
    """Return the folder of views that an opening made in an empty home, and what it found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(template, "read_models", lambda: models)
        template._file.cache_clear()
        found = described(sample)
        file = template._file("views")
    template._file.cache_clear()
    assert file is not None
    return file.parent, found


@pytest.fixture(scope="module")
def first(
    sample: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[object, ...]]]:
    """What the first opening made and found, of few views."""
    return first_opened(sample, tmp_path_factory.mktemp("first"), needed_by("series"))


@pytest.fixture
def second(few: list[Model], first: tuple[Path, list[tuple[object, ...]]], home: Path) -> Path:
    """A home in which the views were made before."""
    shutil.copytree(first[0], home)
    return home


@pytest.mark.long("test_few_kept_views_are_those_made_anew")
def test_kept_views_are_those_made_anew(
    sample: warehouse.Warehouse, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, found = first_opened(sample, tmp_path / "first", list(read_models()))
    shutil.copytree(made, home)
    require_that_kept_are_those_made_anew(sample, home, found, read_models(), monkeypatch)
    require_nothing_about_the_warehouse(sample, made)


def test_few_kept_views_are_those_made_anew(
    sample: warehouse.Warehouse, first: tuple[Path, list[tuple[object, ...]]], second: Path,
    few: list[Model], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    require_that_kept_are_those_made_anew(sample, second, first[1], few, monkeypatch)


def require_that_kept_are_those_made_anew(
    sample: warehouse.Warehouse, second: Path, found: list[tuple[object, ...]],
    models: Iterable[Model], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Open with the views of a home, and without; both find what the first opening did."""
    assert [path.suffix for path in second.iterdir()] == [".duckdb"]
    made = {path: path.stat().st_mtime_ns for path in second.iterdir()}
    kept = described(sample)
    assert {path: path.stat().st_mtime_ns for path in second.iterdir()} == made
    monkeypatch.setattr(template, "_file", lambda kept: None)
    assert described(sample) == kept == found
    assert {name for name, *_ in kept} >= {model.name for model in models if model.is_view}


def test_the_file_tells_nothing_about_the_warehouse(
    sample: warehouse.Warehouse, first: tuple[Path, list[tuple[object, ...]]]
) -> None:
    require_nothing_about_the_warehouse(sample, first[0])


def require_nothing_about_the_warehouse(sample: warehouse.Warehouse, folder: Path) -> None:
    (kept,) = folder.iterdir()
    content = kept.read_bytes()
    assert str(sample.root).encode() not in content
    assert os.path.basename(sample.root.parent).encode() not in content


def test_several_warehouses_are_open_at_once_with_one_file(
    sample: warehouse.Warehouse, tmp_path: Path, second: Path
) -> None:
    (tmp_path / "in").mkdir()
    other = warehouse.open(tmp_path / "w", create=True)
    other.ingest(tmp_path / "in")
    # `sample` itself stays as it is: it would have few views for the tests that follow.
    for opened in [warehouse.open(sample.root) for _ in range(2)]:
        assert opened.sql("select count(*) from files").fetchall() != [(0,)]
    assert other.sql("select count(*) from files").fetchall() == [(0,)]
    assert len(list(second.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"not a database", None])
def test_a_file_that_is_damaged_or_cannot_be_made_is_done_without(
    tmp_path: Path, home: Path, content: bytes | None, few: list[Model]
) -> None:
    # Of all models only those that are asked: whoever is without the file makes each of them.
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
    assert set(made.fetchall()) >= {(model.name,) for model in few if model.is_view}
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
