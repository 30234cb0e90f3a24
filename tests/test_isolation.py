"""One file never stops a run: whatever it raises, wherever, it is a reject and the others are in."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import re
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.content import content
from tests.dicom_files import element, image, part10, write
from tests.dying_worker import POISON, die, die_of_poison, die_while_it_reads
from tests.vendor_payloads import CSA, ascconv, ge_protocol
from warehouse import errors, forking, reading
from warehouse.elements import extract, fast, vendor
from warehouse.elements.columns import Batch
from warehouse.errors import ReadingFailed, WorkersLost, WriteFailed
from warehouse.ingest import ingest, plan, run_batch
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import by_name
from warehouse.stages import Stage
from warehouse.store import delta, instances, stage
from warehouse.workers import ServerFailed, WorkerLost, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, chunk_files=4, batch_files=100)
GOOD = 9
SECRET = "Doe^Jane"
"""What libraries quote in their messages, and no reason may."""


@pytest.fixture(scope="module", autouse=True)
def _few_objects() -> None:
    """Leave what other tests hold out of the collections after each failure: 80 ms each."""
    gc.collect()
    gc.freeze()


# -- payloads without any setting ------------------------------------------------------------------


def private(group: int, creator: str, last: int, payload: bytes) -> bytes:
    uid = f"1.{len(payload)}.{group}.{last}.{zlib.crc32(payload)}"
    return part10(
        element(group << 16 | 0x10, "LO", creator.encode() + b" " * (len(creator) % 2)),
        element(group << 16 | 0x1000 | last, "OB", payload + b"\0" * (len(payload) % 2)),
        uid=uid,
    )


def phoenix(text: bytes) -> bytes:
    """A series header of Siemens whose only element is a protocol of this text, or none."""
    items = struct.pack("<iiii", len(text), len(text), 77, len(text)) + text if text else b""
    name = b"MrPhoenixProtocol".ljust(64, b"\0")
    return (
        b"SV10\4\3\2\1"
        + struct.pack("<II", 1, 77)
        + name
        + struct.pack("<i4siii", 1, b"UN\0\0", 0, bool(text), 77)
        + items
    )


WITHOUT_SETTING = {
    "ge": private(0x25, "GEMS_SERS_01", 0x1B, ge_protocol("")),
    "ge line end": private(0x25, "GEMS_SERS_01", 0x1B, ge_protocol("\n")),
    "ge nul": private(0x25, "GEMS_SERS_01", 0x1B, ge_protocol("\0\0")),
    "protocol of XA": private(0x21, "SIEMENS MR SDS 01", 0x19, ascconv().encode()),
    "series header without item": private(0x29, CSA, 0x20, phoenix(b"")),
    "series header with empty protocol": private(0x29, CSA, 0x20, phoenix(ascconv().encode())),
    "header of no element": private(0x29, CSA, 0x10, b"SV10\4\3\2\1" + struct.pack("<II", 0, 77)),
    "header of type 1 of no element": private(0x29, CSA, 0x10, struct.pack("<II", 0, 77)),
    "no bytes": private(0x25, "GEMS_SERS_01", 0x1B, b""),
}


@pytest.mark.parametrize("mode", Mode)
def test_payloads_without_any_setting_stop_nothing(mode: Mode, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, payload in WITHOUT_SETTING.items():
        (tmp_path / "in" / name).write_bytes(payload)
    # Alone in its portion: among others with settings none of them raised.
    settings = IngestSettings(mode=mode, workers=1, chunk_files=1)
    report = ingest(tmp_path / "w", [tmp_path / "in"], settings)
    assert (report.created, report.rejects) == (len(WITHOUT_SETTING), [])
    # Empty is not missing: who asks finds that a payload was read, and what is wrong with it.
    with_rows = {row[0] for row in content(tmp_path / "w")["vendor_elements"]}
    assert len(with_rows) == (0 if mode is Mode.MINIMAL else len(WITHOUT_SETTING) - 1)


# -- a file that raises ----------------------------------------------------------------------------


def is_poison(path: str) -> bool:
    return Path(path).name == POISON


def of_sources(position: int, *arguments: Any) -> bool:
    """Whether the poisoned file is among the sources of the buffers that are given."""
    return any(is_poison(source.path) for source in arguments[position].sources)


def of_rows(*arguments: Any) -> bool:
    return "00991001" in arguments[0]["tag"].unique().to_pylist()


TARGETS: dict[str, tuple[Any, str, Callable[..., bool], Stage]] = {
    "reading many": (
        fast.Heads, "load", lambda _, sources: any(is_poison(s.path) for s in sources), Stage.READ,
    ),
    "reading one": (extract, "read_header", lambda source, *_: is_poison(source.path), Stage.READ),
    "finding elements": (fast, "scan", partial(of_sources, 0), Stage.SCAN),
    "decoding many": (fast, "distinct_raws", partial(of_sources, 0), Stage.DECODE),
    "decoding one": (
        Batch, "add_elements", lambda _, __, elements: any(e.tag == "00991001" for e in elements),
        Stage.DECODE,
    ),
    "sorting": (
        Batch, "tables", lambda batch, *_: any(k.tag == "00991001" for k in batch._kinds),
        Stage.COLUMNS,
    ),
    "attributes": (stage, "gather", of_rows, Stage.INSTANCES),
    "payloads": (
        vendor, "vendor_rows",
        lambda portion: any(is_poison(outcome.source.path) for outcome in portion.outcomes),
        Stage.VENDOR,
    ),
    "writing": (stage, "write_rows", of_rows, Stage.WRITE),
}  # fmt: skip
"""Where a failure is put in: of what, the name, whether the poisoned file is there, its stage."""

ONE_BY_ONE = {"reading one", "decoding one"}
"""Where files are read one at a time: the poisoned one is then one that the fast reader leaves."""

KINDS = {"raises": ValueError, "memory": MemoryError}


def poison(target: str, kind: str, put: Callable[..., None] = setattr) -> None:
    """Let the poisoned file fail at one place of this process."""
    of, name, concerns, _ = TARGETS[target]
    real = getattr(of, name)

    def fails(*arguments: Any, **named: Any) -> Any:
        if concerns(*arguments):
            raise KINDS[kind](SECRET)
        return real(*arguments, **named)

    put(of, name, fails)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of several shapes, for both readers, and a duplicate. Not to be written to."""
    folder = tmp_path_factory.mktemp("good") / "in"
    for number in range(GOOD):
        syntax = ["explicit", "implicit", "deflated"][number % 3]
        write(folder / f"{number:02d}", uid=f"1.{number}", syntax=syntax, InstanceNumber=number)
    write(folder / "04 copy", uid="1.4")
    return folder


@pytest.fixture(scope="module")
def expected(good: Path) -> dict[str, Any]:
    """What the good files are without the poisoned one."""
    ingest(good.parent / "w", [good], SETTINGS)
    return content(good.parent / "w")


@pytest.fixture
def poisoned(good: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The good files and the poisoned one, which the reader that is meant takes."""
    bad = image("1.666")
    bad.add_new(0x00990010, "LO", "POISON")
    bad.add_new(0x00991001, "LO", SECRET)
    of_test = getattr(request.node, "callspec", None)
    one_by_one = of_test is not None and of_test.params["target"] in ONE_BY_ONE
    yield write(good / POISON, bad, syntax="deflated" if one_by_one else "explicit").parent
    (good / POISON).unlink()


def holds(root: Path, expected: dict[str, Any], reason: str, *, is_tidy: bool = True) -> None:
    """All good files are in with the rows they have alone; the poisoned one is a row with a reason."""
    made = content(root)
    ledger = {row[0]: row for row in made.pop("files")}
    bad = ledger.pop(next(path for path in ledger if is_poison(path)))
    assert bad[1:3] == ("rejected", reason)
    assert SECRET not in repr(bad)
    assert sorted(ledger.values(), key=repr) == expected["files"]
    assert made == {table: rows for table, rows in expected.items() if table != "files"}
    # Nothing lies about that no version names, but what a killed process has left to the vacuum.
    snapshot = delta.snapshot(root)
    named = {path for table in snapshot.parts for path in snapshot.paths(table)}
    assert not is_tidy or {str(path) for path in root.glob("*/batch=0*/*.parquet")} <= named


def reason_of(target: str, kind: str) -> str:
    return f"{KINDS[kind].__name__} in stage {TARGETS[target][3]}: not read, the next ingest tries again"


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        *(
            (target, "raises")
            if target in {"reading many", "decoding one", "payloads", "writing"}
            else pytest.param(
                target,
                "raises",
                marks=pytest.mark.long("test_a_file_that_raises_is_a_reject_and_the_others_are_in"),
            )
            for target in TARGETS
        ),
        pytest.param(
            "decoding many",
            "memory",
            marks=pytest.mark.long("test_a_file_that_raises_is_a_reject_and_the_others_are_in"),
        ),
        ("sorting", "memory"),
    ],
)
def test_a_file_that_raises_is_a_reject_and_the_others_are_in(
    target: str, kind: str, poisoned: Path, expected: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patched:
        poison(target, kind, patched.setattr)
        report = ingest(tmp_path / "w", [poisoned], SETTINGS)
    assert (report.created, report.duplicate, report.rejected) == (GOOD, 1, 1)
    holds(tmp_path / "w", expected, reason_of(target, kind))
    # The file is not lost: it comes in as soon as whatever failed is mended.
    assert ingest(tmp_path / "w", [poisoned], SETTINGS).replaced == 1


@pytest.mark.parametrize("target", ["finding elements"])
def test_a_file_that_raises_in_a_worker_process(
    target: str, poisoned: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    begin = partial(poison, target, "raises")
    with ProcessPoolExecutor(1, get_context("forkserver"), begin) as pool:
        ingest(tmp_path / "w", [poisoned], SETTINGS, executor=pool)
    holds(tmp_path / "w", expected, reason_of(target, "raises"))


def test_a_file_that_kills_its_process(
    poisoned: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    # Each half is a new process.
    with WorkerPool(1, die_of_poison) as pool:
        report = ingest(tmp_path / "w", [poisoned], SETTINGS, executor=pool)
    assert (report.created, report.duplicate, report.rejected) == (GOOD, 1, 1)
    holds(
        tmp_path / "w", expected,
        "the process that read it was killed: not read, the next ingest tries again",
        is_tidy=False,
    )  # fmt: skip


def killed_while_it_reads(function: str, *arguments: Any) -> None:
    with WorkerPool(1) as pool, pytest.raises(WorkerLost, match="was killed by SIGKILL"):
        pool.submit(die_while_it_reads, function, *arguments).result()


def test_after_a_run_was_killed_the_next_one_reads_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "file", uid="1.1")
    root, notes = tmp_path / "w", tmp_path / "w" / "_reading"
    killed_while_it_reads("ingest", root, [tmp_path / "in"])
    # What is read elsewhere says nothing of these files.
    write(tmp_path / "other" / "file", uid="1.2")
    assert ingest(root, [tmp_path / "other"], SETTINGS).created == 1
    assert len(list(notes.iterdir())) == 1
    # Workers know nothing of this.
    monkeypatch.setattr(reading, "_staged", None)
    assert ingest(root, [tmp_path / "in"], SETTINGS).created == 1
    assert not notes.exists()


def test_a_file_that_has_killed_a_process_is_tried_again_in_another_one(
    poisoned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WorkerPool(1, die_of_poison) as pool:
        assert ingest(tmp_path / "w", [poisoned], SETTINGS, executor=pool).rejected == 1
    monkeypatch.setattr(reading, "_staged", None)
    again = ingest(tmp_path / "w", [poisoned], SETTINGS)
    assert (again.rejected, again.batches != []) == (0, True)


def test_a_planned_batch_that_was_killed_is_read_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, notes = tmp_path / "w", tmp_path / "w" / "_reading"
    for number in range(2):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
    first, second = plan(root, [tmp_path / "in"], replace(SETTINGS, batch_files=1, chunk_files=1))
    killed_while_it_reads("run_batch", root, first)
    # Another batch reads other files: its run says nothing of this one.
    assert run_batch(root, second, SETTINGS).created == 1
    assert [note.name.split(".")[0] for note in notes.iterdir()] == [f"batch-{first}"]
    monkeypatch.setattr(reading, "_staged", None)
    assert run_batch(root, first, SETTINGS).created == 1
    assert not notes.exists()


def test_a_planned_file_that_has_killed_a_process_is_tried_again_in_another_one(
    poisoned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (batch,) = plan(tmp_path / "w", [poisoned], SETTINGS)
    with WorkerPool(1, die_of_poison) as pool:
        assert run_batch(tmp_path / "w", batch, SETTINGS, executor=pool).rejected == 1
    (batch,) = plan(tmp_path / "w", [poisoned], SETTINGS)
    monkeypatch.setattr(reading, "_staged", None)
    assert run_batch(tmp_path / "w", batch, SETTINGS).rejected == 0


NAMELESS = part10(element(0x00080060, "CS", b"OT"), uid="")


@pytest.fixture
def sql_that_refuses() -> Iterator[None]:
    """Have SQL raise for what has no UID, with the name of a patient in its message."""
    real = by_name("instances_from_elements")
    refuse = "select * replace (if(Modality = 'OT', error('Doe^Jane'), file_path) as file_path)"

    class Refusing:
        sql = real.sql
        query = f"{refuse} from ({real.query})"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            instances, "by_name",
            lambda name: Refusing if name == "instances_from_elements" else by_name(name),
        )  # fmt: skip
        yield


@pytest.mark.usefixtures("sql_that_refuses")
def test_one_instance_among_two_that_sql_refuses(tmp_path: Path) -> None:
    write(tmp_path / "in" / "good", uid="1.1")
    (tmp_path / "in" / "bad").write_bytes(NAMELESS)
    report = ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS)
    assert report.created == 1
    (bad,) = report.rejects
    assert "InvalidInputException in stage instances: not read" in repr(bad)
    assert SECRET not in repr(bad)


@pytest.mark.long("test_one_instance_among_two_that_sql_refuses")
def test_an_instance_that_sql_refuses(
    good: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL is asked for what has no UID: such a file, and those that are read with it."""
    (good / POISON).write_bytes(NAMELESS)
    real = by_name("instances_from_elements")
    refuse = "select * replace (if(Modality = 'OT', error('Doe^Jane'), file_path) as file_path)"

    class Refusing:
        sql = real.sql
        query = f"{refuse} from ({real.query})"

    try:
        with monkeypatch.context() as patched:
            patched.setattr(
                instances, "by_name",
                lambda name: Refusing if name == "instances_from_elements" else by_name(name),
            )  # fmt: skip
            ingest(tmp_path / "w", [good], SETTINGS)
        holds(
            tmp_path / "w", expected,
            "InvalidInputException in stage instances: not read, the next ingest tries again",
        )  # fmt: skip
        assert ingest(tmp_path / "w", [good], SETTINGS).replaced == 1
    finally:
        (good / POISON).unlink()


def test_many_files_that_raise(
    poisoned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fast.scan

    def fails(heads: Any, *rest: Any) -> Any:
        if any(Path(source.path).name[:2].isdecimal() for source in heads.sources):
            raise ValueError(SECRET)
        return real(heads, *rest)

    monkeypatch.setattr(fast, "scan", fails)
    write(tmp_path / "one")
    report = ingest(tmp_path / "w", [poisoned, tmp_path / "one"], SETTINGS)
    assert (report.created, report.rejected) == (1, GOOD + 2)


# -- what is not one file's ------------------------------------------------------------------------


def test_what_every_file_raises_rejects_none(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise MemoryError(SECRET)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "gather", fails)
        with pytest.raises(ReadingFailed, match="MemoryError in stage 'instances'") as why:
            ingest(tmp_path / "w", [good], SETTINGS)
    assert SECRET not in str(why.value)
    assert delta.snapshot(tmp_path / "w").version == 0
    assert not list(tmp_path.glob("w/*/batch=*/*"))
    assert ingest(tmp_path / "w", [good], SETTINGS).created == GOOD


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_what_the_system_refuses_rejects_none(
    number: int, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(stage, "write_rows", fails)
    with pytest.raises(WriteFailed, match=re.escape(errors.cause_of(OSError(number, ""))[0])):
        ingest(tmp_path / "w", [good], SETTINGS)
    assert delta.snapshot(tmp_path / "w").version == 0
    assert not list(tmp_path.glob("w/*/batch=*/*"))


def full() -> None:
    """Let no worker write."""

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage.write_rows = fails


def test_a_full_disk_is_told_by_workers_too(good: Path, tmp_path: Path) -> None:
    with (
        WorkerPool(1, full) as pool,
        pytest.raises(WriteFailed, match="no space is left on the disk"),
    ):
        ingest(tmp_path / "w", [good], SETTINGS, executor=pool)


def test_rows_that_parquet_cannot_encode_are_one_files(
    poisoned: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Arrow raises it without a number: https://github.com/apache/arrow/issues/20512
    real = stage.write_rows

    def fails(rows: Any, path: str) -> None:
        if of_rows(rows):
            raise OSError("Parquet cannot store strings with size 2GB or more")
        real(rows, path)

    monkeypatch.setattr(stage, "write_rows", fails)
    ingest(tmp_path / "w", [poisoned], SETTINGS)
    holds(tmp_path / "w", expected, "OSError in stage write: not read, the next ingest tries again")


@pytest.mark.parametrize("signalled", [KeyboardInterrupt, SystemExit])
def test_who_ends_a_run_ends_it(
    signalled: type[BaseException], good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise signalled

    monkeypatch.setattr(vendor, "vendor_rows", fails)
    with pytest.raises(signalled):
        ingest(tmp_path / "w", [good], SETTINGS)
    assert not list(tmp_path.glob("w/*/batch=*/*"))


def test_processes_that_die_whatever_they_read_reject_none(good: Path, tmp_path: Path) -> None:
    with WorkerPool(1, die) as pool, pytest.raises(WorkersLost, match="Nothing of this batch"):
        ingest(tmp_path / "w", [good / "00"], SETTINGS, executor=pool)


SHADOWED = """
import pathlib, sys, warehouse
from warehouse import reading
from warehouse.elements import vendor
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.store import ready
pathlib.Path("beside").mkdir()
pathlib.Path("beside/numpy.py").write_text("raise ImportError('not the module')")
sys.path.insert(0, "beside")
try:
    settings = IngestSettings(workers=2, chunk_files=2)
    ingest(pathlib.Path("w"), [pathlib.Path(sys.argv[1])], settings)
except warehouse.errors.WorkersLost as error:
    sys.exit(str(error))
"""


def test_a_server_of_workers_that_cannot_start_ends_in_one_message(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Server:
        def fork(self, _: object) -> int:
            raise ServerFailed("could not be started: see standard error for why")

    for module in ("workers", "executors"):
        monkeypatch.setattr(f"warehouse.{module}.start_server", Server)
    settings = IngestSettings(workers=2, chunk_files=2)
    with pytest.raises(WorkersLost, match="batch 000001 could not be started: see standard error"):
        ingest(tmp_path / "w", [good], settings)


@pytest.mark.long("test_a_server_of_workers_that_cannot_start_ends_in_one_message")
def test_a_module_that_workers_cannot_import_ends_in_one_message(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a file beside a script has its name; it was waited for without end."""
    source = tmp_path / "in"
    source.mkdir()
    for number in range(8):
        os.link(good / "00", source / f"{number}")
    ended = subprocess.run(
        [sys.executable, "-c", SHADOWED, source], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, check=False, timeout=60,
    )  # fmt: skip
    # Each server of workers says it, and a second one may still be starting when the run has ended.
    lines = ended.stderr.splitlines()
    (last,) = (line for line in lines if line.startswith("a process that read batch"))
    assert "could not be started: see standard error for why" in last
    assert {line for line in lines if line != last} == {
        "worker processes cannot import what reads files: ImportError: not the module"
    }


@pytest.mark.parametrize(
    "error",
    [
        WriteFailed("rows", OSError(errno.ENOSPC, "full")),
        ReadingFailed("decode", "KeyError"),
        errors.WrongMachine(Path("/w"), "node"),
        errors.UnknownMode("x", ["full"]),
        errors.SourceNotFound("/a"),
        # Their built-in bases have a memory layout of their own.
        errors.ArrayTooLarge("frame 1 of a", 1 << 40),
        errors.TargetExists(Path("a")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_worker_is_the_same_in_the_command(error: errors.WarehouseError) -> None:
    # One that cannot be unpickled would be taken for a process that was killed.
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


def test_a_rehearsal_leaves_nothing_behind_and_stops_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reading.rehearse()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        reading.rehearse()
    forking._rehearse()
