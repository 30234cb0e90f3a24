"""Folders → a warehouse: the same files give the same rows, whatever happens on the way."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import random
import shutil
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import warehouse
from tests.asking import answer_of
from tests.content import content, parts
from tests.dicom_files import dataset, element, image, item, part10, sequence, write
from tests.forms import some
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.elements import extract
from warehouse.elements.columns import Batch
from warehouse.elements.fast import BatchRead
from warehouse.errors import LayoutMismatch, NotAWarehouse, SourceNotFound, UnknownMode, UsageError
from warehouse.ingest import IngestReport, ingest, plan, planned_batches, run_batch
from warehouse.settings import IngestSettings, Mode
from warehouse.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable

ALONE = IngestSettings(workers=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


def run(root: Path, *sources: Path, mode: str = "full", **options: Any) -> IngestReport:
    report = ingest(
        root, sources, IngestSettings(mode=Mode.parse(mode), **{"workers": 1, **options})
    )
    outcomes = (
        report.created + report.replaced + report.existing + report.duplicate + report.rejected
    )
    assert outcomes == report.files, report
    return report


def statuses(root: Path) -> dict[str, str]:
    rows = ask(root, "select file_path, status from files")
    return {Path(path).name: status for path, status in rows}


def ask(root: Path, query: str) -> list[tuple[Any, ...]]:
    return answer_of(warehouse.open(root, create=True), query)


def some_files(folder: Path) -> None:
    """A collection with something of everything: duplicates, blobs, private elements, rejects."""
    for number in range(6):
        made = image(f"1.{number}", SeriesInstanceUID=f"2.{number % 2}", InstanceNumber=number)
        made.add_new(0x00291010, "OB", bytes([number % 3]) * 400)
        made.add_new(0x00290010, "LO", "OURS")
        header = csa([("B_value", "IS", [str(number % 3)]), ("ImageComment", "LT", [])])
        add_private(made, CSA, 0x29, 0x11, x10=("OB", header), x20=("OB", b"no header"))
        made.RequestAttributesSequence = [dataset(ScheduledProcedureStepID=str(number))]
        write(folder / f"series{number % 2}" / f"{number}.dcm", made)
    shutil.copy(folder / "series0" / "0.dcm", folder / "copy.dcm")
    shutil.copy(folder / "series1" / "1.dcm", folder / "zcopy.dcm")
    (folder / "notes.dcm").write_text("no DICOM at all, but a name that says so")
    (folder / "zeros").write_bytes(bytes(2000))


# -- again, changed, copied -----------------------------------------------------------------------


@pytest.mark.acceptance("D6")
def test_again_is_nothing_twice(source: Path, root: Path) -> None:
    some_files(source)
    first = run(root, source)
    assert (first.created, first.duplicate, first.rejected) == (6, 2, 2)
    held, before = content(root), parts(root)
    again = run(root, source)
    assert (again.created, again.existing, again.duplicate, again.rejected) == (0, 6, 2, 2)
    assert again.batches == []
    assert again.version == first.version
    assert content(root) == held
    assert parts(root) == before


def test_the_report_names_what_was_rejected_and_why(source: Path, root: Path) -> None:
    some_files(source)
    report = run(root, source)
    assert [(Path(path).name, reason.split(":")[0]) for path, reason in report.rejects] == [
        ("notes.dcm", "not DICOM"), ("zeros", "not DICOM"),
    ]  # fmt: skip
    assert run(root, source).rejects == report.rejects


@pytest.mark.acceptance("D13")
@pytest.mark.acceptance("D79")
def test_a_changed_file_is_replaced(source: Path, root: Path) -> None:
    write(source / "a", uid="1.1", PatientID="old")
    write(source / "b", uid="1.2", PatientID="other")
    run(root, source)
    write(source / "a", uid="1.1", PatientID="newer")
    report = run(root, source)
    assert (report.replaced, report.existing) == (1, 1)
    assert sorted(ask(root, "select PatientID from instances")) == [("newer",), ("other",)]
    assert ask(root, "select text from elements where keyword = 'PatientID' order by text") == [
        ("newer",), ("other",),
    ]  # fmt: skip


def test_a_file_changed_within_the_same_size_is_seen_by_its_time(source: Path, root: Path) -> None:
    write(source / "a", PatientID="AA")
    run(root, source)
    write(source / "a", PatientID="BB")
    os.utime(source / "a", ns=(0, 1))
    assert run(root, source).replaced == 1
    assert ask(root, "select PatientID from instances") == [("BB",)]


def test_a_changed_file_that_is_broken_now_loses_its_rows(source: Path, root: Path) -> None:
    write(source / "a")
    run(root, source)
    (source / "a").write_text("gone")
    assert run(root, source).rejected == 1
    assert statuses(root) == {"a": "rejected"}
    assert ask(root, "from elements") == ask(root, "from instances") == []


def test_a_rejected_file_that_was_mended_is_ingested(source: Path, root: Path) -> None:
    (source / "a").write_text("not yet")
    run(root, source)
    write(source / "a")
    run(root, source)
    assert statuses(root) == {"a": "ingested"}


def test_of_copies_the_smallest_path_holds_the_instance(source: Path, root: Path) -> None:
    for name in ("b", "a", "c"):
        write(source / name, uid="1.1", PatientID=name)
    report = run(root, source)
    assert (report.created, report.duplicate) == (1, 2)
    assert statuses(root) == {"a": "ingested", "b": "duplicate", "c": "duplicate"}
    assert ask(root, "select PatientID, file_path from instances") == [("a", str(source / "a"))]
    assert ask(root, "select held_by from duplicates") == [(str(source / "a"),)] * 2


def test_a_copy_that_comes_later_with_a_smaller_path_takes_over(source: Path, root: Path) -> None:
    write(source / "b", uid="1.1", PatientID="b")
    write(source / "other", uid="1.2")
    run(root, source)
    write(source / "a", uid="1.1", PatientID="a")
    report = run(root, source)
    assert (report.created, report.duplicate, report.existing) == (0, 1, 2)
    assert statuses(root) == {"a": "ingested", "b": "duplicate", "other": "ingested"}
    assert ask(
        root, "select count(*), max(PatientID) from instances where SOPInstanceUID = '1.1'"
    ) == [(1, "a")]


@pytest.mark.parametrize("folder", ["plain", "with!", "Gr\udcfcn"])
def test_when_the_holder_changes_its_copy_is_promoted(
    tmp_path: Path, root: Path, folder: str
) -> None:
    source = tmp_path / folder
    write(source / "a", uid="1.1")
    write(source / "b", uid="1.1", PatientID="b")
    run(root, source)
    write(source / "a", uid="1.2")
    run(root, source)
    assert statuses(root) == {"a": "ingested", "b": "ingested"}
    assert ask(root, "select SOPInstanceUID, PatientID from instances order by all") == [
        ("1.1", "b"),
        ("1.2", "P1"),
    ]


def test_a_promoted_copy_keeps_the_mode_it_was_read_in(source: Path, root: Path) -> None:
    write(source / "a", uid="1.1")
    write(source / "b", uid="1.1")
    run(root, source, mode="full")
    write(source / "a", uid="1.2")
    run(root, source / "a", mode="minimal")
    assert dict(ask(root, "select files.SOPInstanceUID, mode from instances join files using (instance_id)")) == {
        "1.1": "full", "1.2": "minimal",
    }  # fmt: skip


def test_a_copy_in_an_archive_is_promoted(source: Path, root: Path) -> None:
    write(source / "a", uid="1.1")
    shutil.make_archive(str(source / "z"), "zip", source, "a")
    run(root, source)
    assert ask(root, "select file_path from instances") == [(f"{source}/a",)]
    write(source / "a", uid="1.2")
    run(root, source)
    assert sorted(ask(root, "select file_path from instances")) == [
        (f"{source}/a",),
        (f"{source}/z.zip!/a",),
    ]


def test_when_the_holder_changes_and_the_copy_is_gone_that_is_said(
    source: Path, root: Path
) -> None:
    write(source / "a", uid="1.1")
    write(source / "b", uid="1.1")
    run(root, source)
    write(source / "a", uid="1.2")
    (source / "b").unlink()
    run(root, source)
    assert statuses(root) == {"a": "ingested", "b": "rejected"}
    assert ask(root, "select reason from files where status = 'rejected'") == [("no longer there",)]


def test_a_file_whose_rights_were_mended_is_read_again(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(source / "a")
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path) == str(source / "a"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert run(root, source).rejected == 1
        assert run(root, source).rejected == 1
    assert ask(root, "select reason from files") == [("cannot be read: Permission denied",)]
    run(root, source)
    assert statuses(root) == {"a": "ingested"}


@pytest.mark.parametrize("workers", [1, 2])
def test_files_on_a_disk_that_is_away_keep_their_rows(
    source: Path, root: Path, workers: int
) -> None:
    """Links to a disk that is not mounted, which is what an ingest cannot tell from deletion."""
    disk = root.parent / "disk"
    for name in ("a", "b"):
        write(disk / name, uid=f"1.{ord(name)}")
        (source / name).symlink_to(disk / name)
    shutil.copy(disk / "a", disk / "c")
    (source / "c").symlink_to(disk / "c")
    run(root, source)
    held = content(root)
    disk.rename(root.parent / "away")
    write(source / "d", uid="1.9")
    report = run(root, source, workers=workers)
    assert (report.created, report.rejected, report.unreachable, report.files) == (1, 3, 3, 4)
    kept = "cannot be opened: No such file or directory; the rows of its last ingest are kept"
    assert report.rejects == [(str(source / name), kept) for name in ("a", "b", "c")]
    (source / "d").unlink()
    assert run_batch(root, "000001", IngestSettings(mode=Mode.FULL, workers=1)).unreachable == 3
    shutil.copy(root.parent / "away" / "b", source / "d")
    os.utime(source / "d", ns=(0, 0))
    run(root, source)  # a copy does not take over from a file that is only away
    assert statuses(root) == {"a": "ingested", "b": "ingested", "c": "duplicate", "d": "duplicate"}
    (root.parent / "away").rename(disk)
    assert run(root, source).existing == 2
    assert {k: v for k, v in content(root).items() if k != "files"} == {
        k: v for k, v in held.items() if k != "files"
    }


def test_a_changed_file_that_cannot_be_read_to_its_end_keeps_its_rows(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read error inside a sequence, where pydicom replaces errors by one of its own."""
    items = b"".join(item(element(0x00081155, "UI", b"1.2.3.4.")) for _ in range(5))
    write(source / "a")
    run(root, source)
    held = content(root)
    nested = part10(sequence(0x00081140, items))
    (source / "a").write_bytes(nested)

    class Failing(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            if self.tell() > len(nested) - 40:
                raise OSError(5, "Input/output error")
            return super().read(count)

    with monkeypatch.context() as patched:
        patched.setattr(extract, "read_batch", lambda *_: BatchRead(Batch(), {}, [], {}))
        patched.setattr("warehouse.dicom.open.open", lambda *_: Failing(nested), raising=False)
        report = run(root, source)
    assert (report.rejected, report.unreachable) == (1, 1)
    assert content(root) == held
    assert run(root, source).replaced == 1


@pytest.mark.long("test_a_batch_run_anew_keeps_the_rows_of_files_that_are_gone")
def test_files_read_anew_never_get_the_id_of_one_that_is_away(source: Path, root: Path) -> None:
    for name in ("a", "b", "c"):
        write(source / name, uid=f"1.{ord(name)}")
    run(root, source)
    held = content(root)
    (source / "a").rename(source.parent / "a")
    (source / "a").symlink_to(source.parent / "nowhere")
    for _ in range(3):
        run_batch(root, "000001", IngestSettings(mode=Mode.FULL, workers=1))
        assert ask(root, "select count(*), count(distinct instance_id) from instances") == [(3, 3)]
    (source / "a").unlink()
    (source.parent / "a").rename(source / "a")
    run_batch(root, "000001", IngestSettings(mode=Mode.FULL, workers=1))
    assert content(root) == held


# -- the same files give the same rows ------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``some_files``, not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "in"
    some_files(folder)
    return folder


@pytest.fixture(scope="module")
def clean(whole: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What one ingest of it gives."""
    run(whole.parent / "clean", whole)
    return content(whole.parent / "clean")


@pytest.mark.parametrize(
    ("batch_files", "chunk_files"), some([(3, 100), (4, 2), (100, 1)], always=[(4, 2)])
)
def test_any_batching_gives_the_same_rows(
    whole: Path, root: Path, clean: dict[str, Any], batch_files: int, chunk_files: int
) -> None:
    run(root, whole, batch_files=batch_files, chunk_files=chunk_files)
    assert content(root) == clean


def test_few_rows_at_a_time_give_the_same_rows(
    whole: Path, root: Path, clean: dict[str, Any]
) -> None:
    run(root, whole, chunk_rows=1)
    assert content(root) == clean


@pytest.mark.acceptance("D14")
def test_several_processes_give_the_same_rows(
    whole: Path, root: Path, clean: dict[str, Any]
) -> None:
    run(root, whole, workers=2, chunk_files=2, batch_files=5)
    assert content(root) == clean


@pytest.mark.parametrize("seed", some(range(3), always=[0]))
def test_any_order_gives_the_same_rows(
    whole: Path, root: Path, clean: dict[str, Any], seed: int
) -> None:
    files = sorted(path for path in whole.rglob("*") if path.is_file())
    random.Random(seed).shuffle(files)
    while files:
        count = random.Random(seed + len(files)).randint(2, 5)
        run(root, *files[:count])
        files = files[count:]
    assert content(root) == clean


def test_planned_batches_give_the_same_rows(whole: Path, root: Path, clean: dict[str, Any]) -> None:
    settings = IngestSettings(mode=Mode.FULL, workers=1, batch_files=3)
    batches = plan(root, [whole], settings)
    assert planned_batches(root) == batches
    assert plan(root, [whole], settings) == []
    for batch in reversed(batches):
        run_batch(root, batch, settings)
    assert planned_batches(root) == []
    assert content(root) == clean


def test_a_reject_that_another_writer_stored_first_has_no_rows_to_keep(
    source: Path, root: Path
) -> None:
    (source / "README").write_text("not DICOM")
    (batch,) = plan(root, [source], ALONE)
    assert run(root, source).rejected == 1
    report = run_batch(root, batch, ALONE)
    assert (report.rejected, report.unreachable, report.rejects) == (1, 0, [])


def test_a_plan_that_was_not_emptied_gives_no_id_twice(tmp_path: Path) -> None:
    """The run was killed after its commit; then a file was moved, and another one put there."""
    root, source = tmp_path / "w", tmp_path / "in"
    write(source / "a" / "0", uid="1.0")
    (batch,) = plan(root, [source], ALONE)
    kept = (layout.claims_folder(root) / batch).read_bytes()
    run_batch(root, batch, ALONE)
    (layout.claims_folder(root) / batch).write_bytes(kept)
    (source / "a").rename(source / "b")
    assert ingest(root, [source], ALONE).moved == 1
    write(source / "a" / "0", uid="1.1")
    assert run_batch(root, batch, ALONE).created == 1
    ids = "select count(*), count(distinct instance_id) from instances"
    assert warehouse.open(root).sql(ids).fetchall() == [(2, 2)]


@pytest.mark.long("test_a_batch_run_anew_keeps_the_rows_of_files_that_are_gone")
def test_a_batch_run_anew_gives_the_same_rows(
    whole: Path, root: Path, clean: dict[str, Any]
) -> None:
    run(root, whole, batch_files=6)
    for batch, _ in ask(root, "select distinct batch, 1 from files order by all"):
        run_batch(root, batch, IngestSettings(mode=Mode.FULL, workers=1))
    assert content(root) == clean


def test_a_batch_run_anew_keeps_the_rows_of_files_that_are_gone(source: Path, root: Path) -> None:
    for name in ("a", "b", "c"):
        write(source / name, uid=f"1.{ord(name)}")
    run(root, source)
    held = content(root)
    (source / "b").unlink()
    for _ in range(3):
        run_batch(root, "000001", IngestSettings(mode=Mode.FULL, workers=1))
    assert content(root) == held


def test_an_unknown_batch_is_told(source: Path, root: Path) -> None:
    run(root, source)
    with pytest.raises(UsageError, match="no batch '000099'"):
        run_batch(root, "000099", ALONE)


def test_sources_that_overlap_count_once(whole: Path, root: Path, clean: dict[str, Any]) -> None:
    report = run(root, whole, whole / "series0", whole / "series0" / "0.dcm")
    assert report.files == 10
    assert content(root) == clean


def test_an_empty_folder_makes_an_empty_warehouse(source: Path, root: Path) -> None:
    report = run(root, source)
    assert (report.files, report.batches, report.version) == (0, [], 0)
    assert statuses(root) == {}


def test_a_folder_without_dicom_has_only_rejects(source: Path, root: Path) -> None:
    (source / "a.txt").write_text("text")
    assert run(root, source).rejected == 1
    assert ask(root, "from elements") == []
    assert statuses(root) == {"a.txt": "rejected"}


# -- modes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with private elements at top level, in a sequence, and a private sequence."""
    made = image("1.1")
    inner = dataset(ScheduledProcedureStepID="1")
    inner.add_new(0x00290010, "LO", "OURS")
    inner.add_new(0x00291001, "OB", b"\3" * 300)
    made.RequestAttributesSequence = [inner]
    made.add_new(0x00290010, "LO", "OURS")
    made.add_new(0x00291001, "OB", b"\1" * 300)
    made.add_new(0x00291002, "SQ", [dataset(PatientID="inside private")])
    made.add_new(0x00420011, "OB", b"\2" * 300)
    return write(tmp_path_factory.mktemp("private") / "in" / "a", made)


@dataclass(frozen=True)
class AtOnce:
    """A warehouse that has read the file in one mode, and what it holds. Not to be written to."""

    root: Path
    content: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def at_once(private: Path) -> dict[str, AtOnce]:
    made = {}
    for mode in ("minimal", "normal", "full"):
        root = private.parents[1] / mode
        run(root, private, mode=mode)
        made[mode] = AtOnce(root, content(root))
    return made


@pytest.mark.acceptance("D1")
def test_minimal_keeps_no_elements_normal_standard_ones_full_all(
    at_once: dict[str, AtOnce],
) -> None:
    counts = {
        mode: ask(made.root, "select count(*) from elements")[0][0]
        for mode, made in at_once.items()
    }
    entities = [made.content["instances"] for made in at_once.values()]
    assert counts["minimal"] == 0
    # Full has seven more: three creators and values, the private sequence and what is in it.
    assert counts["full"] == counts["normal"] + 6
    assert entities[0] == entities[1] == entities[2]


@pytest.mark.acceptance("D2")
def test_normal_has_nothing_private_anywhere(at_once: dict[str, AtOnce]) -> None:
    root = at_once["normal"].root
    assert ask(root, "from elements where tag[4] in ('1','3','5','7','9','B','D','F')") == []
    assert ask(root, "from elements where path like '0029%' or text = 'inside private'") == []
    assert ask(root, "select path from elements where keyword = 'ScheduledProcedureStepID'") == [
        ("RequestAttributesSequence[0]",)
    ]
    assert ask(root, "select left(hex(bytes), 4) from blobs") == [("0202",)]


@pytest.mark.parametrize(
    ("low", "high"), [("minimal", "normal"), ("minimal", "full"), ("normal", "full")]
)
def test_a_higher_mode_later_reads_again_and_a_lower_one_does_not(
    private: Path, tmp_path: Path, at_once: dict[str, AtOnce], low: str, high: str
) -> None:
    root = shutil.copytree(at_once[low].root, tmp_path / "w")
    assert run(root, private, mode=high).replaced == 1
    assert content(root) == at_once[high].content
    assert run(root, private, mode=low).existing == 1
    assert content(root) == at_once[high].content


@pytest.mark.acceptance("D1")
def test_an_unknown_mode_is_an_error(source: Path, root: Path) -> None:
    with pytest.raises(UnknownMode, match="choose one of: minimal, normal, full"):
        warehouse.open(root, create=True).ingest(source, mode="everything")
    assert Mode.parse("FULL") is Mode.FULL


def test_full_is_the_default(private: Path, root: Path) -> None:
    # It was normal, with which views over private elements answered wrongly (decision 0016).
    warehouse.open(root, create=True).ingest(private, workers=1)
    assert ask(root, "select mode from files") == [("full",)]


# -- blobs ----------------------------------------------------------------------------------------


def test_long_values_are_stored_once_and_only_while_referenced(source: Path, root: Path) -> None:
    def with_bytes(name: str, uid: str, value: bytes) -> None:
        made = image(uid)
        made.add_new(0x00420011, "OB", value)
        write(source / name, made)

    with_bytes("a", "1.1", b"A" * 1000)
    with_bytes("b", "1.2", b"A" * 1000)
    with_bytes("c", "1.3", b"C" * 1000)
    run(root, source, batch_files=1)
    held = "select left(hex(bytes), 2), length from blobs order by all"
    assert ask(root, held) == [("41", 1000), ("43", 1000)]
    with_bytes("a", "1.1", b"D" * 1002)
    run(root, source)
    assert ask(root, held) == [("41", 1000), ("43", 1000), ("44", 1002)]
    with_bytes("b", "1.2", b"D" * 1002)
    run(root, source)
    assert ask(root, held) == [("43", 1000), ("44", 1002)]
    digest = hashlib.sha256(b"C" * 1000).hexdigest()
    assert ask(root, f"select bytes from blobs where sha256 = '{digest}'") == [(b"C" * 1000,)]


def test_blobs_can_be_left_out(source: Path, root: Path) -> None:
    some_files(source)
    run(root, source, keep_blobs=False)
    assert ask(root, "from blobs") == []
    assert ask(root, "select count(*) from elements where length = 400 and sha256 is not null") == [
        (6,)
    ]


# -- bad input ------------------------------------------------------------------------------------

HOSTILE = {
    "deep": part10(reduce(lambda inner, _: sequence(0x00400275, item(inner)), range(70), b"")),
    "utf7": part10(element(0x00080005, "CS", b"utf_7 "), element(0x00100020, "LO", b"+2AA-x ")),
    "digits": part10(element(0x00080060, "CS", b"CT"), element(0x00200013, "IS", b"9" * 5000)),
    "quotes": part10(element(0x00100020, "LO", b"'; drop table files;--"), uid="1.2'\"; \\x"),
    "nul": part10(element(0x00100020, "LO", b"P\0\0Q"), uid="1.\0.2"),
    "path": part10(element(0x00100020, "LO", b"../../../../etc/passwd"), uid="../../../x"),
    "many": part10(element(0x00420011, "CS", b"")) + element(0x00720066, "LO", b"\\" * 40_000),
    "huge vm": part10(element(0x00720062, "UT", b"x"), element(0x00721234, "UC", b"\\1" * 300_000)),
    "pixels beyond": part10(element(0x7FE00010, "OW", b"12", length=1 << 31)),
    "empty name": part10(element(0x00100010, "PN", b"^^^^"), element(0x00081070, "PN", b"\\A^B=\\=")),
    "un-sequence": part10(element(0x00400275, "UN", item(b"\xff" * 20))),
    "name json": part10(element(0x00100010, "PN", b'"}]{[\\\\"^\x1f\x01')),
}  # fmt: skip


def write_hostile(folder: Path) -> None:
    for number, (name, made) in enumerate(HOSTILE.items()):
        (folder / name).write_bytes(made.replace(b"1.1\0", f"1.{number}".encode().ljust(4, b"\0")))


@pytest.mark.acceptance("D9")
def test_hostile_files_are_rows_and_spoil_nothing(source: Path, root: Path) -> None:
    """That every view answers beside them is asked in tests/sql/test_extreme_numbers.py."""
    write_hostile(source)
    write(source / "good", uid="2.1")
    report = run(root, source)
    assert report.created == len(HOSTILE)
    assert statuses(root) == dict.fromkeys([*HOSTILE, "good"], "ingested") | {"deep": "rejected"}
    assert ask(root, "select reason from files where status = 'rejected'") == [
        ("sequences nested deeper than 64 levels",)
    ]
    assert run(root, source).existing == report.created


def test_uids_with_nul_or_quotes_keep_apart(source: Path, root: Path) -> None:
    for number, uid in enumerate(["1.2", "1.2\0.3", "1.2'", '1.2"', "1.2%", "1.2\\3"]):
        (source / f"{number}").write_bytes(part10(element(0x00080060, "CS", b"CT"), uid=uid))
        (source / f"{number}copy").write_bytes(part10(element(0x00080060, "CS", b"MR"), uid=uid))
    report = run(root, source)
    # Of several values all are the UID (docs/decisions/0027-the-whole-text-identifies.md).
    assert (report.created, report.duplicate) == (6, 6)


def test_a_header_cut_at_any_byte_is_a_row_with_a_reason_or_whole(source: Path, root: Path) -> None:
    whole = part10(
        element(0x00080060, "CS", b"CT"),
        sequence(0x00400275, item(element(0x00080100, "SH", b"in"))),
        element(0x00420011, "OB", b"12"),
    )
    for cut in range(len(whole)):
        (source / f"{cut:04d}").write_bytes(whole[:cut])
    report = run(root, source)
    # Complete after the meta, the UID (the first whole one holds the instance), and each element.
    assert report.created + report.duplicate == 4
    assert report.rejected == len(whole) - 4
    reasons = ask(root, "select distinct reason from files where status = 'rejected'")
    assert all(reason for (reason,) in reasons)
    assert not any("Error" in reason and "damaged" not in reason for (reason,) in reasons)


def test_files_without_any_uid_are_neither_merged_nor_lost(source: Path, root: Path) -> None:
    for name in ("a", "b"):
        bare = dataset(PatientName=name, Modality="CT")
        write(source / name, bare)
    shutil.copy(source / "a", source / "acopy")
    report = run(root, source)
    assert (report.created, report.duplicate) == (2, 1)
    assert ask(root, "select count(*) from patients") == [(2,)]
    assert ask(root, "select count(*) from studies") == [(2,)]
    assert ask(root, "select count(*) from series") == [(2,)]
    assert ask(root, "select bool_and(has_missing_uid) from instances") == [(True,)]


@pytest.mark.acceptance("D46")
def test_a_missing_series_or_study_uid_does_not_merge(source: Path, root: Path) -> None:
    write(source / "a", uid="1.1", SeriesInstanceUID=None)
    write(source / "b", uid="1.2", SeriesInstanceUID=None)
    write(source / "c", uid="1.3", StudyInstanceUID=None, SeriesInstanceUID="2.1")
    write(source / "d", uid="1.4", StudyInstanceUID=None, SeriesInstanceUID="2.2")
    write(source / "e", uid="1.5", PatientID="", SeriesInstanceUID="2.3", StudyInstanceUID="3.1")
    write(source / "f", uid="1.6", PatientID=None, SeriesInstanceUID="2.4", StudyInstanceUID="3.2")
    assert run(root, source).created == 6
    assert ask(root, "select count(*) from series") == [(6,)]
    # a and b name one study; c and d each have one of their own.
    assert ask(root, "select count(*) from studies") == [(5,)]
    assert ask(root, "select patient_key from patients order by all") == [
        ("P1",), ("missing:3.1",), ("missing:3.2",),
    ]  # fmt: skip


@pytest.mark.acceptance("D47")
def test_a_long_text_is_not_cut(source: Path, root: Path) -> None:
    write(source / "a", StudyDescription="d" * 100)
    run(root, source)
    assert ask(root, "select length(StudyDescription) from studies") == [(100,)]


# -- sources are only read ------------------------------------------------------------------------


@pytest.mark.acceptance("D10")
def test_sources_are_opened_read_only_and_stay_as_they_are(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_files(source)
    shutil.make_archive(str(source / "z"), "zip", source / "series0")
    before = fingerprint(source)
    real_open, real_os_open = builtins.open, os.open

    def watch_open(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if isinstance(file, str | Path) and Path(file).is_relative_to(source):
            assert not set(mode) & set("wax+"), (file, mode)
        return real_open(file, mode, *rest, **more)

    def watch_os_open(file: Any, flags: int, *rest: Any, **more: Any) -> int:
        if isinstance(file, str | Path) and Path(file).is_relative_to(source):
            assert flags & os.O_ACCMODE == os.O_RDONLY, file
        return real_os_open(file, flags, *rest, **more)

    monkeypatch.setattr(builtins, "open", watch_open)
    monkeypatch.setattr(os, "open", watch_os_open)
    run(root, source)
    assert fingerprint(source) == before


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_warehouse_may_lie_in_the_source_folder(source: Path) -> None:
    write(source / "a")
    root = source / "warehouse"
    run(root, source)
    assert run(root, source).files == 1
    assert statuses(root) == {"a": "ingested"}


# -- what is no warehouse -------------------------------------------------------------------------


def test_a_source_that_does_not_exist_makes_no_warehouse(tmp_path: Path, root: Path) -> None:
    with pytest.raises(SourceNotFound):
        ingest(root, [tmp_path / "missing"], ALONE)
    assert not root.exists()


def test_a_file_is_no_warehouse(source: Path, root: Path) -> None:
    root.write_text("a file")
    with pytest.raises(NotAWarehouse, match="it is a file"):
        ingest(root, [source], ALONE)


def test_a_folder_with_other_files_is_no_warehouse_and_is_not_touched(
    source: Path, root: Path
) -> None:
    write(root / "mine")
    with pytest.raises(NotAWarehouse, match="holds other files; name a new folder"):
        ingest(root, [source], ALONE)
    assert [path.name for path in root.iterdir()] == ["mine"]


def test_a_folder_that_does_not_exist_is_no_warehouse_to_ask(root: Path) -> None:
    with pytest.raises(NotAWarehouse, match="it does not exist; dicom-warehouse ingest SOURCE"):
        warehouse.open(root, create=True).sql("from files")


@pytest.mark.parametrize("marker", ["", "not json", "[]", "{}"])
def test_a_marker_that_cannot_be_read_is_told(source: Path, root: Path, marker: str) -> None:
    run(root, source)
    (root / "warehouse.json").write_text(marker)
    with pytest.raises((NotAWarehouse, LayoutMismatch)):
        warehouse.open(root, create=True).sql("from files")


@pytest.mark.acceptance("D77")
def test_another_layout_is_told_with_both_versions(source: Path, root: Path) -> None:
    run(root, source)
    (root / "warehouse.json").write_text(json.dumps({"layout": 99}))
    for attempt in (
        lambda: ingest(root, [source], ALONE),
        lambda: warehouse.open(root, create=True).sql("from files"),
    ):
        with pytest.raises(
            LayoutMismatch, match="has storage layout 99, this version reads layout 1"
        ):
            attempt()


@pytest.mark.parametrize("name", ["w[1]", "w *", "w?", "site=A", "a%20b", "#1"])
def test_a_path_that_an_engine_would_take_for_a_pattern_is_refused(
    source: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="the path of a warehouse must not contain"):
        ingest(tmp_path / name / "w", [source], ALONE)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError):
        warehouse.open(tmp_path / name, create=True).sql("from files")


def test_any_other_path_will_do(source: Path, tmp_path: Path) -> None:
    some_files(source)
    root = tmp_path / 'it\'s "Grün" {x}, 日本; --&' / "w"
    run(root, source)
    (source / "series0" / "0.dcm").write_text("changed")
    run(root, source)
    held = content(root)
    opened = warehouse.open(root, create=True)
    for table in ("files", "elements", "instances", "blobs", "vendor_elements"):
        assert opened.table(table).collect().height == len(held[table])


# -- numbers of settings --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_files", "chunk_files", "chunk_rows"])
def test_settings_refuse_numbers_without_meaning(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        IngestSettings(**{name: 0})  # type: ignore[arg-type]


def test_progress_hears_of_every_file(source: Path, root: Path) -> None:
    some_files(source)
    heard: list[tuple[str, tuple[int, ...]]] = []

    class Watch:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *numbers: heard.append((name, numbers))

    ingest(root, [source], IngestSettings(workers=1, chunk_files=4), progress=Watch())
    assert ("planned", (10,)) in heard
    read = [numbers for name, numbers in heard if name == "read"]
    assert [sum(column) for column in zip(*read, strict=True)] == [10, 2]
