"""What users hold in a notebook."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import warehouse
from tests.dicom_files import write
from tests.flat import flat
from warehouse.errors import QueryFailed, UnknownTable, UsageError
from warehouse.sqlfiles import read_models

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

VIEWS = [model for model in read_models() if model.is_view]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("empty")
    (folder / "in").mkdir()
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in")
    return wh


@pytest.fixture(scope="module")
def tables_of_empty(
    empty: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> duckdb.DuckDBPyConnection:
    """The rows of every view of the empty warehouse, each as a table."""
    return flat(tmp_path_factory, "empty", empty)


@pytest.mark.acceptance("D72")
@pytest.mark.parametrize("name", [model.name for model in VIEWS])
def test_every_table_has_the_columns_of_its_lazy_frame(
    sample: warehouse.Warehouse, tables_of_sample: duckdb.DuckDBPyConnection, name: str
) -> None:
    answer = tables_of_sample.sql(f"from {name} limit 0").pl()
    assert sample.table(name).collect_schema() == answer.schema


READ = {name for model in VIEWS for name in model.depends}
"""By a view, which is asked with all that it reads."""
ASKED = {"patients", "studies", "series", "instances", "frames"}


@pytest.mark.acceptance("D72")
@pytest.mark.parametrize("name", [
    model.name if model.table or model.name in ASKED
    else pytest.param(model.name, marks=pytest.mark.slow if model.name in READ else
                      pytest.mark.long(
                          "test_every_table_is_a_lazy_frame_equal_to_the_answer_of_duckdb"
                      ))
    for model in VIEWS
])  # fmt: skip
def test_every_table_is_a_lazy_frame_equal_to_the_answer_of_duckdb(
    sample: warehouse.Warehouse, tables_of_sample: duckdb.DuckDBPyConnection, name: str
) -> None:
    model = next(model for model in VIEWS if model.name == name)
    frame = sample.table(name)
    assert isinstance(frame, pl.LazyFrame)
    # The frame of a view is asked as it is, one within the other; so is nothing else here.
    asked = sample.sql if model.table else tables_of_sample.sql
    answer = asked(f"from {name}").pl()
    assert frame.collect_schema() == answer.schema
    keys = list(model.grain)
    assert_frame_equal(frame.collect().sort(keys), answer.sort(keys))
    # All was read: nothing is unread.
    assert (answer.height > 0) != name.startswith("unread")


@pytest.mark.parametrize("name", ["files", "elements", "series", "sockets", "job_times"])
def test_some_views_of_an_empty_warehouse_answer_with_no_rows(
    empty: warehouse.Warehouse, name: str
) -> None:
    answers_with_no_rows(empty.catalog.session(), name)


@pytest.mark.long("test_some_views_of_an_empty_warehouse_answer_with_no_rows")
@pytest.mark.parametrize("name", [model.name for model in VIEWS if model.table or model.depends])
def test_every_view_of_an_empty_warehouse_answers_with_no_rows(
    tables_of_empty: duckdb.DuckDBPyConnection, name: str
) -> None:
    answers_with_no_rows(tables_of_empty, name)


def answers_with_no_rows(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    # The seven default sockets are in every warehouse.
    rows = 7 if name == "sockets" else 0
    answer = connection.execute(f"from {name}")
    types = [(column, str(kind)) for column, kind, *_ in answer.description or ()]
    assert len(answer.fetchall()) == rows
    model = next(model for model in VIEWS if model.name == name)
    assert types == [(column.name, column.type) for column in model.columns]


def test_frames_of_an_empty_warehouse_have_their_columns(empty: warehouse.Warehouse) -> None:
    for name in ("files", "series", "patients", "sockets"):
        frame = empty.table(name)
        answer = frame.collect()
        assert answer.height == (7 if name == "sockets" else 0)
        assert answer.schema == frame.collect_schema()


def test_filters_and_columns_can_be_pushed_into_a_table(sample: warehouse.Warehouse) -> None:
    lazy = sample.table("elements").filter(pl.col("keyword") == "Modality").select("text")
    expected = sample.sql("select text from elements where keyword = 'Modality'").pl()
    assert sorted(lazy.collect()["text"].to_list()) == sorted(expected["text"].to_list())


def test_names_of_tables_ignore_case(sample: warehouse.Warehouse) -> None:
    assert sample.table("Series").collect_schema() == sample.table("series").collect_schema()


@pytest.mark.parametrize(("name", "hint"), [("serie", "similar: series"), ("zzz", "known: ")])
def test_an_unknown_table_names_similar_ones(
    sample: warehouse.Warehouse, name: str, hint: str
) -> None:
    with pytest.raises(UnknownTable, match=f"no table or view named '{name}'; {hint}"):
        sample.table(name)


@pytest.mark.parametrize(
    "query", ["selec 1", "select nothing from series", "from nowhere", "set x = 1; "]
)
def test_a_question_that_cannot_be_asked_fails_as_such(
    sample: warehouse.Warehouse, query: str
) -> None:
    with pytest.raises(QueryFailed):
        sample.sql(query)


def test_names_in_sql_ignore_case(sample: warehouse.Warehouse) -> None:
    assert sample.sql("select MODALITY from Series").fetchall() != []


def test_an_ingest_is_seen_by_the_next_question(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "a", uid="1.1"))
    assert wh.sql("select count(*) from instances").fetchall() == [(1,)]
    wh.ingest(write(tmp_path / "b", uid="1.2"))
    assert wh.sql("select count(*) from instances").fetchall() == [(2,)]


def test_the_commit_of_another_is_seen_after_a_refresh(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "a", uid="1.1"))
    assert wh.sql("select count(*) from instances").fetchall() == [(1,)]
    warehouse.open(tmp_path / "w", create=True).ingest(write(tmp_path / "b", uid="1.2"))
    assert wh.sql("select count(*) from instances").fetchall() == [(1,)]
    wh.refresh()
    assert wh.sql("select count(*) from instances").fetchall() == [(2,)]


def test_patterns_narrow_what_is_ingested(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", uid="1.1")
    write(tmp_path / "in" / "b.ima", uid="1.2")
    report = warehouse.open(tmp_path / "w", create=True).ingest(
        tmp_path / "in", pattern="*.IMA", workers=1
    )
    assert report.files == report.created == 1


def test_an_ingest_of_nothing_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name at least one"):
        warehouse.open(tmp_path / "w", create=True).ingest()


@pytest.mark.parametrize("what", [
    "header", "volume", "stack", "gallery", "gradients", "segmentation", "structures", "waveform",
])  # fmt: skip
@pytest.mark.parametrize("given", [["1.2"], 3, None])
def test_what_is_no_uid_is_a_wrong_call(
    empty: warehouse.Warehouse, what: str, given: object
) -> None:
    """A list of UIDs, most often: `wh.gallery([uid])`."""
    advice = "once for each|separately" if isinstance(given, list) else "is text|separately"
    with pytest.raises(UsageError, match=advice):
        getattr(empty, what)(given)


@pytest.mark.parametrize("given", [{}, 1.5, ["SUVbw"], None])
def test_what_is_no_mapping_is_a_wrong_call(empty: warehouse.Warehouse, given: object) -> None:
    for ask in (empty.volume, empty.stack):
        with pytest.raises(UsageError, match="rescale is"):
            ask("1.2", rescale=given)  # type: ignore[operator]


def test_every_public_name_is_documented() -> None:
    for name in warehouse.__all__:
        value = getattr(warehouse, name)
        assert value.__doc__, name
        if inspect.isclass(value):
            for member, item in vars(value).items():
                if not member.startswith("_") and callable(item):
                    assert item.__doc__, f"{name}.{member}"


def test_every_error_is_in_the_tree_of_its_module() -> None:
    tree = warehouse.errors.__doc__ or ""
    for name, value in vars(warehouse.errors).items():
        if inspect.isclass(value) and issubclass(value, warehouse.errors.WarehouseError):
            assert f"{name} " in tree or f"{name}\n" in tree
            assert value.__doc__
