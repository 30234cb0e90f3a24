"""A warehouse in a bucket: the same rows as on a disk, whoever writes and whatever fails."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

import warehouse
from tests.byte_search import places_of
from tests.command_line import run
from tests.content import content
from tests.dicom_files import write
from tests.object_server import SECRET, Line, MotoServer, bytes_under, put
from tests.test_crashes import SETTINGS, ten_files
from tests.toy_tables import notes, register
from warehouse.catalog.template import views_file
from warehouse.cohorts.runs import run_cohort
from warehouse.dicom import objects
from warehouse.errors import BucketUnreachable, NotAWarehouse, Outrun, WriteFailed
from warehouse.forget import forget
from warehouse.ingest import ingest, plan, planned_batches, run_batch
from warehouse.store import delta
from warehouse.store.append import append_rows
from warehouse.store.compact import compact
from warehouse.store.dictionary import add_dictionary, read_dictionary
from warehouse.store.mirror import Mirror, open_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
URL = "s3://archive/wh"


@pytest.fixture(scope="module")
def server() -> Iterator[MotoServer]:
    made = MotoServer()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def line(
    server: MotoServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    """A line to the server; what a test leaves in the bucket is of its own prefix."""
    soon = {name: dt.timedelta(milliseconds=5) for name in ("init_backoff", "max_backoff")}
    monkeypatch.setitem(objects._RETRY, "backoff", soon | {"base": 2})
    made = Line(server.port, **getattr(request, "param", {}))
    failures, made.failures = made.failures, 0
    put(made.access, "archive", {})
    made.failures = failures
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return f"{URL}-{abs(hash(request.node.name))}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return ten_files(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="module")
def clean(source: Path) -> dict[str, Any]:
    ingest(source.parent / "clean", [source], SETTINGS)
    return content(source.parent / "clean")


def work(mirror: Mirror, *sources: Path) -> None:
    mirror.work(lambda: ingest(mirror.root, sources, SETTINGS, committed=mirror.push))


ROWS_LATER = pytest.mark.long("test_the_rows_are_those_of_a_folder_whatever_the_line")


@pytest.mark.parametrize(
    "line",
    [
        {"failures": 1, "own_tags": True},
        pytest.param({}, marks=ROWS_LATER),
        pytest.param({"delay": 0.02, "failures": 1}, marks=ROWS_LATER),
        pytest.param({"own_tags": True}, marks=ROWS_LATER),
    ],
    indirect=True,
)
def test_the_rows_are_those_of_a_folder_whatever_the_line(
    line: Line, url: str, source: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    ours = open_mirror(url, line.access, tmp_path / "ours")
    work(ours, source)
    theirs = open_mirror(url, line.access, tmp_path / "theirs")
    assert content(ours.root) == content(theirs.root) == clean
    asked = len(line.requests)
    # What is known is not fetched again, nor by the next command.
    theirs.pull()
    theirs.close()
    theirs = open_mirror(url, line.access, tmp_path / "theirs")
    assert len(line.requests) - asked <= 4 * (1 + bool(line.failures))
    ours.close()
    theirs.close()


def test_who_is_outrun_takes_back_its_own_and_begins_again(
    line: Line, url: str, source: Path, tmp_path: Path
) -> None:
    """The short form: a file each, and the number of a batch that is planned."""
    ours, theirs = (open_mirror(url, line.access, tmp_path / name) for name in ("ours", "theirs"))
    work(ours, source / "0")
    theirs.pull()
    ingest(theirs.root, [source / "1"], SETTINGS)
    assert plan(theirs.root, [source / "3"], SETTINGS) == ["000003"]
    work(ours, source / "2")
    with pytest.raises(Outrun, match="Nothing of this was published"):
        theirs.push()
    theirs.pull()
    assert delta.snapshot(ours.root).version == delta.snapshot(theirs.root).version
    assert theirs.work(lambda: plan(theirs.root, [source / "1"], SETTINGS)) == ["000003"]
    ours.pull()
    ours.work(lambda: run_batch(ours.root, "000003", SETTINGS))
    theirs.pull()
    assert len(content(theirs.root)["instances"]) == 3
    ours.close()
    theirs.close()


@pytest.mark.long("test_who_is_outrun_takes_back_its_own_and_begins_again")
def test_of_two_writers_the_one_who_was_outrun_begins_again(
    line: Line, url: str, source: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    ours, theirs = (open_mirror(url, line.access, tmp_path / name) for name in ("ours", "theirs"))
    work(ours, source / "0")
    theirs.pull()
    # Both go on from the same version.
    ingest(theirs.root, [source / "1"], SETTINGS)
    work(ours, source / "2", source / "copy")
    before = delta.snapshot(ours.root).version
    with pytest.raises(Outrun, match="Nothing of this was published"):
        theirs.push()
    ours.pull()
    assert delta.snapshot(ours.root).version == before
    work(theirs, source)
    ours.pull()
    assert content(ours.root) == content(theirs.root) == clean
    ours.close()
    theirs.close()


@pytest.mark.long("test_who_is_outrun_takes_back_its_own_and_begins_again")
def test_a_number_of_a_batch_or_a_run_is_taken_by_one_writer(
    line: Line, url: str, source: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    ours, theirs = (open_mirror(url, line.access, tmp_path / name) for name in ("ours", "theirs"))
    work(ours, source / "0")
    theirs.pull()
    # A plan has no entry in a log that could be outrun.
    assert plan(theirs.root, [source], SETTINGS) == ["000002", "000003"]
    work(ours, source / "1")
    with pytest.raises(Outrun):
        theirs.push()
    theirs.pull()
    assert theirs.work(lambda: plan(theirs.root, [source], SETTINGS)) == ["000003", "000004"]
    ours.pull()
    for key in planned_batches(ours.root):
        ours.work(lambda key=key: run_batch(ours.root, key, SETTINGS))
    assert planned_batches(ours.root) == []
    theirs.pull()
    assert planned_batches(theirs.root) == []
    assert content(theirs.root) == clean
    questions: dict[Mirror, dict[str, Any]] = {ours: {}, theirs: {"max_slice_mm": 1.0}}
    for mirror, asked in questions.items():
        assert run_cohort(mirror.root, "ct_thin_slice", asked).run == "ct_thin_slice-0001"
    ours.push()
    with pytest.raises(Outrun):
        theirs.push()
    theirs.pull()
    again = theirs.work(lambda: run_cohort(theirs.root, "ct_thin_slice", {"max_slice_mm": 1.0}))
    assert again.run == "ct_thin_slice-0002"
    ours.close()
    theirs.close()


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from warehouse.process import do_without_pandas, do_without_requests
do_without_pandas()
do_without_requests()
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode, S3Access
from warehouse.store.mirror import open_mirror
access = S3Access(endpoint=sys.argv[2], access_key_id="nobody", secret_access_key="nothing")
mirror = open_mirror(sys.argv[3], access, Path(sys.argv[4]))
settings = IngestSettings(mode=Mode.FULL, workers=1, batch_files=6)
print("begin", flush=True)
mirror.work(lambda: ingest(mirror.root, sys.argv[5:], settings, committed=mirror.push))
"""


def start(line: Line, url: str, cache: Path, *sources: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(CHECKOUT), line.access.endpoint, url, str(cache), *map(str, sources)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.long("test_who_is_outrun_takes_back_its_own_and_begins_again")
@pytest.mark.acceptance("D78")
def test_two_processes_at_once_lose_nothing(
    line: Line, url: str, source: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    """From an empty bucket on: both make the warehouse."""
    some = [source / name for name in ("0", "3", "copy", "5", "broken")]
    writers = [
        start(line, url, tmp_path / "a", *some),
        start(line, url, tmp_path / "b", *sorted(source.iterdir())),
    ]
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert (writer.returncode, err) == (0, ""), out
    reader = open_mirror(url, line.access, tmp_path / "c")
    assert content(reader.root) == clean
    reader.close()


class KilledAt:
    """Kills a process at the n-th request that writes."""

    def __init__(self, line: Line, number: int) -> None:
        self.line, self.left = line, number
        self.answer = line.answer
        self.process: subprocess.Popen[str] | None = None
        line.answer = self  # type: ignore[assignment, method-assign]

    def __call__(self, method: str, *rest: Any) -> Any:
        if method == "PUT" and self.process is not None:
            self.left -= 1
            if self.left < 0:
                self.process.send_signal(signal.SIGKILL)
                return 503, [("content-length", "0")], b""
        return self.answer(method, *rest)


def test_a_writer_that_stops_halfway_leaves_the_version_before(
    line: Line, url: str, source: Path, tmp_path: Path
) -> None:
    """The short form: a part is not written, so no log may name it, and it goes on later."""
    ours, theirs = (open_mirror(url, line.access, tmp_path / name) for name in ("ours", "theirs"))
    work(ours, source / "0")
    before = delta.snapshot(ours.root).version
    answer = line.answer

    def refuse(method: str, path: str, *rest: Any) -> Any:
        if method == "PUT" and "/instances/batch" in unquote(path):
            return 403, [("content-length", "0")], b""
        return answer(method, path, *rest)

    line.answer = refuse  # type: ignore[method-assign]
    with pytest.raises(WriteFailed):
        work(theirs, source / "1")
    ours.pull()
    assert delta.snapshot(ours.root).version == before
    line.answer = answer  # type: ignore[method-assign]
    work(theirs, source / "1")
    ours.pull()
    assert len(content(ours.root)["instances"]) == 2
    ours.close()
    theirs.close()


@pytest.mark.long("test_a_writer_that_stops_halfway_leaves_the_version_before")
@pytest.mark.parametrize("number", [10, 16])
def test_a_killed_writer_leaves_the_version_before(
    line: Line, url: str, source: Path, clean: dict[str, Any], tmp_path: Path, number: int
) -> None:
    ours = open_mirror(url, line.access, tmp_path / "ours")
    work(ours, source / "0", source / "copy")
    before = content(ours.root)
    killed = KilledAt(line, number)
    writer = start(line, url, tmp_path / "theirs", source)
    killed.process = writer
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    ours.pull()
    # The first batch takes 14 requests or so. What there is, is whole: `content` looks at it.
    assert (content(ours.root) == before) == (number < 14)
    killed.process = None
    # In the folder that the killed one has left.
    again = open_mirror(url, line.access, tmp_path / "theirs")
    work(again, source)
    again.close()
    ours.pull()
    assert content(ours.root) == clean
    ours.close()


def test_what_was_not_published_is_not_there_when_it_is_opened_again(
    line: Line, url: str, source: Path, tmp_path: Path
) -> None:
    ours = open_mirror(url, line.access, tmp_path / "ours")
    work(ours, source / "0")
    held = content(ours.root)
    ingest(ours.root, [source / "1"], SETTINGS)
    before = delta.snapshot(ours.root).version
    compact(ours.root)
    assert delta.snapshot(ours.root).version > before
    ours.close()
    again = open_mirror(url, line.access, tmp_path / "ours")
    assert again.root == ours.root
    assert content(again.root) == held
    again.close()


def test_each_process_has_a_folder_of_its_own(line: Line, url: str, tmp_path: Path) -> None:
    first, second = (open_mirror(url, line.access, tmp_path) for _ in range(2))
    assert first.root != second.root
    assert os.stat(first.root).st_mode & 0o77 == 0
    first.close()
    third = open_mirror(url, line.access, tmp_path)
    assert third.root == first.root
    second.close()
    third.close()


def test_of_two_changes_of_a_small_file_none_is_lost(line: Line, url: str, tmp_path: Path) -> None:
    """No entry of a log tells of them, and the last one replaced the file of the first."""
    ours, theirs = (open_mirror(url, line.access, tmp_path / name) for name in ("ours", "theirs"))

    def add(mirror: Mirror, creator: str) -> None:
        given = tmp_path / f"{creator}.csv"
        given.write_text(f"creator,tag,vr,name\n{creator},0019xx9c,LO,a name\n")
        add_dictionary(mirror.root, given)

    ours.work(lambda: (delta.create(ours.root), add(ours, "FIRST")))
    theirs.pull()
    add(ours, "OURS")
    theirs.work(lambda: add(theirs, "THEIRS"))
    with pytest.raises(Outrun):
        ours.push()
    ours.pull()
    ours.work(lambda: add(ours, "OURS"))
    theirs.pull()
    assert {creator for creator, _ in read_dictionary(theirs.root)} == {"FIRST", "OURS", "THEIRS"}
    # The answer to the first attempt was lost, and the object is ours already.
    add(ours, "LAST")
    name = f"{url.removeprefix('s3://archive/')}/dictionary.json"
    put(line.access, "archive", {name: (ours.root / "dictionary.json").read_bytes()})
    ours.push()
    ours.close()
    theirs.close()


def test_a_server_that_ignores_conditions_is_refused(
    line: Line, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers would have replaced each other's entries of the log."""
    answer = line.answer

    def without_condition(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        kept = {name: value for name, value in headers.items() if name.lower() != "if-none-match"}
        return answer(method, path, kept, body)

    monkeypatch.setattr(line, "answer", without_condition)
    mirror = open_mirror(url, line.access, tmp_path)
    with pytest.raises(WriteFailed, match="ignores the condition If-None-Match"):
        mirror.work(lambda: delta.create(mirror.root))
    mirror.pull()
    assert not mirror._published
    mirror.close()


def test_a_prefix_that_holds_something_else_is_left_alone(
    line: Line, url: str, tmp_path: Path
) -> None:
    put(line.access, "archive", {f"{url.removeprefix('s3://archive/')}/a.dcm": b"something"})
    with pytest.raises(NotAWarehouse, match="name another prefix"):
        open_mirror(url, line.access, tmp_path)
    with pytest.raises(BucketUnreachable):
        open_mirror("s3://no-such-bucket/wh", line.access, tmp_path)


@pytest.fixture
def access_by_environment(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the views are kept is asked once in a process: before the folder is another one.
    for kept in (False, True):
        views_file(kept=kept)
    for name, value in {
        "AWS_ENDPOINT_URL": line.access.endpoint, "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("access_by_environment")
def test_a_command_takes_a_bucket_and_keeps_the_secret(
    url: str, source: Path, tmp_path: Path
) -> None:
    done = run("ingest", source / "0", "-w", url, "--workers", "1", "--json")
    assert json.loads(done.stdout)["created"] == 1
    told = run("info", "-w", url, "--json")
    facts = json.loads(told.stdout)
    assert (facts["root"], facts["entities"]["instances"]) == (url, 1)
    refused = run("info", "-w", "s3://no-such-bucket/wh")
    assert refused.returncode == 1
    for each in (done, told, refused):
        assert SECRET not in each.stdout + each.stderr
    assert SECRET.encode() not in bytes_under(tmp_path / "cache")


@pytest.mark.long("test_a_command_takes_a_bucket_and_keeps_the_secret")
@pytest.mark.usefixtures("access_by_environment")
def test_commands_and_notebooks_take_a_bucket(
    url: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("ingest", source, "-w", url, "--workers", "1", "--json")
    assert json.loads(done.stdout)["created"] == 8
    asked = run("sql", "select count(*) as n from instances", "-w", url, "--format", "json")
    assert json.loads(asked.stdout) == [{"n": 8}]
    monkeypatch.setenv("DICOM_WAREHOUSE", url)
    facts = json.loads(run("info", "--json").stdout)
    assert (facts["root"], facts["entities"]["instances"]) == (url, 8)
    shelf = warehouse.open(url, create=True)
    assert shelf.sql("select count(*) from instances").fetchall() == [(8,)]
    shelf.cohort("ct_thin_slice", max_slice_mm=1000)
    write(tmp_path / "new", uid="7.7")
    shelf.ingest(tmp_path / "new", workers=1)
    assert run("compact").returncode == 0
    assert "ct_thin_slice-0001" in run("cohort", "show", "ct_thin_slice-0001").stdout
    shelf.refresh()
    assert shelf.sql("select count(*) from instances").fetchall() == [(9,)]
    assert run("vacuum").returncode == 2
    assert run("ingest", "s3://archive/", "--workers", "1").returncode == 2
    assert run("info", "-w", "s3://no-such-bucket/wh").returncode == 1
    assert SECRET not in done.stdout + done.stderr + repr(shelf)
    assert SECRET.encode() not in bytes_under(tmp_path / "cache")


@pytest.mark.long("test_who_is_outrun_takes_back_its_own_and_begins_again")
def test_tables_that_come_later_and_their_rows_are_published_too(
    line: Line, url: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both writers make the table; the one who is outrun appends to that of the other."""
    ours, theirs = (open_mirror(url, line.access, tmp_path / name) for name in ("ours", "theirs"))
    work(ours, source / "0")
    held = content(ours.root)
    theirs.pull()
    with monkeypatch.context() as patch:
        register(tmp_path / "sql", patch)
        append_rows(theirs.root, {"toy_notes": notes("b", 2)})
        done = ours.work(lambda: append_rows(ours.root, {"toy_notes": notes("a", 2)}))
        assert done.rows == {"toy_notes": 2}
        with pytest.raises(Outrun):
            theirs.push()
        theirs.pull()
        theirs.work(lambda: append_rows(theirs.root, {"toy_notes": notes("b", 2)}))
    # One who knows nothing of it leaves it alone, and needs none of its parts.
    older = open_mirror(url, line.access, tmp_path / "older")
    assert not list(older.root.glob("toy_notes/batch=*/*"))
    work(older, source / "1")
    assert content(older.root) != held
    with monkeypatch.context() as patch:
        register(tmp_path / "sql", patch)
        ours.pull()
        paths = delta.snapshot(ours.root).paths("toy_notes")
        rows = pq.read_table(paths, columns=["author", "number"], partitioning=None).to_pylist()
        assert sorted((row["author"], row["number"]) for row in rows) == [
            ("a", 0), ("a", 1), ("b", 0), ("b", 1),
        ]  # fmt: skip
        assert "toy_notes" in json.loads((ours.root / "warehouse.json").read_text())["tables"]
        assert (ours.root / "warehouse.json").read_text() == (
            theirs.root / "warehouse.json"
        ).read_text()
    for mirror in (ours, theirs, older):
        mirror.close()


def test_files_of_one_machine_stay_there_and_forgotten_values_go_at_once(
    line: Line, url: str, tmp_path: Path
) -> None:
    """The folder of a job has images of patients; a value of another writer is kept for a day."""
    first = open_mirror(url, line.access, tmp_path / "one")
    prefix = url.removeprefix("s3://archive/")
    local = ("_jobs/job1/input/image.mha", "_reading/77fa")

    def change() -> None:
        ingest(first.root, [write(tmp_path / "in" / "a", uid="1.98.1")], SETTINGS)
        for key in local:
            (first.root / key).parent.mkdir(parents=True, exist_ok=True)
            (first.root / key).write_bytes(b"of one machine")

    first.work(change)
    assert [key for key in first._list("") if key.startswith(("_jobs", "_reading"))] == []
    values = [f"values/{digit * 2}/{digit * 64}" for digit in "ab"]
    # As earlier versions of this software uploaded them.
    old = {f"{prefix}/{key}": b"of a machine" for key in (*local, *values)}
    put(line.access, "archive", old)
    other = open_mirror(url, line.access, tmp_path / "two")
    other.pull()
    assert not any((other.root / key).exists() for key in local)
    assert all((first.root / key).exists() for key in local)
    first.delete_unnamed(forgotten={values[0]})
    left = first._list("").keys()
    assert values[1] in left
    assert not left & {*local, values[0]}


def downloaded(mirror: Mirror, url: str, folder: Path) -> Path:
    """Copy every object of a warehouse to a folder."""
    import obstore

    for some in obstore.list(mirror._bucket._store, prefix=url.removeprefix("s3://archive/")):
        for meta in some:
            target = folder / str(meta["path"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(bytes(obstore.get(mirror._bucket._store, meta["path"]).bytes()))
    return folder


def test_what_is_forgotten_is_in_no_object(line: Line, url: str, tmp_path: Path) -> None:
    """The short form: what one writer has read and forgotten."""
    for number, who in enumerate(("PAT-0815-X", "PAT-4711-Y")):
        write(tmp_path / "in" / f"{who}-{number}", uid=f"1.98.{number}", PatientID=who)
    mirror = open_mirror(url, line.access, tmp_path / "one")
    mirror.work(lambda: ingest(mirror.root, [tmp_path / "in"], SETTINGS))
    mirror.work(lambda: forget(mirror.root, "patient", "PAT-0815-X", delete=True))
    assert mirror.delete_unnamed() > 0
    held = downloaded(mirror, url, tmp_path / "bucket")
    mirror.close()
    assert places_of(["PAT-4711-Y", "1.98.1"], held).keys() == {"PAT-4711-Y", "1.98.1"}
    assert places_of(["PAT-0815-X", "1.98.0", "PAT-0815-X-0"], held, mirror.root) == {}


@pytest.mark.long("test_what_is_forgotten_is_in_no_object")
def test_what_is_forgotten_is_in_no_object_and_no_other_mirror(
    line: Line, url: str, tmp_path: Path
) -> None:
    """Parts that a log names go at once; one of a writer who has not committed stays for a day."""
    source = tmp_path / "in"
    for number, who in enumerate(("PAT-0815-X", "PAT-0815-X", "PAT-4711-Y")):
        write(source / f"{who}-{number}", uid=f"1.98.{number}", PatientID=who)
    first, other = (open_mirror(url, line.access, tmp_path / name) for name in ("one", "two"))
    first.work(lambda: ingest(first.root, [source], SETTINGS))
    first.work(lambda: compact(first.root))
    other.pull()
    run_cohort(other.root, "ct_thin_slice")
    (other.root / "_cache").mkdir(exist_ok=True)
    wanted = ["PAT-0815-X", "1.98.0", str(source / "PAT-0815-X-1")]
    assert places_of(wanted, other.root)
    first.work(lambda: forget(first.root, "patient", "PAT-0815-X", delete=True))
    assert places_of(wanted, first.root) == {}
    uncommitted = f"{url.removeprefix('s3://archive/')}/elements/batch=000009/0000-ab.parquet"
    put(line.access, "archive", {uncommitted: b"of a writer"})
    assert first.delete_unnamed() > 0
    first.close()
    copy = open_mirror(url, line.access, tmp_path / "three")
    downloaded(copy, url, tmp_path / "bucket")
    (tmp_path / "bucket" / uncommitted).unlink()
    assert places_of(wanted, tmp_path / "bucket", copy.root) == {}
    other.pull()
    assert places_of(wanted, other.root) == {}
    assert not (other.root / "_cache").exists()
    report = other.work(lambda: ingest(other.root, [source], SETTINGS))
    assert (report.forgotten, report.existing) == (2, 1)
