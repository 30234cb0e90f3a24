"""The registry of stored tables: each is described once, and a new one is its SQL and its entry."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import warehouse
from tests import toy_tables
from tests.dicom_files import write
from warehouse.cohorts.guard import check, locked_catalog
from warehouse.rebuild import read_anew, rebuild
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import by_name, read_models, sql_folder
from warehouse.store import delta, tables
from warehouse.store.append import append_rows
from warehouse.store.compact import compact
from warehouse.store.schema import schema_of

SETTINGS = IngestSettings(mode=Mode.FULL, workers=1)
CHECKOUT = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("table", tables.REGISTRY, ids=lambda table: table.name)


@EACH
def test_columns_are_those_of_the_header(table: tables.StoredTable) -> None:
    """The view may only restore a time of day, for which Delta has no type."""
    model = by_name(table.name)
    assert (model.layer, model.table) == ("1_long", table.name)
    described = schema_of(model)
    stored = table.stored_schema
    assert [name.removesuffix("_us") for name in stored.names] == described.names
    assert stored.types == described.types
    assert table.key == model.grain
    assert set(table.order) | set(table.searched) <= set(stored.names)


@EACH
def test_an_entry_does_not_contradict_itself(table: tables.StoredTable) -> None:
    assert not (table.is_appended and (table.goes_with or table.derive))
    assert table.goes_with is None or table.goes_with in table.schema.names
    assert table.derive is None or table.is_staged
    # Merging compares these; floats and times have no place in an order of bytes.
    for name in table.order:
        kind = table.stored_schema.field(name).type
        assert pa.types.is_string(kind) or pa.types.is_integer(kind)
    assert re.fullmatch(r"[a-z][a-z_]*", table.name)


def test_every_table_of_the_sql_has_an_entry_and_files_comes_last() -> None:
    assert {model.name for model in read_models() if model.table} == set(tables.names())
    assert {path.stem for path in (sql_folder() / "1_long").glob("*.sql")} == set(tables.names())
    assert tables.names()[-1] == "files"
    assert set(tables.names()) >= tables.FIRST


@pytest.mark.parametrize("name", ["vendor_payloads", "instances"])
def test_no_other_module_names_the_tables_again(name: str) -> None:
    """Of modules below, those that make these very rows, or say why they are special."""
    special = {
        "tables.py",
        "commit.py",
        "instances.py",
        "ready.py",
        "delta.py",
        "erase.py",
        "instance_sql.py",
        "vacuum.py",
        "verify.py",
        "moves.py",
    }
    for path in (CHECKOUT / "warehouse" / "store").glob("*.py"):
        if path.name not in special:
            assert f'"{name}"' not in path.read_text(), path.name


def test_contributing_says_which_files_a_table_touches() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    section = text.split("## How to add a stored table", 1)[1].split("\n## ", 1)[0]
    touched = set(re.findall(r"^\d\. `([^`]+)`", section, re.MULTILINE))
    assert touched == {"sql/1_long/NAME.sql", "warehouse/store/tables.py"}


@pytest.fixture
def toys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_tables.register(toy_tables.shared(tmp_path_factory), monkeypatch)


@pytest.mark.usefixtures("toys")
def test_a_new_table_is_filled_and_asked(tmp_path: Path) -> None:
    """One table of rows that come from files, and one of rows that are appended."""
    write(tmp_path / "in" / "1.1", uid="1.1")
    root = tmp_path / "w"
    wh = warehouse.open(root, create=True)
    wh.ingest(tmp_path / "in", workers=1)
    append_rows(root, {"toy_notes": toy_tables.notes("a", 2)})
    wh.refresh()
    for name, count in (("toy_notes", 2), ("toy_marks", 1)):
        question = check(locked_catalog(root), f"select count(*) from {name}")
        assert wh.sql(question.sql).fetchall() == [(count,)]
        assert {t["name"]: t["rows"] for t in wh.info()["tables"]}[name] == count
        assert len(delta.snapshot(root).parts[name]) == 1


@pytest.mark.long("test_a_new_table_is_filled_and_asked")
@pytest.mark.usefixtures("toys")
def test_sql_and_entry_are_all_that_a_table_takes(tmp_path: Path) -> None:
    """Everything else reads the registry: each engine, the guard, reports, Dagster, maintenance."""
    from pipelines.assets import is_made, parents, table_spec

    for uid in ("1.1", "1.2", "1.3"):
        write(tmp_path / "in" / uid, uid=uid)
    root = tmp_path / "w"
    wh = warehouse.open(root, create=True)
    wh.ingest(tmp_path / "in" / "1.1", workers=1)
    wh.ingest(tmp_path / "in", workers=1)
    for number in (0, 2):
        append_rows(root, {"toy_notes": toy_tables.notes("a", 2, number)})
    wh.refresh()
    counted = "select instance_id, count(*) from elements group by all order by all"
    made = "select instance_id, element_count from toy_marks order by all"
    assert wh.sql(made).fetchall() == wh.sql(counted).fetchall()
    assert wh.sql("select author, number, text from toy_notes order by all").fetchall() == [
        ("a", 0, None), ("a", 1, "note 1"), ("a", 2, "note 2"), ("a", 3, None),
    ]  # fmt: skip
    for name in ("toy_notes", "toy_marks"):
        rows = wh.sql(f"from {name}").pl()
        assert wh.table(name).collect().sort(pl.all()).equals(rows.sort(pl.all()))
        assert name in wh.tables()["name"].to_list()
        assert wh.describe(name)["column"].to_list() == rows.columns
        assert {t["name"]: t["rows"] for t in wh.info()["tables"]}[name] == rows.height
        assert table_spec(by_name(name)).kinds == {"deltalake", "parquet"}
        # The guard lets a cohort read it, and nothing besides.
        catalog = locked_catalog(root)
        question = check(catalog, f"select count(*) from {name}")
        assert catalog.connection.execute(question.sql).fetchall() == [(rows.height,)]
    assert [is_made(by_name(name)) for name in ("toy_notes", "toy_marks")] == [False, True]
    assert parents(by_name("toy_marks")) == {"source_listing"}
    assert parents(by_name("toy_notes")) == set()

    held = {name: wh.sql(f"from {name} order by all").fetchall() for name in ("toy_notes",)}
    done = compact(root)
    assert (done.before["toy_notes"], done.after["toy_notes"]) == (2, 1)
    assert (done.before["toy_marks"], done.after["toy_marks"]) == (2, 1)
    rebuild(root)
    # What is derived goes with its instance; what was appended stays, whatever becomes of files.
    (tmp_path / "in" / "1.2").unlink()
    assert wh.remove(tmp_path / "in", delete=True).instances == 1
    write(tmp_path / "in" / "1.3", uid="1.3", PatientComments="one more element")
    read_anew(root, SETTINGS)
    wh.refresh()
    assert wh.sql(made).fetchall() == wh.sql(counted).fetchall()
    assert wh.sql("select count(*) from toy_marks").fetchall() == [(2,)]
    assert wh.sql("from toy_notes order by all").fetchall() == held["toy_notes"]
    assert len(delta.snapshot(root).parts["toy_notes"]) == 1
