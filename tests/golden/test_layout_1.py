"""A warehouse written by the first version of layout 1 is read, asked and changed by this one."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import warehouse
from tests.asking import answer_of
from tests.content import content
from tests.dicom_files import write
from tests.flat import flat
from warehouse.errors import LayoutMismatch
from warehouse.ingest import ingest
from warehouse.removal import remove
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import by_name, read_models
from warehouse.store import layout
from warehouse.store.compact import compact
from warehouse.store.vacuum import vacuum

GOLDEN = Path(__file__).parent / "layout-1.zip"
VIEWS = [model.name for model in read_models() if model.is_view]


def unpacked(folder: Path) -> Path:
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return unpacked(tmp_path_factory.mktemp("golden") / "w")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return unpacked(tmp_path / "w")


@pytest.fixture(scope="module")
def opened(golden: Path) -> warehouse.Warehouse:
    return warehouse.open(golden, create=True)


def test_the_golden_store_is_of_the_layout_that_this_version_writes() -> None:
    """A new layout needs a golden store of its own: python -m tests.golden.make."""
    assert (GOLDEN.parent / f"layout-{layout.LAYOUT_VERSION}.zip").exists()


def test_stored_tables_hold_what_was_stored(golden: Path, opened: warehouse.Warehouse) -> None:
    held = content(golden)
    assert {table: len(rows) for table, rows in held.items()} == {
        "files": 6, "instances": 4, "blobs": 1, "elements": 629, "vendor_elements": 2,
    }  # fmt: skip
    assert answer_of(
        opened, "select regexp_extract(file_path, '[^/]+$'), status, batch from files order by all"
    ) == [
        ("CT_small.dcm", "ingested", "000001"),
        ("MR_small.dcm", "ingested", "000003"),
        ("copy.dcm", "duplicate", "000001"),
        ("notes.txt", "rejected", "000003"),
        ("rtplan.dcm", "ingested", "000003"),
        ("vendor", "ingested", "000001"),
    ]
    assert answer_of(
        opened,
        "select batch, Modality, PatientID, StudyTime, Rows, PixelSpacing, pixel_offset from instances"
        " order by instance_id",
    ) == [
        ("000001", "CT", "1CT1", dt.time(7, 27, 30), 128, [0.661468, 0.661468], 6300),
        ("000001", "MR", "4MR1", dt.time(18, 50, 59), 64, [0.3125, 0.3125], 1600),
        ("000003", "MR", "4MR1", dt.time(18, 50, 59), 64, [0.3125, 0.3125], 1500),
        ("000003", "RTPLAN", "id00001", dt.time(15, 35, 57), None, None, None),
    ]


def test_every_kind_of_value_is_read(opened: warehouse.Warehouse) -> None:
    question = (
        'select keyword, vr, vm, text, "integer", "real", date, time, length from elements'
        " join instances using (instance_id) where instances.Modality = 'CT' and elements.path = ''"
        " and \"index\" = 0 and keyword = '{}'"
    )
    expected: dict[str, tuple[Any, ...]] = {
        "StudyDate": ("DA", 1, "20040119", None, None, dt.date(2004, 1, 19), None, None),
        "StudyTime": ("TM", 1, "072730", None, None, None, dt.time(7, 27, 30), None),
        "SliceThickness": ("DS", 1, "5.000000", None, 5.0, None, None, None),
        "Rows": ("US", 1, None, 128, None, None, None, None),
        "PixelData": ("OW", 1, None, None, None, None, None, 32768),
    }
    for keyword, rest in expected.items():
        assert answer_of(opened, question.format(keyword)) == [(keyword, *rest)]


@pytest.fixture(scope="module")
def answers(
    opened: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> duckdb.DuckDBPyConnection:
    """The rows of every view."""
    return flat(tmp_path_factory, "golden", opened)


@pytest.mark.parametrize(
    "table", [view for view in VIEWS if by_name(view).table or view == "series"]
)
def test_every_table_is_answered_by_both_engines(opened: warehouse.Warehouse, table: str) -> None:
    rows = len(answer_of(opened, f"from {table}"))
    assert opened.table(table).select(pl.len()).collect().item() == rows


@pytest.mark.long("test_every_table_is_answered_by_both_engines")
@pytest.mark.parametrize("view", VIEWS)
def test_every_table_and_view_is_answered_by_both_engines(
    opened: warehouse.Warehouse, answers: duckdb.DuckDBPyConnection, view: str
) -> None:
    """Of a view Polars has the answer of DuckDB: that it is equal is asked in tests/test_api.py.

    What is old are stored tables. Those of layer 1 are asked themselves, and every view of them.
    """
    ((rows,),) = answers.execute(f"select count(*) from {view}").fetchall()
    if by_name(view).table:
        assert len(answer_of(opened, f"from {view}")) == rows
    if by_name(view).table or view == "series":
        assert opened.table(view).select(pl.len()).collect().item() == rows


def test_it_can_be_changed(root: Path, tmp_path: Path) -> None:
    settings = IngestSettings(mode=Mode.FULL, workers=1)
    write(tmp_path / "in" / "new", uid="9.9", PatientID="new")
    assert ingest(root, [tmp_path / "in"], settings).batches == ["000004"]
    done = compact(root)
    assert (done.before["elements"], done.after["elements"]) == (3, 1)
    archive = "/tmp/dicom-warehouse-golden/archive/vendor"
    assert remove(root, [archive], settings, delete=True, even_all=True).instances == 1
    vacuum(root, dt.timedelta(0), delete=True)
    held = content(root)
    assert len(held["instances"]) == 4
    assert held["vendor_elements"] == []


# -- other layouts --------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Path], Any]] = {
    "open": lambda root: warehouse.open(root, create=True).catalog,
    "ingest": lambda root: ingest(root, [GOLDEN], IngestSettings(workers=1)),
    "compact": compact,
    "vacuum": lambda root: vacuum(root, dt.timedelta(0), delete=True),
    "remove": lambda root: remove(root, [GOLDEN], delete=True),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("found", [layout.LAYOUT_VERSION + 1, 0, "one", None])
def test_a_store_of_another_layout_is_refused_and_not_touched(
    root: Path, found: object, call: str
) -> None:
    (root / layout.MARKER).write_text(json.dumps({"layout": found, "id": "x"}))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(LayoutMismatch, match="install the version that wrote it"):
        CALLS[call](root)
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
