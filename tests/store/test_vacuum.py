"""Vacuum: what nobody can ask for goes, and nothing else, whoever reads or writes meanwhile."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.content import content
from tests.dicom_files import write
from warehouse.catalog.materialized import materialize, materialized_files
from warehouse.dicom.scan import discover
from warehouse.elements.extract import extract
from warehouse.errors import NotAWarehouse, QueryFailed, UsageError
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, layout, locks, tables
from warehouse.store.append import append_rows
from warehouse.store.commit import commit_batch
from warehouse.store.duck import connect
from warehouse.store.logs import open_log
from warehouse.store.stage import stage
from warehouse.store.vacuum import vacuum

CHECKOUT = Path(__file__).parents[2]
SETTINGS = IngestSettings(mode=Mode.FULL, workers=1)
NOW = dt.timedelta(0)
DAY = 86_400


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of two versions; the first one's parts were replaced by the second."""
    folder = tmp_path_factory.mktemp("template")
    write(folder / "in" / "a", uid="1.1", PatientID="old")
    write(folder / "in" / "b", uid="1.2")
    ingest(folder / "w", [folder / "in"], SETTINGS)
    write(folder / "in" / "a", uid="1.1", PatientID="newer")
    ingest(folder / "w", [folder / "in"], SETTINGS)
    return folder / "w"


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "w")


def parts_on_disk(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for table in tables.names()
        for path in (root / table).rglob("*.parquet")
    }


def named(root: Path) -> set[str]:
    snapshot = delta.snapshot(root)
    return {f"{table}/{part}" for table in tables.names() for part in snapshot.parts[table]}


def age(root: Path, days: float, *, log: bool = False) -> None:
    """Let the parts be older; the log says by itself when it was written."""
    then = time.time() - days * DAY
    for path in root.rglob("*"):
        if path.suffix == ".parquet" or (log and path.suffix == ".json"):
            os.utime(path, (then, then))


def orphan(root: Path, batch: str = "000009") -> Path:
    """Leave a part as a killed writer does."""
    some = next((root / "elements").rglob("*.parquet"))
    lost = root / "elements" / layout.part_name(batch, 0)
    lost.parent.mkdir(exist_ok=True)
    return Path(shutil.copyfile(some, lost))


# -- what goes ------------------------------------------------------------------------------------


def test_replaced_parts_go_and_the_rows_stay(root: Path) -> None:
    held, spare = content(root), parts_on_disk(root) - named(root)
    assert spare
    done = vacuum(root, NOW, delete=True)
    assert {f"{part.table}/{part.part}" for part in done.spare} == spare
    assert parts_on_disk(root) == named(root)
    assert content(root) == held
    assert vacuum(root, NOW).spare == []


def test_without_being_told_to_it_deletes_nothing(root: Path) -> None:
    before = parts_on_disk(root)
    found = vacuum(root, NOW)
    assert found.spare
    assert not found.is_done
    assert found.size_bytes == sum(
        (root / part.table / part.part).stat().st_size for part in found.spare
    )
    assert parts_on_disk(root) == before


def test_parts_of_a_killed_writer_go_after_the_retention_with_their_folder(root: Path) -> None:
    lost = orphan(root)
    vacuum(root, delete=True)
    assert lost.exists()
    age(root, 6.9)
    vacuum(root, delete=True)
    assert lost.exists()
    age(root, 7.1)
    vacuum(root, delete=True)
    assert not lost.parent.exists()


def test_what_is_no_part_stays(root: Path) -> None:
    """Nor does a link lead it out of the warehouse."""
    outside = root.parent / "outside" / "precious.parquet"
    outside.parent.mkdir()
    outside.write_bytes(b"precious")
    others = [root / "elements" / name for name in ("notes.txt", "mine.parquet")]
    others += [next((root / "elements").glob("batch=*")) / "notes.txt"]
    for path in others:
        path.write_text("mine")
    (root / "elements" / "batch=000077").symlink_to(outside.parent)
    link = next((root / "elements").glob("batch=*")) / "link.parquet"
    link.symlink_to(outside)
    vacuum(root, NOW, delete=True)
    assert all(path.exists() for path in [*others, link, outside])


# -- what stays -----------------------------------------------------------------------------------


def test_parts_of_a_version_that_was_followed_lately_stay(root: Path) -> None:
    """The files are a year old; it was an hour ago that the commit took them out."""
    age(root, 365)
    assert vacuum(root, delete=True).spare == []


def test_a_clock_that_was_set_back_makes_nothing_old(root: Path) -> None:
    """The last commits carry times of long ago: they came after younger ones all the same."""
    lost = orphan(root)
    age(root, 365)
    for table in tables.names():
        for entry in (root / table / "_delta_log").glob("*.json"):
            if int(entry.stem):
                text = entry.read_text()
                start = text.index('"timestamp":') + len('"timestamp":')
                entry.write_text(text[:start] + "1000" + text[start + 13 :])
                os.utime(entry, (1, 1))
    assert [part.part for part in vacuum(root).spare] == [f"batch=000009/{lost.name}"]


def test_a_part_of_the_future_stays(root: Path) -> None:
    lost = orphan(root)
    age(root, -1)
    assert vacuum(root, NOW).spare == []
    age(root, 0)
    assert f"batch=000009/{lost.name}" in [part.part for part in vacuum(root, NOW).spare]


def test_what_a_killed_writer_committed_to_one_table_alone_can_be_taken_back(root: Path) -> None:
    """Its table is at a version that nobody follows, the pinned parts are in the one before."""
    held, snapshot = content(root), delta.snapshot(root)
    table = open_log(root, "elements", snapshot.versions["elements"])
    delta._apply(table, delta.Change(remove=list(snapshot.parts["elements"])), {})
    vacuum(root, NOW, delete=True)
    assert content(root) == held
    write(root.parent / "more", uid="1.7")
    ingest(root, [root.parent / "more"], SETTINGS)
    assert len(content(root)["instances"]) == 3


# -- readers and writers meanwhile ----------------------------------------------------------------


def test_staged_parts_of_a_running_ingest_stay_however_old(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "c", uid="1.3")
    with locks.writing(root):
        batch = locks.claim_batch(root)
        found = list(discover([tmp_path / "c"]))
        (portion,) = extract(found, layout.first_id(batch), 1000)
        staged = stage(root, batch, 0, portion, Mode.FULL, keep_blobs=True)
        age(root, 365)
        done = vacuum(root, NOW, delete=True)
        assert done.in_use == len(staged.parts)
        assert done.spare, "what commits took out goes all the same"
        with connect() as connection:
            commit_batch(connection, root, batch, [staged])
    assert len(content(root)["instances"]) == 3


def test_a_writer_that_was_killed_holds_nothing(root: Path) -> None:
    lost = orphan(root)
    program = (
        "import os, sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from warehouse.store import locks\n"
        "with locks.writing(pathlib.Path(sys.argv[2])):\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, CHECKOUT, root],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert writer.stdout is not None
    writer.stdout.readline()
    assert vacuum(root, NOW).in_use == 1
    writer.kill()
    writer.communicate()
    assert vacuum(root, NOW, delete=True).in_use == 0
    assert not lost.exists()


@pytest.mark.long("test_staged_parts_of_a_running_ingest_stay_however_old")
def test_ingests_with_a_vacuum_after_every_moment_equal_one_without(tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path / "in" / f"{number:02}", uid=f"1.{number}")
    small = IngestSettings(mode=Mode.FULL, workers=1, batch_files=3, chunk_files=1)
    # What it is compared with has the same content whatever its batches.
    ingest(tmp_path / "clean", [tmp_path / "in"], SETTINGS)
    ingest(tmp_path / "w", [tmp_path / "in" / "00"], small)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from warehouse.process import do_without_pandas, do_without_requests\n"
        "do_without_pandas()\n"
        "do_without_requests()\n"
        "from warehouse.ingest import ingest\n"
        "from warehouse.settings import IngestSettings, Mode\n"
        "settings = IngestSettings(mode=Mode.FULL, workers=1, batch_files=3, chunk_files=1)\n"
        "print('begin', flush=True)\n"
        "ingest(sys.argv[2], [sys.argv[3]], settings)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, CHECKOUT, tmp_path / "w", tmp_path / "in"],
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        # What it imports takes longer than what it does.
        writer.stdout.readline()
        rounds = 0
        while writer.poll() is None:
            vacuum(tmp_path / "w", NOW, delete=True)
            rounds += 1
    assert writer.returncode == 0
    assert rounds > 3
    assert content(tmp_path / "w") == content(tmp_path / "clean")


def test_a_reader_of_a_version_before_gets_its_rows_or_an_error(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a", uid="1.1", PatientID="old")
    ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS)
    reader = warehouse.open(tmp_path / "w", create=True)
    question = "select PatientID from instances"
    assert reader.sql(question).fetchall() == [("old",)]
    write(tmp_path / "in" / "a", uid="1.1", PatientID="newer")
    ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS)
    vacuum(tmp_path / "w", delete=True)
    assert reader.sql(question).fetchall() == [("old",)], "within the retention"
    vacuum(tmp_path / "w", NOW, delete=True)
    with pytest.raises((duckdb.Error, QueryFailed), match="batch=000001"):
        reader.sql(question).fetchall()
    reader.refresh()
    assert reader.sql(question).fetchall() == [("newer",)]


# -- wrong calls and the command ------------------------------------------------------------------


@pytest.mark.parametrize("days", [-1, 31])
def test_a_retention_that_cannot_be_kept_is_refused(root: Path, days: int) -> None:
    with pytest.raises(UsageError, match="0 to 30 days"):
        vacuum(root, dt.timedelta(days=days))


def test_a_folder_that_is_no_warehouse_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elements").mkdir()
    with pytest.raises(NotAWarehouse):
        vacuum(tmp_path, NOW, delete=True)


def test_the_command_counts_and_deletes_when_told(root: Path) -> None:
    before = parts_on_disk(root)
    counted = run("vacuum", "-w", root, "--retention-days", "0")
    assert counted.returncode == 0, counted.stderr
    assert counted.stdout.splitlines()[-1].endswith("can be deleted, with --yes")
    assert parts_on_disk(root) == before
    done = run("vacuum", "-w", root, "--retention-days", "0", "--yes")
    assert done.stdout.splitlines()[-1].endswith("deleted")
    assert parts_on_disk(root) == named(root)


def test_answers_that_nobody_asks_any_more_go(root: Path) -> None:
    """Those of an older version, and what a killed process left; whatever is in their files."""
    newest = delta.snapshot(root).versions["instances"]
    names = [f"{newest - 1:012d}-a", f"{newest:012d}-a", ".killed"]
    for name in names:
        (layout.cache_folder(root) / name).mkdir(parents=True)
        (layout.cache_folder(root) / name / "series.parquet").touch()
    (layout.cache_folder(root) / ".empty").mkdir()
    vacuum(root, delete=True)
    assert (layout.cache_folder(root) / ".empty").exists(), "a process may be about to write there"
    assert not [part for part in vacuum(root).spare if part.table == "_cache"], "they are young"
    for path in layout.cache_folder(root).rglob("*"):
        os.utime(path, (time.time() - 8 * DAY,) * 2)
    # An answer is as old as the next one.
    os.utime(layout.cache_folder(root) / names[1])
    vacuum(root, delete=True)
    assert sorted(os.listdir(layout.cache_folder(root))) == names[:2]
    os.utime(layout.cache_folder(root) / names[1], (time.time() - 8 * DAY,) * 2)
    vacuum(root, delete=True)
    assert os.listdir(layout.cache_folder(root)) == [names[1]]


@pytest.mark.long("test_answers_that_nobody_asks_any_more_go")
def test_kept_answers_of_older_versions_go(root: Path, tmp_path: Path) -> None:
    materialize(root)
    write(tmp_path / "more" / "c", uid="1.3")
    ingest(root, [tmp_path / "more"], SETTINGS)
    materialize(root)
    killed = layout.cache_folder(root) / ".killed"
    killed.mkdir()
    (killed / "series.parquet").touch()
    assert not [part for part in vacuum(root).spare if part.table == "_cache"], "they are young"
    expected = answer_of(warehouse.open(root), "from series order by all")
    for path in layout.cache_folder(root).rglob("*"):
        os.utime(path, (time.time() - 8 * DAY,) * 2)
    vacuum(root, delete=True)
    assert materialized_files(delta.snapshot(root)) is not None, "those of the newest version stay"
    assert len(list(layout.cache_folder(root).iterdir())) == 1
    assert answer_of(warehouse.open(root), "from series order by all") == expected


@pytest.mark.long("test_answers_that_nobody_asks_any_more_go")
def test_kept_answers_are_as_old_as_the_next_ones(root: Path, tmp_path: Path) -> None:
    """Their files are older, of many versions: a reader may have opened one of these just now."""
    materialize(root)
    for path in layout.cache_folder(root).rglob("*"):
        os.utime(path, (time.time() - 8 * DAY,) * 2)
    before = warehouse.open(root)
    expected = answer_of(before, "from series order by all")
    write(tmp_path / "more" / "c", uid="1.3")
    ingest(root, [tmp_path / "more"], SETTINGS)
    materialize(root)
    vacuum(root, delete=True)
    assert answer_of(before, "from series order by all") == expected
    assert len(list(layout.cache_folder(root).iterdir())) == 2


def test_the_archive_of_an_image_or_model_is_kept(root: Path) -> None:
    """No value is named like it: what names it is a row of `artifact_events`."""
    digest, other = "ab" + "0" * 62, "cd" + "0" * 62
    for name in (digest, other):
        (root / "values" / name[:2]).mkdir(parents=True)
        (root / "values" / name[:2] / name).write_bytes(b"an archive")
    schema = tables.named("artifact_events").stored_schema
    row = dict.fromkeys(schema.names) | {"artifact_id": "1", "event": 0, "file_sha256": digest}
    append_rows(root, {"artifact_events": pa.Table.from_pylist([row], schema)})
    vacuum(root, NOW, delete=True)
    assert [path.name for path in (root / "values").rglob("*") if path.is_file()] == [digest]


def test_every_column_of_digests_of_files_is_known() -> None:
    """A table that comes later and names files below ``values/`` has to say so, or they are deleted."""
    found = {
        (table.name, column) for table in tables.REGISTRY if table.is_appended
        for column in table.stored_schema.names
        if "sha256" in column and table.names_file != column
    }  # fmt: skip
    assert found == {("artifact_events", "sha256"), ("algorithm_versions", "code_sha256")}, (
        "digests of a configuration and of a source, which are no files here"
    )
