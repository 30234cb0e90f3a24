"""What is forgotten is in no byte of the warehouse, comes back with no ingest, and says so to nobody."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import warehouse
from tests.byte_search import places_of
from tests.command_line import run
from tests.conftest import PACKAGED
from tests.content import content
from tests.dicom_files import dataset, image, write
from tests.forms import some
from tests.made_once import made_once
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.catalog.template import _file
from warehouse.cohorts import erased
from warehouse.errors import NothingToForget, StoreDamaged, UsageError, WritersRunning
from warehouse.forget import forget
from warehouse.store import blobs, delta, locks
from warehouse.store.append import append_rows
from warehouse.store.tables import REGISTRY, named

MINE, OTHER = "PAT-0815-X", "PAT-4722-Y"


def patient(folder: Path, name: str, *numbers: int, **more: Any) -> None:
    """Instances of one patient, in two studies of two series, with long values and payloads."""
    for number in numbers:
        uid = f"1.99.{sum(map(ord, name))}"
        made = image(
            f"{uid}.3.{number}", PatientID=name, PatientName=f"{name}^Name", InstanceNumber=number,
            StudyInstanceUID=f"{uid}.1.{number // 4}", SeriesInstanceUID=f"{uid}.2.{number // 2}",
            AccessionNumber=f"A{uid[-4:]}{number // 4}", SliceThickness=1, Modality="CT", **more,
        )  # fmt: skip
        made.add_new(0x00420011, "OB", name.encode() * 60)
        add_private(made, CSA, 0x29, 0x11, x10=("OB", csa([("Who", "LO", [f"{name} said"])])))
        write(folder / f"{name}-{number}.dcm", made)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, a copy, a reject; batches, a compaction, a removed file; runs and values."""
    return made_once(tmp_path_factory, "forget", _make_template)


def _make_template(folder: Path) -> None:
    source = folder / "in"
    patient(source, MINE, *range(6))
    patient(source, OTHER, *range(4))
    shutil.copy(source / f"{MINE}-0.dcm", source / "copy-of.dcm")
    (source / "broken").write_bytes(b"nothing")
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(source, workers=1, batch_files=4)
    wh.compact()
    (source / f"{MINE}-5.dcm").rename(folder / "aside.dcm")
    wh.remove(source, delete=True)
    mine, other = (
        wh.sql("select min(series_key) from series where PatientID = $1", [name]).fetchall()[0][0]
        for name in (MINE, OTHER)
    )
    parts = wh.components
    parts.create_socket(title="Note", kind="STR", relative_path="note.json")
    parts.create_socket(
        title="Table", kind="CSV", relative_path="table.csv", store_in_database=False
    )
    parts.create_socket(title="Scan", kind="DCMIS", relative_path="images/scan")
    table = folder / f"{MINE}.csv"
    table.write_text("a,b\n1,2\n")
    kept = parts.add_value("note", "of both", series=mine, by="reader")
    parts.add_value("note", "of both", series=other, by="reader")
    gone = parts.add_value("note", "of mine alone", series=mine, by="reader")
    parts.add_value("note", MINE, series=other, by="reader")
    parts.add_value("table", file=table, series=mine, by="reader")
    parts.add_value("scan", dicom_series=mine)
    parts.put("answers", "case 1", {"note": kept.value_id})
    parts.put("answers", "case 1", {"note": gone.value_id})
    parts.put("answers", MINE, {"note": kept.value_id})
    wh.cohort("ct_thin_slice")


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template / "w", tmp_path / "w")
    return tmp_path


def identifiers(root: Path, condition: str) -> set[str]:
    """Return what tells instances apart, or whose they are, of those that meet a condition."""
    wh = warehouse.open(root)
    own, others = (
        {
            value.strip() for row in wh.sql(
                f"select {', '.join(columns)} from instances where {where}"
            ).fetchall() for value in row if value and len(value.strip()) >= 4
        }
        for where in (condition, f"({condition}) is not true")
        for columns in [[
            "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
            "instance_key", "file_path", "AccessionNumber",
        ]]
    )  # fmt: skip
    return own - others


def same(one: object, other: object) -> bool:
    """Compare without a difference drawn of thousands of rows, which takes minutes."""
    return one == other


def test_no_byte_of_a_patient_is_left_or_comes_back(folder: Path, template: Path) -> None:
    root = folder / "w"
    wanted = identifiers(root, f"PatientID = '{MINE}'") | {f"{MINE} said"}
    assert set(places_of(wanted, root)) == wanted
    wh = warehouse.open(root)
    done = wh.upkeep.forget(patient=MINE, delete=True)
    assert places_of(wanted | {MINE}, root) == {}
    assert (done.state, done.files, done.rows["instances"]) == ("done", 7, 5)
    assert wh.sql("select distinct PatientID from instances").fetchall() == [(OTHER,)]
    report = wh.ingest(template / "in", workers=1)
    assert (report.forgotten, report.created, report.existing) == (6, 0, 4)
    assert places_of(wanted | {MINE}, root) == {}


@pytest.mark.long("test_no_byte_of_a_patient_is_left_or_comes_back")
def test_a_patient_is_in_no_byte(folder: Path, template: Path) -> None:
    root = folder / "w"
    wanted = identifiers(root, f"PatientID = '{MINE}'") | {f"{MINE} said", f"{MINE}-5.dcm"}
    assert len(wanted) > 15
    assert set(places_of(wanted, root)) >= wanted - {f"{MINE}-5.dcm"}
    wh = warehouse.open(root)
    wh.save_cohort("of_one", f"select series_key from series where PatientID = '{MINE}'")
    wh.cohort("of_one")
    # What is kept of this user for any warehouse, beside its folder.
    views = [
        file for kind in ("views", "kept", "reordered") if (file := _file(kind)) and file.exists()
    ]
    assert views
    version, digest = wh.version, wh.find_run("ct_thin_slice").digest
    values = {path.name for path in (root / "values").rglob("*") if path.is_file()}
    assert len(values) == 1
    done = wh.upkeep.forget(patient=MINE, delete=True)
    assert places_of(wanted, root, *views) == {}
    assert places_of([MINE], root) == {}

    assert (done.state, done.files, done.entities["instances"]) == ("done", 7, 5)
    assert done.rows["instances"] == 5
    assert done.rows["elements"] > 100
    assert done.version == wh.version == version + 1
    assert (done.still_named, done.runs) == (0, {"ct_thin_slice-0001": 5, "of_one-0001": 5})
    assert done.questions == 2
    assert done.deleted_bytes > 10_000
    assert [name for name in done.deleted if name.startswith("values/")]

    # The other patient is as if there had been nobody else.
    clean = warehouse.open(folder / "clean", create=True)
    source = folder / "other"
    shutil.copytree(template / "in", source, ignore=shutil.ignore_patterns(f"{MINE}*", "copy*"))
    clean.ingest(source, workers=1)
    left, expected = content(root), content(folder / "clean")
    for table in ("elements", "blobs", "vendor_elements"):
        assert same(left[table], expected[table]), table
    assert len(left["files"]) == len(expected["files"]) == 5

    # Runs and sets know that something is missing.
    run_now = wh.find_run("ct_thin_slice")
    assert (run_now.forgotten, run_now.digest) == (5, digest)
    assert wh.verify(deep=True).is_whole
    assert wh.sql("select count(*) from socket_values").fetchall() == [(1,)]
    assert wh.sql("select count(*) from value_uses").fetchall() == [(1,)]
    entries = wh.sql("select item, value_id is null from value_set_entries order by entry")
    assert entries.fetchall() == [("case 1", False), ("case 1", True)]


@pytest.mark.long("test_no_byte_of_a_patient_is_left_or_comes_back")
def test_it_does_not_come_back_and_may_be_allowed_to(folder: Path, template: Path) -> None:
    wh = warehouse.open(folder / "w")
    before = content(folder / "w")
    wh.upkeep.forget(patient=MINE, delete=True)
    report = wh.ingest(template / "in", workers=1)
    assert (report.forgotten, report.created, report.existing) == (6, 0, 4)
    assert report.files == 11
    # Touched, moved, new: it is read, known again, and by its path the next time.
    moved = folder / "moved"
    moved.mkdir()
    shutil.copy2(template / "in" / f"{MINE}-1.dcm", moved / "1.dcm")
    patient(moved, MINE, 8)
    for _ in range(2):
        report = wh.ingest(moved, workers=1)
        assert (report.forgotten, report.files, report.created) == (2, 2, 0)
    assert places_of([MINE], folder / "w") == {}
    assert sorted(p.name for p in (folder / "w").glob("*/batch=*/*.parquet")) == sorted(
        name for table in delta.snapshot(folder / "w").parts.values() for part in table
        for name in [part.split("/")[1]]
    )  # fmt: skip

    allowed = wh.upkeep.allow(patient=MINE)
    assert allowed.state == "allowed"
    report = wh.ingest(template / "in", workers=1)
    assert (report.forgotten, report.created, report.duplicate) == (0, 5, 1)
    after = content(folder / "w")
    assert same(after["elements"], before["elements"])
    assert same(after["blobs"], before["blobs"])
    with pytest.raises(NothingToForget, match="no patient with that identifier was forgotten"):
        wh.upkeep.allow(patient=MINE)
    # A second time is as the first.
    again = wh.upkeep.forget(patient=MINE, delete=True)
    assert (again.number, again.entities["instances"]) == ("000002", 5)
    assert places_of([MINE], folder / "w") == {}
    assert [receipt.state for receipt in wh.upkeep.receipts()] == ["allowed", "done"]


def test_a_later_file_is_kept_out_by_its_own_entity_alone(folder: Path) -> None:
    """It came after another patient was forgotten, too, who is still forgotten afterwards."""
    source = folder / "new"
    wh = warehouse.open(folder / "w")
    wh.upkeep.forget(patient=MINE, delete=True)
    wh.upkeep.forget(patient=OTHER, delete=True)
    patient(source, MINE, 8)
    patient(source, OTHER, 9)
    for _ in range(2):
        assert wh.ingest(source, workers=1).forgotten == 2
    wh.upkeep.allow(patient=MINE)
    report = wh.ingest(source, workers=1)
    assert (report.created, report.forgotten) == (1, 1)


def test_another_file_at_a_forgotten_path_is_read(folder: Path) -> None:
    source = folder / "in"
    patient(source, MINE, 1)
    wh = warehouse.open(folder / "new", create=True)
    wh.ingest(source, workers=1)
    wh.upkeep.forget(patient=MINE, delete=True)
    aside = shutil.copy2(source / f"{MINE}-1.dcm", folder)
    write(source / f"{MINE}-1.dcm", image("1.5.5", PatientID=OTHER))
    report = wh.ingest(source, workers=1)
    assert (report.created, report.forgotten) == (1, 0)
    # And back, with its time: its row goes, as the file is that of the forgotten one.
    shutil.copy2(aside, source)
    for _ in range(2):
        report = wh.ingest(source, workers=1)
        assert (report.created, report.forgotten) == (0, 1)
    assert content(wh.root)["files"] == content(wh.root)["instances"] == []


@pytest.mark.parametrize(
    "level",
    [
        pytest.param("study", marks=pytest.mark.long("test_a_part_of_a_patient")),
        pytest.param("series", marks=pytest.mark.long("test_a_part_of_a_patient")),
        "instance",
    ],
)
def test_a_part_of_a_patient(folder: Path, level: str) -> None:
    root = folder / "w"
    wh = warehouse.open(root)
    column = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}.get(
        level, "SOPInstanceUID"
    )
    (uid,) = wh.sql(f"select max({column}) from instances where PatientID = $1", [MINE]).fetchall()[
        0
    ]
    wanted = identifiers(root, f"{column} = '{uid}'")
    count = wh.sql(f"select count(*) from instances where {column} = $1", [uid]).fetchall()[0][0]
    total = wh.sql("select count(*) from instances").fetchall()[0][0]
    done = wh.upkeep.forget(**{level: uid}, delete=True)
    assert (done.level, done.entities["instances"], done.still_named) == (level, count, 0)
    assert places_of(wanted | {uid}, root) == {}
    assert wh.sql("select count(*) from instances").fetchall() == [(total - count,)]
    assert wh.verify(deep=True).is_whole
    content(root)


@pytest.mark.long("test_no_byte_of_a_patient_is_left_or_comes_back")
@pytest.mark.parametrize("who", some(["98890234", "12345678", "ID1", "CQ500-CT-310"], ["98890234"]))
def test_the_samples_of_the_packages(who: str, sample: warehouse.Warehouse, tmp_path: Path) -> None:
    """Directories of files list one of them; another has no more than a name of eight digits."""
    root = tmp_path / "w"
    shutil.copytree(sample.root, root)
    wh = warehouse.open(root)
    wanted = identifiers(root, f"PatientID = '{who}'")
    assert len(wanted) > 3
    wh.cohort("ct_thin_slice", max_slice_mm=100)
    done = wh.upkeep.forget(patient=who, delete=True)
    assert places_of(wanted, root) == {}
    assert done.still_named == 0
    assert wh.verify().is_whole
    report = wh.ingest(PACKAGED["pydicom"], workers=1)
    assert report.created == 0
    assert report.forgotten >= done.files
    assert places_of(wanted, root) == {}


def test_what_refers_to_it_is_counted_and_stays(tmp_path: Path) -> None:
    source = tmp_path / "in"
    patient(source, MINE, 0, 1)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1)
    (first, second) = (
        row[0] for row in wh.sql("select instance_key from instances order by all").fetchall()
    )
    made = image("1.77", PatientID=MINE, ReferencedSOPInstanceUIDInFile=first)
    write(source / "refers.dcm", made)
    wh.ingest(source, workers=1)
    done = json.loads(run("forget", "--instance", first, "-w", wh.root, "--json").stdout)
    assert (done["still_named"], done["state"], done["rows"]) == (1, "begun", {})
    wh.upkeep.forget(instance=first, delete=True)
    assert {path.split("/")[0] for path in places_of([first], wh.root)[first]} == {"elements"}
    assert wh.sql("select count(*) from instances").fetchall() == [(2,)]
    assert second


# -- stopped, and at the same time ----------------------------------------------------------------

STEPS = [
    "warehouse.forget.erase", "warehouse.store.delta.commit", "warehouse.forget.erase_in_runs",
    "warehouse.forget._clean_plans", "warehouse.forget._delete_unnamed",
]  # fmt: skip


LATE = pytest.param(
    "warehouse.forget._delete_unnamed", False, marks=pytest.mark.long("test_killed_and_asked_again")
)


@pytest.mark.parametrize(
    ("step", "after"),
    some(
        [(step, after) for step in STEPS for after in (False, True) if (step, after) != LATE.values]
        + [LATE],
        [("warehouse.store.delta.commit", True), LATE],
    ),
)
def test_killed_and_asked_again(
    folder: Path, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it goes on it is visible as a whole or not at all; then it is as if never stopped."""
    root = folder / "w"
    module, name = step.rsplit(".", 1)
    real = getattr(__import__(module, fromlist=[name]), name)

    def killed(*arguments: Any, **options: Any) -> Any:
        if after:
            real(*arguments, **options)
        raise KeyboardInterrupt

    whole = content(root)
    with monkeypatch.context() as patched:
        patched.setattr(step, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(root, "patient", MINE, delete=True)
    between = content(root)
    assert same(between, whole) or len(between["instances"]) == 4
    wh = warehouse.open(root)
    assert wh.verify().is_whole
    assert [receipt.state for receipt in wh.upkeep.receipts()] == ["begun"]
    done = wh.upkeep.forget(patient=MINE, delete=True)
    assert done.number == "000001"
    assert places_of([MINE], root) == {}
    assert wh.verify(deep=True).is_whole
    assert wh.upkeep.forget(patient=MINE, delete=True) == done


@pytest.mark.parametrize(
    "times", [1, pytest.param(2, marks=pytest.mark.long("test_killed_between_the_files_of_a_run"))]
)
def test_killed_between_the_files_of_a_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A run says that members were forgotten before they are missing: its digest includes them."""
    root = folder / "w"
    real = erased._write

    def killed(path: Path, written: bytes) -> None:
        real(path, written)
        raise KeyboardInterrupt

    wh = warehouse.open(root)
    (run,) = wh.runs()
    for _ in range(times):
        with monkeypatch.context() as patched:
            patched.setattr(erased, "_write", killed)
            with pytest.raises(KeyboardInterrupt):
                wh.upkeep.forget(patient=MINE, delete=True)
        assert wh.verify().is_whole
    wh.upkeep.forget(patient=MINE, delete=True)
    assert wh.verify().is_whole
    after = wh.find_run(run.run)
    assert after.forgotten == run.counts["instances"] - wh.members(after).collect().height > 0


def test_an_ingest_that_is_running_is_waited_for_by_the_operator(folder: Path) -> None:
    with locks.writing(folder / "w"), pytest.raises(WritersRunning, match="when it has ended"):
        forget(folder / "w", "patient", MINE, delete=True)
    assert not (folder / "w" / "_forgotten").exists()


def test_files_that_were_listed_before_are_not_committed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingest found them, then they were forgotten, then it read them."""
    patient(folder / "in", MINE, 9)
    patient(folder / "in", OTHER, 9)
    real, asked = locks.writing, []

    def writing(root: Path) -> Any:
        if not asked:
            asked.append(root)
            forget(root, "patient", MINE, delete=True)
        return real(root)

    monkeypatch.setattr("warehouse.ingest.locks.writing", writing)
    report = warehouse.open(folder / "w").ingest(folder / "in", workers=1)
    assert (report.created, report.forgotten) == (1, 1)
    assert places_of([MINE], folder / "w") == {}


def test_a_batch_that_was_planned_does_without(folder: Path) -> None:
    wh = warehouse.open(folder / "w")
    patient(folder / "in", MINE, 3)
    (batch,) = wh.batches.plan(folder / "in")
    wh.upkeep.forget(patient=MINE, delete=True)
    assert wh.batches.run(batch).forgotten == 1
    assert wh.sql("select distinct PatientID from instances").fetchall() == [(OTHER,)]


@pytest.mark.long("test_a_batch_that_was_planned_does_without")
def test_a_planned_batch_does_without(folder: Path, template: Path) -> None:
    root = folder / "w"
    wh = warehouse.open(root)
    patient(folder / "in", MINE, 3)
    patient(folder / "in", OTHER, 8)
    (batch,) = wh.batches.plan(folder / "in")
    assert places_of([str(folder / "in" / f"{MINE}-3.dcm")], root)
    wh.upkeep.forget(patient=MINE, delete=True)
    assert wh.batches.run(batch).forgotten == 1
    wh.upkeep.allow(patient=MINE)
    wh.ingest(folder / "in", workers=1)
    (folder / "in" / f"{MINE}-3.dcm").touch()
    (batch,) = wh.batches.plan(folder / "in")
    wh.batches.run(batch)
    os.utime(folder / "in" / f"{MINE}-3.dcm", (1, 1))
    wh.batches.plan(folder / "in")
    wh.upkeep.forget(patient=MINE, delete=True)
    assert places_of([MINE], root / "_forgotten") == {}


def test_each_table_of_people_says_how_it_is_erased() -> None:
    """A new one that speaks of instances and does not would keep them."""
    silent = {t.name for t in REGISTRY if t.is_appended and t.without_erased is None}
    of_nobody = {
        "socket_versions", "algorithm_interfaces", "artifact_events", "algorithm_versions",
        "algorithm_matching",
    }  # fmt: skip
    assert silent == of_nobody, "of sockets and algorithms, not of instances"


# -- what is left, and what is said ---------------------------------------------------------------


def test_jobs_about_it_go_and_their_folders(folder: Path) -> None:
    root = folder / "w"
    mine, other = (
        warehouse.open(root).sql(
            "select min(series_key) from series where PatientID = $1", [name]
        ).fetchall()[0][0] for name in (MINE, OTHER)
    )  # fmt: skip
    specs, events = (named(name).stored_schema for name in ("job_specs", "job_events"))
    jobs = {"mine": [mine], "other": [other], "printed": [other]}
    append_rows(root, {
        "job_specs": pa.Table.from_pylist([
            dict.fromkeys(specs.names)
            | {"job_id": job, "algorithm": "a", "input_series": series, "input_values": [None]}
            for job, series in jobs.items()
        ], specs),
        "job_events": pa.Table.from_pylist([
            dict.fromkeys(events.names)
            | {"job_id": job, "event": 0, "stdout": f"read {mine}" if job == "printed" else "ok"}
            for job in jobs
        ], events),
    })  # fmt: skip
    for place in ("images", "task-of-one"):
        (root / "_jobs" / place).mkdir(parents=True)
        (root / "_jobs" / place / "x").write_text(f"of {MINE}" if place != "images" else "busybox")
    lock = root / "_jobs" / ".a.lock"
    lock.touch()
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WritersRunning):
            forget(root, "patient", MINE, delete=True)
    done = forget(root, "patient", MINE, delete=True)
    assert (done.rows["job_specs"], done.rows["job_events"]) == (2, 2)
    jobs_left = warehouse.open(root).sql("select job_id from job_specs").fetchall()
    assert jobs_left == [("other",)]
    assert places_of([MINE, mine], root) == {}
    assert sorted(path.name for path in (root / "_jobs").iterdir()) == [".a.lock", "images"]


def test_a_job_that_printed_a_patient_whose_id_is_a_uid_goes(tmp_path: Path) -> None:
    """As of files that other software has de-identified; 3.11.7 is a version wherever it stands."""
    wh = warehouse.open(tmp_path / "w", create=True)
    ids = ("1.2.826.0.1.3680043.8.498.7", "3.11.7")
    for number, name in enumerate(ids):
        uid = f"1.87.{number}"
        write(
            tmp_path / "in" / name, uid=uid, PatientID=name, PatientName=f"{name}9",
            StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2",
        )  # fmt: skip
    wh.ingest(tmp_path / "in", workers=1)
    specs, events = (named(name).stored_schema for name in ("job_specs", "job_events"))
    said = {"id": f"read {ids[0]}", "name": f"of {ids[0]}9:", "version": "Python 3.11.7"}
    append_rows(tmp_path / "w", {
        "job_specs": pa.Table.from_pylist([
            dict.fromkeys(specs.names) | {"job_id": job, "algorithm": "a", "input_values": [None]}
            for job in said
        ], specs),
        "job_events": pa.Table.from_pylist([
            dict.fromkeys(events.names) | {"job_id": job, "event": 0, "stdout": text}
            for job, text in said.items()
        ], events),
    })  # fmt: skip
    for name in ids:
        forget(tmp_path / "w", "patient", name, delete=True)
    wh = warehouse.open(tmp_path / "w")
    assert wh.sql("select job_id from job_specs").fetchall() == [("version",)]
    assert places_of(ids[:1], tmp_path / "w") == {}


def test_a_patient_whose_id_is_a_number_leaves_the_numbers_of_others(tmp_path: Path) -> None:
    """12.5 in a value or a log of another patient is a number, not this patient."""
    wh = warehouse.open(tmp_path / "w", create=True)
    for number, name in enumerate(("12.5", OTHER)):
        uid = f"1.88.{number}"
        write(
            tmp_path / "in" / name, uid=uid, PatientID=name, PatientName=f"{name}^Name",
            StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2",
        )  # fmt: skip
    wh.ingest(tmp_path / "in", workers=1)
    wh.components.create_socket(title="Score", kind="FLT", relative_path="score.json")
    wh.components.add_value("score", 12.5, patient=OTHER, by="reader")
    wh.components.add_value("score", 12.5, patient="12.5", by="reader")
    specs, events = (named(name).stored_schema for name in ("job_specs", "job_events"))
    job = {"job_id": "one", "algorithm": "a", "input_values": [None]}
    event = {"job_id": "one", "event": 0, "stdout": "volume 12.5 ml"}
    append_rows(tmp_path / "w", {
        "job_specs": pa.Table.from_pylist([dict.fromkeys(specs.names) | job], specs),
        "job_events": pa.Table.from_pylist([dict.fromkeys(events.names) | event], events),
    })  # fmt: skip
    forget(tmp_path / "w", "patient", "12.5", delete=True)
    wh = warehouse.open(tmp_path / "w")
    assert wh.sql("select about_key from value_uses").fetchall() == [(OTHER,)]
    assert wh.sql("select count(*) from socket_values").fetchall() == [(1,)]
    assert wh.sql("select job_id from job_specs").fetchall() == [("one",)]


def test_nobody_has_a_name(tmp_path: Path) -> None:
    """As in an archive without identity; a directory of files has no patient, study or series."""
    for number, name in enumerate((MINE, OTHER)):
        uid = f"1.{number}"
        write(
            tmp_path / "in" / uid, uid=uid, PatientID=name, PatientName=None,
            StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2",
        )  # fmt: skip
    directory = dataset(
        SOPClassUID="1.2.840.10008.1.3.10", SOPInstanceUID="1.9",
        DirectoryRecordSequence=[
            dataset(DirectoryRecordType="PATIENT", PatientID=name) for name in (MINE, OTHER)
        ],
    )  # fmt: skip
    write(tmp_path / "in" / "DICOMDIR", directory)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    shutil.copytree(tmp_path / "w", tmp_path / "w2")
    one = {"patients": 1, "studies": 1, "series": 1, "instances": 2}
    assert wh.upkeep.forget(patient=MINE, delete=True).entities == one
    # The last one: nothing is left that could have the same.
    assert wh.upkeep.forget(patient=OTHER, delete=True).entities == one | {"instances": 1}
    assert places_of([MINE, OTHER], tmp_path / "w") == {}
    # The directory is the last instance.
    for number in range(2):
        (tmp_path / "in" / f"1.{number}").unlink()
    wh = warehouse.open(tmp_path / "w2")
    wh.remove(tmp_path / "in", delete=True)
    nobody = {"patients": 0, "studies": 0, "series": 0, "instances": 1}
    assert wh.upkeep.forget(patient=MINE, delete=True).entities == nobody | {"patients": 1}


def test_tombstones_name_nobody_and_cannot_be_lost(folder: Path, template: Path) -> None:
    root = folder / "w"
    wh = warehouse.open(root)
    wh.upkeep.forget(patient=MINE, delete=True)
    key = root / "_forgotten" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    stone = root / "_forgotten" / "000001.json"
    assert json.loads(stone.read_text())["names"] == []
    key.rename(folder / "key")
    with pytest.raises(StoreDamaged, match="key is missing"):
        wh.ingest(template / "in", workers=1)
    (folder / "key").rename(key)
    stone.write_text("{")
    with pytest.raises(StoreDamaged, match="cannot be read"):
        wh.ingest(template / "in", workers=1)


def test_what_is_not_known_is_not_forgotten(folder: Path) -> None:
    wh = warehouse.open(folder / "w")
    with pytest.raises(NothingToForget) as error:
        wh.upkeep.forget(patient="PAT-NOBODY", delete=True)
    assert "NOBODY" not in str(error.value)
    assert wh.upkeep.receipts() == []
    for given in ({}, {"patient": "a", "study": "1.2"}, {"series": "  "}):
        with pytest.raises(UsageError):
            wh.upkeep.forget(**given, delete=True)


def test_the_command_counts_forgets_and_lists(folder: Path) -> None:
    root = folder / "w"
    counted = run("forget", "--patient", MINE, "-w", root)
    assert counted.stdout == (
        "1 patient, 2 studies, 3 series, 5 instances; 7 files\n"
        "use --yes to forget them; this also deletes older versions of the warehouse\n"
    )
    assert not (root / "_forgotten").exists()
    done = run("forget", "--patient", MINE, "-w", root, "--yes")
    assert "forgotten: receipt 000001, " in done.stdout
    assert "1 run of cohorts lost members; 0 queries contained" in done.stdout
    (receipt,) = json.loads(run("forget", "--list", "--json", "-w", root).stdout)
    assert receipt["state"] == "done"
    assert MINE not in json.dumps(receipt)
    assert "000001" in run("forget", "--list", "-w", root).stdout
    assert "may be ingested again" in run("forget", "--allow", "--patient", MINE, "-w", root).stdout
    assert run("forget", "-w", root).returncode == 2
    unknown = run("forget", "--study", "9.9.9", "-w", root, "--yes")
    assert unknown.returncode == 1
    assert "9.9.9" not in unknown.stderr
    whats = [entry.what for entry in warehouse.open(root).upkeep.audit()]
    assert whats[-3:] == ["forget", "allow", "forget"]


def test_a_full_disk_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = delta.snapshot(folder / "w")

    def refuse(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(blobs, "_write_values", refuse)
        with pytest.raises(OSError, match="No space"):
            forget(folder / "w", "patient", MINE, delete=True)
    assert delta.snapshot(folder / "w") == before
    assert warehouse.open(folder / "w").verify().is_whole
