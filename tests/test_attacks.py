"""Sources that are hostile or change under the reader's hands. The long forms are in tests/soak/."""

from __future__ import annotations

import datetime as dt
import os
import random
import socket
import threading
import time
import zipfile
from pathlib import Path

import pydicom
import pytest

import warehouse
from tests.command_line import run
from tests.content import content
from tests.dicom_files import element, image, part10, write
from tests.mutations import read
from tests.test_crashes import ten_files
from warehouse.ingest import ingest, plan, run_batch
from warehouse.settings import IngestSettings, Mode
from warehouse.store.compact import compact
from warehouse.store.vacuum import vacuum
from warehouse.workers import WorkerPool

SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, batch_files=4, chunk_files=2)
AT_ONCE = IngestSettings(mode=Mode.FULL, workers=1)


def read_mutants(count: int, seed: int, folder: Path) -> dict[str, float]:
    """Read damaged files in a process that ends when one takes too much time or memory."""
    with WorkerPool(1) as pool:
        return pool.submit(read, count, seed, folder).result()


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_files_take_bounded_time_and_memory(tmp_path: Path, seed: int) -> None:
    found = read_mutants(100, seed, tmp_path)
    assert found["files"] == 100
    assert 0 < found["rejected"] < 100, "some damage is fatal, some is not"


# -- sources that change --------------------------------------------------------------------------


def version_of(number: int) -> dict[str, object]:
    """Values of one writing of a file: all of them say which, in a header of another length."""
    return {
        "PatientID": f"v{number}", "StudyDescription": f"v{number}" + "x" * (number % 7) * 2,
        "SeriesDescription": f"v{number}",
    }  # fmt: skip


def read_while_written(
    folder: Path, root: Path, ingests: int, files: int = 6, writings: int = 20
) -> dict[str, int]:
    """Ingest a folder again and again while its files are overwritten; say what was seen."""
    drafts = root.parent / "drafts"
    names = [f"{number}" for number in range(files)]
    for number, name in enumerate(names):
        write(folder / name, image(f"1.{number}", **version_of(0)))
    for writing in range(1, writings):
        for number, name in enumerate(names):
            write(drafts / f"{name}-{writing}", image(f"1.{number}", **version_of(writing)))
    stop = threading.Event()
    seen = {"ingests": ingests, "writings": 0, "replaced": 0, "rejected": 0}

    def write_on() -> None:
        chance = random.Random(0)
        while not stop.is_set():
            name, writing = chance.choice(names), chance.randrange(1, writings)
            made = (drafts / f"{name}-{writing}").read_bytes()
            half = chance.randrange(len(made))
            # In place, in two halves: not as a careful writer does it. Between them nobody reads
            # the whole, and what is waited there takes no processor.
            with open(folder / name, "wb", buffering=0) as file:
                file.write(made[:half])
                stop.wait(0.0005)
                file.write(made[half:])
            seen["writings"] += 1

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        for _ in range(ingests):
            report = ingest(root, [folder], SETTINGS)
            seen["replaced"] += report.replaced
            seen["rejected"] += report.rejected
            content(root)
    finally:
        stop.set()
        writer.join()
    return seen


def test_two_files_that_are_written_while_they_are_read_end_as_they_are(tmp_path: Path) -> None:
    folder, root = tmp_path / "in", tmp_path / "w"
    read_while_written(folder, root, ingests=1, files=2, writings=5)
    ingest(root, [folder], SETTINGS)
    wh = warehouse.open(root)
    for number in range(2):
        last = pydicom.dcmread(folder / f"{number}")
        asked = {"SOPInstanceUID": f"1.{number}"}
        columns = ["PatientID", "StudyDescription", "SeriesDescription"]
        (row,) = wh.select("instances", asked, columns=columns).fetchall()
        assert row == tuple(last[column].value for column in columns)


@pytest.mark.long("test_two_files_that_are_written_while_they_are_read_end_as_they_are")
def test_files_that_are_written_while_they_are_read_end_as_they_are(tmp_path: Path) -> None:
    """Rows of a file are of one writing or the file is rejected; the next ingest sees the last."""
    folder, root = tmp_path / "in", tmp_path / "w"
    read_while_written(folder, root, ingests=3)
    ingest(root, [folder], SETTINGS)
    ingest(tmp_path / "clean", [folder], SETTINGS)
    assert content(root) == content(tmp_path / "clean")


def test_a_file_whose_clock_went_backwards_is_read_again(tmp_path: Path) -> None:
    """Each file has its own times, one after the other; all are read at once."""
    folder, root = tmp_path / "in", tmp_path / "w"
    clocks = [(1_000_000_000, 0), (0, 4_000_000_000), (4_000_000_000, 1)]
    for number in range(len(clocks)):
        write(folder / f"{number}", uid=f"1.{number}", PatientID="AA")
    ingest(root, [folder], AT_ONCE)
    for step, patient in enumerate(("BB", "CC")):
        for number, seconds in enumerate(clocks):
            path = write(folder / f"{number}", uid=f"1.{number}", PatientID=patient)
            os.utime(path, (seconds[step],) * 2)
        assert ingest(root, [folder], AT_ONCE).replaced == len(clocks)
        assert warehouse.open(root, create=True).sql(
            "select PatientID from instances"
        ).fetchall() == [(patient,)] * len(clocks)
        assert ingest(root, [folder], AT_ONCE).existing == len(clocks)


def test_a_file_that_came_before_the_last_commit_by_the_clock_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backwards(monkeypatch)
    for number in range(2):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
        ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS)
        vacuum(tmp_path / "w", dt.timedelta(0), delete=True)
    compact(tmp_path / "w")
    vacuum(tmp_path / "w", dt.timedelta(0), delete=True)
    assert [row[0] for row in content(tmp_path / "w")["instances"]] == ["1.0", "1.1"]


def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock tell a day earlier than the one before."""
    now = [time.time_ns()]

    def a_day_earlier() -> int:
        now[0] -= 86_400 * 10**9
        return now[0]

    monkeypatch.setattr(time, "time_ns", a_day_earlier)
    monkeypatch.setattr(time, "time", lambda: a_day_earlier() / 10**9)


@pytest.mark.long("test_a_file_that_came_before_the_last_commit_by_the_clock_is_there")
def test_a_clock_of_the_machine_that_runs_backwards_changes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ten_files(tmp_path / "in")
    ingest(tmp_path / "clean", [source], SETTINGS)
    backwards(monkeypatch)
    root = tmp_path / "w"
    for some in ([source / "5"], [source / "0", source / "copy"], [source]):
        ingest(root, some, SETTINGS)
        vacuum(root, dt.timedelta(0), delete=True)
    compact(root)
    vacuum(root, dt.timedelta(0), delete=True)
    monkeypatch.undo()
    assert content(root) == content(tmp_path / "clean")


# -- values and names that are code or paths ------------------------------------------------------

VALUES = [
    "../../x", "/etc/passwd", "'; drop table files; --", 'x"y', "a\nb", "a\tb", "{root.__class__}",
    "$(reboot)", "%s%n", "[red]x[/]", "-w", "NULL", "nan",
]  # fmt: skip


def write_values(folder: Path) -> None:
    for number, value in enumerate(VALUES):
        padded = value.encode() + b" " * (len(value) % 2)
        uid = value.encode() + b"\0" * (len(value) % 2)
        (folder / f"{number:02}").write_bytes(
            part10(
                element(0x00080060, "CS", b"CT"), element(0x00100010, "PN", padded),
                element(0x00100020, "LO", padded), element(0x0020000D, "UI", uid),
                element(0x0020000E, "UI", uid), uid=value,
            )
        )  # fmt: skip


def test_values_that_are_paths_or_code_are_stored_as_they_are(tmp_path: Path) -> None:
    folder, root = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    write_values(folder)
    outside = {path for path in tmp_path.rglob("*") if root not in path.parents}
    assert ingest(root, [folder], AT_ONCE).created == len(VALUES)
    question = "select PatientID, SOPInstanceUID from instances order by file_path"
    wh = warehouse.open(root)
    assert wh.sql(question).fetchall() == [(value, value) for value in VALUES]
    for value in VALUES[:3]:
        assert wh.select("instances", {"PatientID": value}).shape[0] == 1
    assert {path for path in tmp_path.rglob("*") if root not in path.parents} - {root} == outside


@pytest.mark.long("test_values_that_are_paths_or_code_are_stored_as_they_are")
def test_values_that_are_paths_or_code_are_only_values(tmp_path: Path) -> None:
    """What every view makes of them is asked in tests/sql/test_extreme_numbers.py."""
    folder, root = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    write_values(folder)
    outside = {path for path in tmp_path.rglob("*") if root not in path.parents}
    report = ingest(root, [folder], AT_ONCE)
    assert (report.created, report.rejected) == (len(VALUES), 0)
    wh = warehouse.open(root, create=True)
    question = "select {} from instances order by file_path"
    assert [v for (v,) in wh.sql(question.format("PatientID")).fetchall()] == VALUES
    assert [v for (v,) in wh.sql(question.format("SOPInstanceUID")).fetchall()] == VALUES
    for value in VALUES:
        assert wh.select("instances", {"PatientID": value}).shape[0] == 1
        assert wh.header(value)["PatientID"] == value
    every = wh.cohort("ct_thin_slice", max_slice_mm=1000)
    assert every.run == "ct_thin_slice-0001"
    assert {path for path in tmp_path.rglob("*") if root not in path.parents} - {root} == outside


def test_a_value_that_looks_like_an_option_or_markup_is_printed_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a", uid="1.1", PatientID="[red]x[/]")
    ingest(tmp_path / "w", [tmp_path / "a"], AT_ONCE)
    done = run("header", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert "[red]x[/]" in done.stdout


NAMES = [
    "it's", 'a"b', "a\nb", "a\tb", "'; drop table files; --", "-w", "--json", "*.dcm", "[a-z]", "a%20b",
    "a\\b", "$(reboot)", "~", "batch=1", " ", "é", "e\u0301", "\u202egpj.exe", "{x}", "a!", "x" * 255,
]  # fmt: skip


def test_names_that_are_code_or_patterns_are_only_names(tmp_path: Path) -> None:
    folder, root = tmp_path / "in", tmp_path / "w"
    for number, name in enumerate(NAMES):
        write(folder / name, uid=f"1.{number}")
    write(folder / "plain", uid="2.1")
    os.rename(os.fsencode(folder / "plain"), os.fsencode(folder) + b"/\xff\xfe")
    report = ingest(root, [folder], AT_ONCE)
    assert (report.created, report.rejected) == (len(NAMES) + 1, 0)
    wh = warehouse.open(root, create=True)
    rows = dict(wh.sql("select SOPInstanceUID, file_path from files").fetchall())
    assert rows.pop("2.1").endswith("/%FF%FE")
    assert rows == {f"1.{number}": str(folder / name) for number, name in enumerate(NAMES)}
    # Found again by name: nothing is read twice, one that changes is replaced.
    write(folder / NAMES[2], uid="1.2", PatientID="changed")
    again = ingest(root, [folder], AT_ONCE)
    assert (again.existing, again.replaced) == (len(NAMES), 1)
    for name in NAMES:
        assert wh.header(str(folder / name))["SOPInstanceUID"].startswith("1.")


def test_an_archive_whose_name_is_no_text_is_read_like_any_other(tmp_path: Path) -> None:
    """Listed, planned, read, found again: its name crosses tables and processes as an address."""
    plain, root = tmp_path / "in" / "a.zip", tmp_path / "w"
    one = write(tmp_path / "1.dcm", Rows=3)
    plain.parent.mkdir()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.write(one, "1.dcm")
        archive.writestr("2.dcm", b"no DICOM")
    os.rename(plain, os.fsencode(plain.parent) + b"/\xff.zip")
    report = ingest(root, [plain.parent], AT_ONCE)
    assert (report.created, report.rejected) == (1, 1)
    assert ingest(root, [plain.parent], AT_ONCE).existing == 1
    wh = warehouse.open(root, create=True)
    rows = wh.sql("select file_path, status from files order by 1").fetchall()
    name = f"file://{plain.parent}/%FF.zip!/"
    assert rows == [(f"{name}1.dcm", "ingested"), (f"{name}2.dcm", "rejected")]
    assert wh.header(f"{name}1.dcm")["Rows"] == 3
    planned = tmp_path / "planned"
    warehouse.open(planned, create=True)
    (batch,) = plan(planned, [plain.parent])
    assert run_batch(planned, batch).created == 1
    assert run_batch(planned, batch).files == 2


def test_a_listing_is_handed_on_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files there are; a million of them are listed in tests/soak/."""
    for number in range(95):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
    pieces = []
    real = warehouse.parallel_listing.listing_table

    def seen(rows: list[tuple[object, ...]]) -> object:
        pieces.append(len(rows))
        return real(rows)

    monkeypatch.setattr(warehouse.parallel_listing, "RUN_FILES", 10)
    monkeypatch.setattr(warehouse.parallel_listing, "listing_table", seen)
    monkeypatch.setattr(warehouse.planned, "listing_table", seen)
    assert len(plan(tmp_path / "w", [tmp_path / "in"], IngestSettings(batch_files=20))) == 5
    # The listing, then the batches.
    assert pieces == [10] * 9 + [5] + [20] * 4 + [15]


# -- what is no file ------------------------------------------------------------------------------


def test_devices_sockets_and_links_to_them_are_rows_and_block_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "good", uid="1.1")
    for name in ("zero", "full", "random", "tty"):
        (folder / name).symlink_to(f"/dev/{name}")
    (folder / "self").symlink_to("/proc/self/mem")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        # A path of a socket may be no longer than 107 bytes.
        before = os.open(".", os.O_RDONLY)
        os.chdir(folder)
        try:
            bound.bind("socket")
        finally:
            os.fchdir(before)
            os.close(before)
        report = ingest(tmp_path / "w", [folder], SETTINGS)
    assert (report.files, report.created, report.rejected) == (8, 1, 7)
    assert all(reason for _, reason in report.rejects)
