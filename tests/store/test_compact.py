"""Compaction: fewer parts, the same rows, whoever writes, reads or dies meanwhile."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.content import content
from tests.dicom_files import image, write
from tests.forms import some
from tests.place import Place
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.elements.schema import ORDER
from warehouse.errors import NotAWarehouse, WriteFailed
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import by_name
from warehouse.store import compact as module
from warehouse.store import delta, tables
from warehouse.store.compact import compact
from warehouse.store.duck import connect, set_stored

if TYPE_CHECKING:
    import duckdb

CHECKOUT = Path(__file__).parents[2]
SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, batch_files=2, chunk_files=1)
AT_ONCE = IngestSettings(mode=Mode.FULL, workers=1)
"""For what is only compared with: its content is the same whatever the batches."""

PROGRAM = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from warehouse.process import do_without_pandas, do_without_requests
do_without_pandas()
do_without_requests()
from warehouse.store.compact import compact
print("begin", flush=True)
compact(pathlib.Path(sys.argv[2]))
"""


def some_files(folder: Path, *numbers: int) -> Path:
    """Files with long values and vendor payloads that are shared, a copy and a reject."""
    for number in numbers:
        made = image(f"1.{number}", InstanceNumber=number, SeriesInstanceUID=f"2.{number % 3}")
        made.add_new(0x00420011, "OB", bytes([number % 3]) * 600)
        header = csa([("B_value", "IS", [str(number % 3)]), ("Name", "LO", ["x", "y"])])
        add_private(made, CSA, 0x29, 0x11, x10=("OB", header))
        write(folder / f"{number:02}", made)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    folder = some_files(tmp_path_factory.mktemp("source") / "in", *range(8))
    shutil.copy(folder / "00", folder / "copy")
    (folder / "broken").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def template(source: Path) -> Path:
    """Five batches of two files, a part for each file."""
    ingest(source.parent / "w", [source], SETTINGS)
    return source.parent / "w"


@pytest.fixture(scope="module")
def clean(template: Path) -> dict[str, Any]:
    content(template)
    return everything(template)


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "w")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("compact"))


@pytest.fixture
def here(place: Place, source: Path) -> Path:
    """``w``, and ``in`` with its files: both to be written to."""

    def fill(folder: Path) -> None:
        shutil.copytree(source, folder / "in")
        ingest(folder / "w", [folder / "in"], SETTINGS)

    place.emptied()
    return place.filled(fill)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this module: to open one takes as long as its questions."""
    return connect(threads=1)


def everything(root: Path) -> dict[str, Any]:
    """All rows with ids, and with batches but of long values, which are whose batch came last.

    What is equal in this is as sound as the template, of which ``content`` has looked at it.
    """
    snapshot = delta.snapshot(root)
    connection = _database().cursor()
    set_stored(connection, {table: snapshot.paths(table) for table in tables.names()})
    rows = {}
    for table in tables.names():
        columns = "* exclude (batch)" if table == "blobs" else "*"
        asked = connection.execute(f"select {columns} from ({by_name(table).query})")
        rows[table] = sorted(asked.fetchall(), key=repr)
    return rows


# -- what is the same, and what is not ------------------------------------------------------------


def test_every_row_stays_and_the_version_grows_by_one(root: Path, clean: dict[str, Any]) -> None:
    before = delta.snapshot(root)
    done = compact(root)
    assert done.before["elements"] == 8
    # Nothing was appended to tables whose rows come from no file.
    made = {table.name for table in tables.REGISTRY[:-1] if not table.is_appended}
    assert {table: done.after[table] for table in made} == dict.fromkeys(made, 1)
    assert done.version == delta.snapshot(root).version == before.version + 1
    assert everything(root) == clean


def test_again_is_nothing(root: Path) -> None:
    version = compact(root).version
    held = delta.snapshot(root)
    assert compact(root).version == version
    assert delta.snapshot(root) == held


def test_rows_lie_in_the_order_and_the_encodings_of_the_store(root: Path) -> None:
    compact(root)
    (part,) = delta.snapshot(root).parts["elements"]
    rows = pq.read_table(root / "elements" / part, columns=list(ORDER))
    keys = list(zip(*(rows[name].to_pylist() for name in ORDER), strict=True))
    assert keys == sorted(keys)
    group = pq.read_metadata(root / "elements" / part).row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["instance_id"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert columns["tag"].is_stats_set
    (part,) = delta.snapshot(root).parts["vendor_values"]
    rows = pq.read_table(root / "vendor_values" / part, columns=["name", "index", "payload"])
    keys = list(zip(*rows.to_pydict().values(), strict=True))
    assert keys == sorted(keys)


def test_a_row_keeps_its_batch_in_every_engine(root: Path) -> None:
    question = "select batch, count(*) from {} group by all order by all"
    with_batches = [table.name for table in tables.REGISTRY if table.batch_in] + ["files"]
    opened = warehouse.open(root, create=True)
    before = {table: answer_of(opened, question.format(table)) for table in with_batches}
    assert len(before["elements"]) == 4
    compact(root)
    after = warehouse.open(root, create=True)
    for table in with_batches:
        assert answer_of(after, question.format(table)) == before[table]
        frame = after.table(table).group_by("batch").agg(pl.len().cast(pl.Int64)).sort("batch")
        assert frame.collect().rows() == before[table]


def test_delta_tables_hold_the_rows_and_say_that_none_changed(root: Path) -> None:
    before = DeltaTable(str(root / "elements")).to_pyarrow_table().num_rows
    compact(root)
    table = DeltaTable(str(root / "elements"))
    assert table.to_pyarrow_table().num_rows == before
    entry = root / "elements" / "_delta_log" / f"{table.version():020}.json"
    text = entry.read_text()
    assert '"dataChange":false' in text
    assert '"dataChange":true' not in text


@pytest.mark.parametrize("fan_in", [2, 3])
def test_more_parts_than_can_be_open_are_merged_in_rounds(
    root: Path, clean: dict[str, Any], fan_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FAN_IN", fan_in)
    assert compact(root).after["elements"] == 1
    assert everything(root) == clean


def test_a_part_that_is_half_full_is_left_alone() -> None:
    shape = tables.named("instances")
    full = shape.part_size
    sizes = [("batch=000001/a", 10), ("batch=000002/b", full // 2 + 1), ("batch=000003/c", 10)]
    assert [run for run in module._runs(sizes, shape) if len(run) > 1] == []
    sizes = [(f"batch={n:06}/a", full // 3) for n in range(1, 8)]
    assert [len(run) for run in module._runs(sizes, shape)] == [3, 3, 1]
    files = tables.named("files")
    sizes = [("batch=000001/a", 1), ("batch=000001/b", 1), ("batch=000002/c", 1)]
    assert [len(run) for run in module._runs(sizes, files)] == [2, 1]


# -- afterwards -----------------------------------------------------------------------------------


@pytest.mark.long("test_a_batch_can_be_read_anew_afterwards")
def test_files_that_change_afterwards_are_replaced_as_ever(here: Path) -> None:
    """Rows, payloads and long values are taken out of parts of several batches."""
    folder, root = here / "in", here / "w"
    compact(root)
    for number in (0, 3, 5):
        write(folder / f"{number:02}", uid=f"1.{number}", PatientID="changed")
    write(folder / "a0", uid="1.4")
    ingest(root, [folder], SETTINGS)
    ingest(here / "clean", [folder], AT_ONCE)
    expected = content(here / "clean")
    assert content(root) == expected
    compact(root)
    assert content(root) == expected


def test_a_batch_can_be_read_anew_afterwards(root: Path, clean: dict[str, Any]) -> None:
    from warehouse.ingest import run_batch, stored_batches

    compact(root)
    batches = stored_batches(root)
    run_batch(root, batches[1], SETTINGS)
    compact(root)
    assert stored_batches(root) == batches
    assert everything(root) == clean


# -- others meanwhile -----------------------------------------------------------------------------


def test_a_reader_keeps_the_version_it_opened(root: Path) -> None:
    reader = warehouse.open(root, create=True)
    held = answer_of(reader, "from elements order by all")
    compact(root)
    assert answer_of(reader, "from elements order by all") == held


def test_two_compactions_at_once_are_one(root: Path, clean: dict[str, Any]) -> None:
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(compact, [root] * 3))
    assert {facts.after["elements"] for facts in done} == {1}
    assert everything(root) == clean
    on_disk = {path.name for path in (root / "elements").rglob("*.parquet")}
    assert len(on_disk) == 8 + 1, "what came too late was taken away"


@pytest.mark.long("test_a_part_that_was_replaced_meanwhile_is_not_brought_back")
def test_an_ingest_meanwhile_loses_nothing(tmp_path: Path) -> None:
    folder = some_files(tmp_path / "in", *range(10))
    ingest(tmp_path / "clean", [folder], AT_ONCE)
    ingest(tmp_path / "w", [folder / "00", folder / "09"], SETTINGS)
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(ingest, tmp_path / "w", [folder], SETTINGS)
        rounds = 0
        while not writer.done():
            compact(tmp_path / "w")
            rounds += 1
        writer.result()
    assert rounds > 1
    assert content(tmp_path / "w") == content(tmp_path / "clean")


def test_a_part_that_was_replaced_meanwhile_is_not_brought_back(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, root = here / "in", here / "w"
    merged = module._merged

    def merge_slowly(*arguments: Any) -> Any:
        made = merged(*arguments)
        if arguments[1] == "elements":
            monkeypatch.setattr(module, "_merged", merged)
            write(folder / "03", uid="1.3", PatientID="changed meanwhile")
            ingest(root, [folder], SETTINGS)
        return made

    monkeypatch.setattr(module, "_merged", merge_slowly)
    compact(root)
    ingest(here / "clean", [folder], AT_ONCE)
    assert content(root) == content(here / "clean")
    assert len(delta.snapshot(root).parts["elements"]) == 1, "it tried again"


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(
            1, marks=pytest.mark.long("test_killed_at_any_moment_it_has_changed_all_or_nothing")
        ),
        *some((2, 3), always=()),
    ],
)
def test_killed_at_any_moment_it_has_changed_all_or_nothing(
    root: Path, clean: dict[str, Any], seed: int
) -> None:
    before = delta.snapshot(root)
    killed = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, CHECKOUT, root], stdout=subprocess.PIPE
    )
    assert killed.stdout is not None
    killed.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.3))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    made = delta.snapshot(root)
    assert made.version in {before.version, before.version + 1}
    assert everything(root) == clean
    assert compact(root).after["elements"] == 1
    assert everything(root) == clean


@pytest.mark.parametrize("passes", range(5))
def test_a_full_disk_changes_nothing_and_leaves_nothing(
    root: Path, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, files = delta.snapshot(root), set(root.rglob("*.parquet"))
    real, left = pq.ParquetWriter, iter(range(passes))

    def write_or_refuse(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(pq, "ParquetWriter", write_or_refuse)
        with pytest.raises(WriteFailed, match="no space is left"):
            compact(root)
    assert delta.snapshot(root) == before
    assert set(root.rglob("*.parquet")) == files


def test_a_folder_that_is_no_warehouse(tmp_path: Path) -> None:
    with pytest.raises(NotAWarehouse):
        compact(tmp_path)


def test_the_command_says_how_many_parts_there_were_and_are(root: Path) -> None:
    done = run("compact", "-w", root)
    assert done.returncode == 0, done.stderr
    assert "elements: 8 parts, now 1" in done.stdout
