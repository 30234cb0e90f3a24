"""The Python API: frames, parameters, errors, what is shown, older versions, upkeep."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import warehouse
from tests.dicom_files import image, write
from warehouse.errors import (
    NotAWarehouse,
    QueryFailed,
    UnknownTable,
    UnknownVersion,
    UsageError,
    WarehouseError,
)

ROOT = Path(__file__).parents[1]
ROWS = {"PatientID": ["P1", "P2"], "outcome": ["well", "ill"]}
JOIN = "select outcome from patients join outcomes using (PatientID)"


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("door")
    made = warehouse.open(folder / "w", create=True)
    made.ingest(write(folder / "a.dcm", uid="1.1"), workers=1)
    return made


@pytest.mark.parametrize(
    "kind",
    [pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.table],
    ids=["polars", "lazy", "pandas", "arrow"],
)
def test_a_frame_of_the_caller_is_a_table(wh: warehouse.Warehouse, kind: Any) -> None:
    outcomes = kind(ROWS)
    assert wh.sql(JOIN).fetchall() == [("well",)]
    del outcomes
    with pytest.raises(QueryFailed, match="outcomes does not exist"):
        wh.sql(JOIN)


def test_an_answer_keeps_the_frame_it_was_asked_of(wh: warehouse.Warehouse) -> None:
    def asked() -> Any:
        outcomes = pl.DataFrame(ROWS)  # noqa: F841 - found by its name
        return wh.sql(JOIN + " where outcomes.PatientID in (select PatientID from outcomes)")

    answer = asked()
    gc.collect()
    outcomes = pl.DataFrame({"PatientID": ["P1"], "outcome": ["other"]})
    assert answer.fetchall() == [("well",)]
    assert wh.sql(JOIN).fetchall() == outcomes.select("outcome").rows()


def test_a_table_of_the_warehouse_is_no_frame_of_the_caller(wh: warehouse.Warehouse) -> None:
    series = pl.DataFrame({"x": [1]})
    assert wh.sql("select count(*) from series").fetchall() == [(1,)]
    assert series.height == 1


@pytest.mark.parametrize("name", ["query", "catalog", "params", "pl", "scope", "wh"])
def test_nothing_else_of_any_program_is_a_table(wh: warehouse.Warehouse, name: str) -> None:
    with pytest.raises(QueryFailed, match="does not exist"):
        wh.sql(f"from {name}")


def test_a_registered_frame_is_known_after_a_refresh(wh: warehouse.Warehouse) -> None:
    wh.register("labels", pl.DataFrame(ROWS))
    wh.refresh()
    assert wh.sql("select count(*) from labels").fetchall() == [(2,)]
    assert wh.table("labels").collect().to_dict(as_series=False) == ROWS
    wh.unregister("labels")
    with pytest.raises(UnknownTable):
        wh.table("labels")


@pytest.mark.parametrize(
    ("name", "frame"), [("series", pl.DataFrame()), ("a b", pl.DataFrame()), ("x", [1])]
)
def test_what_cannot_be_registered_is_refused(
    wh: warehouse.Warehouse, name: str, frame: object
) -> None:
    with pytest.raises(UsageError):
        wh.register(name, frame)


@pytest.mark.parametrize(
    ("query", "params"),
    [("select $m", {"m": "it's"}), ("select $1", ["it's"]), ("select ?", ["it's"])],
)
def test_values_are_parameters(wh: warehouse.Warehouse, query: str, params: Any) -> None:
    assert wh.sql(query, params).fetchall() == [("it's",)]
    assert wh.sql(query, params=params).fetchall() == [("it's",)]


def test_a_missing_parameter_is_one_named_error(wh: warehouse.Warehouse) -> None:
    with pytest.raises(QueryFailed):
        wh.sql("select $a, $b", {"a": 1})


def test_an_error_of_sql_is_one_exception_with_the_hint_of_duckdb(wh: warehouse.Warehouse) -> None:
    with pytest.raises(QueryFailed, match="Did you mean") as caught:
        wh.sql("from serie")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert len("\n".join(caught.value._render_traceback_()).splitlines()) <= 6


def test_a_notebook_shows_what_is_wrong_and_the_line_of_the_user(wh: warehouse.Warehouse) -> None:
    def ask() -> None:
        wh.sql("select 1; select 2")  # two

    for call, shown in [
        (ask, 'wh.sql("select 1; select 2")  # two'),
        (lambda: wh.volume("1.2.3"), 'lambda: wh.volume("1.2.3")'),
        (lambda: wh.ingest("/no/such"), 'lambda: wh.ingest("/no/such")'),
    ]:
        with pytest.raises(WarehouseError) as caught:
            call()
        first, second = caught.value._render_traceback_()
        assert first == f"{type(caught.value).__name__}: {caught.value}"
        assert re.match(r"in line \d+ of .*test_door\.py: ", second)
        assert shown in second
    # One that was never raised, or comes from another process, has no line.
    assert WarehouseError("so")._render_traceback_() == ["WarehouseError: so"]


def test_opening_what_is_not_there_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotAWarehouse, match="create=True"):
        warehouse.open(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(NotAWarehouse):
        warehouse.open(tmp_path / "other")
    made = warehouse.open(tmp_path / "typo", create=True)
    assert not (tmp_path / "typo").exists()
    assert "nothing ingested yet" in made._repr_html_()


def test_an_older_version_can_be_asked_and_not_changed(tmp_path: Path) -> None:
    with warehouse.open(tmp_path / "w", create=True) as wh:
        wh.ingest(write(tmp_path / "a.dcm", uid="1.1"), workers=1)
        before = wh.version
        wh.ingest(write(tmp_path / "b.dcm", uid="1.2"), workers=1)
        assert wh.version > before
    old = warehouse.open(tmp_path / "w", version=before)
    old.refresh()
    assert old.version == before
    assert old.sql("select count(*) from instances").fetchall() == [(1,)]
    with pytest.raises(UsageError, match="older version"):
        old.compact()
    with pytest.raises(UnknownVersion):
        warehouse.open(tmp_path / "w", version=99)


def test_upkeep_is_seen_by_the_next_question(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "in" / "a.dcm", uid="1.1"), workers=1)
    wh.ingest(write(tmp_path / "in" / "b.dcm", uid="1.2"), workers=1)
    assert wh.rebuild().parts == 0
    done = wh.compact()
    assert done.before != done.after
    assert {t["name"]: t["rows"] for t in wh.info()["tables"]}["instances"] == 2
    (tmp_path / "in" / "b.dcm").unlink()
    assert wh.remove(tmp_path / "in").vanished == 1
    assert wh.sql("select count(*) from instances").fetchall() == [(2,)]
    assert wh.remove(tmp_path / "in", delete=True).removed == 1
    assert wh.sql("select count(*) from instances").fetchall() == [(1,)]
    assert wh.vacuum().spare is not None


def test_tables_describe_and_cohorts(wh: warehouse.Warehouse) -> None:
    assert set(wh.tables()["name"]) == set(wh.catalog.models)
    assert "Modality" in wh.describe("series")["column"].to_list()
    wh.save_cohort("every_series", "select series_key from series")
    assert wh.cohorts()["every_series"].kind == "saved"
    assert "every_series" not in repr(wh.runs())


@pytest.mark.long("test_tables_describe_and_cohorts")
def test_tables_describe_cohorts_and_runs(wh: warehouse.Warehouse) -> None:
    assert set(wh.tables()["name"]) == set(wh.catalog.models)
    assert "Modality" in wh.describe("series")["column"].to_list()
    wh.save_cohort("all_series", "select series_key from series")
    shown = repr(wh.cohort("all_series"))
    assert wh.cohorts()["all_series"].kind == "saved"
    assert wh.cohort("all_series") in wh.runs()
    assert [f"1 {level}" in shown for level in ("patient,", "study,", "series,")] == [True] * 3


def test_what_is_shown_fits_a_screen_and_is_escaped(tmp_path: Path) -> None:
    long = image("1.1", PatientName="<b>x</b>", ImageComments="y" * 100_000)
    wh = warehouse.open(tmp_path / "w", create=True)
    report = wh.ingest(write(tmp_path / "<i>a.dcm", long), write(tmp_path / "b.dcm", long))
    header, run = wh.header("1.1"), wh.cohort("ct_thin_slice", max_slice_mm=1)
    for shown in (wh, header, run, report):
        assert len(repr(shown)) < 3000
        assert len(repr(shown).splitlines()) <= 35
        assert "<b>x" not in shown._repr_html_()
        assert "<i>a" not in shown._repr_html_()
    assert "&lt;b&gt;x" in header._repr_html_()


def test_what_the_page_on_your_own_data_shows_first_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = shown(tmp_path, monkeypatch, 2)
    assert names["joined"].rows() == [("1.2.1.1", "recovered")]
    assert names["counted"].rows() == [("recovered", 1)]


@pytest.mark.long("test_what_the_page_on_your_own_data_shows_first_is_true")
def test_the_page_on_your_own_data_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = shown(tmp_path, monkeypatch, None)
    assert names["joined"].rows() == [("1.2.1.1", "recovered")]
    assert names["counted"].rows() == [("recovered", 1)]
    assert names["patients"].height == 1
    assert names["some"] == [("1.2.1.1",)]
    assert names["run"].counts["instances"] == 1


def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int | None) -> dict[str, Any]:
    """Run the first blocks of the page, or all; return its variables."""
    page = (ROOT / "docs" / "how-to" / "join-your-data.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    warehouse.open("archive", create=True).ingest(write(tmp_path / "a.dcm", uid="1.1"), workers=1)
    (csv,) = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    Path("outcomes.csv").write_text(csv)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:blocks]:
        exec(block, names)
    return names
