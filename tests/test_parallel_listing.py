"""Workers look at files as the process that walks does, and it is as if there were none."""

from __future__ import annotations

import os
import signal
import threading
import time
import zipfile
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.content import content
from tests.dicom_files import write
from warehouse import parallel_listing, survey
from warehouse.dicom.objects import is_object
from warehouse.dicom.scan import SourceFile, discover, walk
from warehouse.ingest import ingest
from warehouse.listing import listing_row, listing_table
from warehouse.parallel_listing import ListingWorkers, list_files, list_run
from warehouse.settings import IngestSettings
from warehouse.workers import WorkerLost, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from warehouse.dicom.scan import Met


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files, folders, an archive, links, and names that are no UTF-8."""
    source = tmp_path / "in"
    for name in ("a/1.dcm", "a/2.DCM", "a-b/3.dcm", "a.dcm", "b/c/d/4.dcm", "b/text.txt", "z"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    (source / os.fsdecode(b"\xff.dcm")).write_bytes(b"1")
    (source / "gone.dcm").symlink_to("nowhere")
    (source / "b" / "loop").symlink_to(source)
    os.mkfifo(source / "b" / "pipe.dcm")
    with zipfile.ZipFile(source / "c.zip", "w") as archive:
        for number in range(7):
            archive.writestr(f"{number}.dcm", b"1" * number)
    (source / "no.zip").write_bytes(b"no archive")
    return source


class Workers(WorkerPool):
    """Runs calls in threads of their own, when the test lets it."""

    def __init__(self, run: Callable[[Future[Any], Callable[[], Any]], None]) -> None:
        super().__init__(1)
        self.run, self.given = run, 0
        self.have = True

    @property
    def have_started(self) -> bool:
        return self.have

    def submit_first(self, call: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        self.given += 1
        future: Future[Any] = Future()
        self.run(future, lambda: call(*arguments))
        return future


def at_once(future: Future[Any], call: Callable[[], Any]) -> None:
    future.set_result(call())


def rows(
    source: Path, workers: WorkerPool | None, patterns: Sequence[str] = ()
) -> list[dict[str, Any]]:
    found = list(list_files(walk([source], patterns=patterns), patterns, ListingWorkers(workers)))
    return pa.concat_tables(found).to_pylist() if found else []


def listed(source: Path, patterns: Sequence[str] = ()) -> list[dict[str, Any]]:
    found = discover([source], patterns=patterns)
    return listing_table([listing_row(item) for item in found]).to_pylist()


@pytest.mark.parametrize("patterns", [(), ("*.dcm",), ("nothing",)])
@pytest.mark.parametrize("run_files", [1, 3, 500])
def test_who_looks_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, patterns: Sequence[str], run_files: int
) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_FILES", run_files)
    expected = listed(folder, patterns)
    # Of archives nobody knows by their name whether they hold something.
    assert len(expected) == {(): 19, ("*.dcm",): 17, ("nothing",): 2}[tuple(patterns)]
    assert rows(folder, None, patterns) == expected
    workers = Workers(at_once)
    assert rows(folder, workers, patterns) == expected
    assert workers.given > 0


def test_real_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 2)
    with WorkerPool(2) as pool:
        # One has started, so all is waited for.
        pool.submit(os.getpid).result()
        assert rows(folder, pool) == listed(folder)


@given(st.lists(st.sampled_from(["now", "later", "lost"]), max_size=12), st.booleans())
def test_workers_that_are_slow_or_lost_change_nothing(fates: list[str], have: bool) -> None:
    left = iter(fates)
    threads = []

    def run(future: Future[Any], call: Callable[[], Any]) -> None:
        fate = next(left, "now")
        if fate == "later":
            threads.append(threading.Timer(0.001, lambda: _end(future, call)))
            threads[-1].start()
        elif fate == "lost":
            future.set_exception(WorkerLost("was killed by SIGKILL"))
        else:
            at_once(future, call)

    def _end(future: Future[Any], call: Callable[[], Any]) -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(call())

    met: list[Met] = [f"/nowhere/{number}" for number in range(7)]
    workers = Workers(run)
    workers.have = have
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel_listing, "RUN_FILES", 1)
        patch.setattr(parallel_listing, "RUNS_AHEAD", 3)
        found = pa.concat_tables(list_files(iter(met), (), ListingWorkers(workers)))
    for thread in threads:
        thread.join()
    assert found["path"].to_pylist() == met


def test_a_run_that_nobody_has_begun_is_looked_at_here_until_a_worker_has_started() -> None:
    workers = Workers(lambda _future, _call: None)
    workers.have = False
    (found,) = list_files(iter(["/nowhere"]), (), ListingWorkers(workers))
    assert found["reason"].to_pylist() == ["cannot be opened: No such file or directory"]
    assert workers.given == 1


def test_runs_are_listed_here_while_all_workers_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 1)
    monkeypatch.setattr(parallel_listing, "WAIT_SECONDS", 0.05)
    futures: list[tuple[Future[Any], Callable[[], Any]]] = []
    workers = Workers(lambda future, call: futures.append((future, call)))
    found = list_files(
        iter([f"/nowhere/{number}" for number in range(5)]), (), ListingWorkers(workers)
    )
    waited: list[float] = []
    wait = parallel_listing.futures.wait

    def seen(given: Any, seconds: float) -> Any:
        waited.append(seconds)
        return wait(given, seconds)

    monkeypatch.setattr(parallel_listing.futures, "wait", seen)
    assert [next(found)["path"].to_pylist() for _ in range(3)] == [
        ["/nowhere/0"], ["/nowhere/1"], ["/nowhere/2"]
    ]  # fmt: skip
    # Only the first is waited for.
    assert waited == [0.05, 0, 0]
    future, call = futures[3]
    assert future.set_running_or_notify_cancel()
    threading.Timer(0.1, lambda: future.set_result(call())).start()
    assert next(found)["path"].to_pylist() == ["/nowhere/3"]
    assert [future.cancelled() for future, _ in futures] == [True, True, True, False, False]
    found.close()


def test_no_run_that_was_listed_here_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker may read for minutes, while this process lists many files."""
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 1)
    monkeypatch.setattr(parallel_listing, "WAIT_SECONDS", 0.0)
    paths = [f"/nowhere/{number}" for number in range(100)]
    may_end = threading.Event()
    with WorkerPool(1) as pool:
        pool.submit(os.getpid).result()
        answer = pool._answer
        is_busy = threading.Event()

        def slow(*given: Any) -> Any:
            is_busy.set()
            assert may_end.wait(20)
            return answer(*given)

        monkeypatch.setattr(pool, "_answer", slow)
        busy = pool.submit(os.getpid)
        assert is_busy.wait(20)
        try:
            kept = list[int]()
            for rows in list_files(iter(paths), (), ListingWorkers(pool)):
                assert rows.num_rows == 1
                kept.append(len(pool._first))
        finally:
            may_end.set()
        busy.result()
    assert len(kept) == len(paths)
    assert max(kept) <= parallel_listing.RUNS_AHEAD
    assert kept[-1] == 0


def test_objects_of_a_bucket_are_known_already() -> None:
    workers = Workers(at_once)
    item = SourceFile("s3://bucket/key", 3, 4)
    (found,) = list_files(iter([item]), (), ListingWorkers(workers))
    assert found["path"].to_pylist() == ["s3://bucket/key"]
    assert is_object(item.path)
    assert workers.given == 0


def test_what_is_given_and_not_needed_is_cancelled() -> None:
    futures = []
    workers = Workers(lambda future, _call: futures.append(future))
    workers.have = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel_listing, "RUN_FILES", 1)
        found = list_files(iter(["/a", "/b", "/c"]), (), ListingWorkers(workers))
        next(found)
        found.close()
    assert [future.cancelled() for future in futures] == [True] * 3


def test_a_walk_that_is_slow_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_SECONDS", 0.01)

    def slowly() -> Iterator[Met]:
        for number in range(4):
            time.sleep(0.02)
            yield f"/nowhere/{number}"

    assert [len(some) for some in list_files(slowly(), (), ListingWorkers())] == [1, 1, 1, 1]


def test_where_it_takes_long_workers_are_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 3)
    monkeypatch.setattr(parallel_listing, "ALONE_SECONDS", 0.0)
    ended = []
    kill = WorkerPool.kill
    monkeypatch.setattr(WorkerPool, "kill", lambda pool: (ended.append(pool), kill(pool)))
    found = list_files(walk([folder]), (), ListingWorkers(most=2))
    assert pa.concat_tables(found).to_pylist() == listed(folder)
    (pool,) = ended
    assert pool.have_started is False
    assert pool.is_killed


def test_processes_that_look_end_with_a_run_that_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while somebody holds on to the error."""
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 1)
    monkeypatch.setattr(parallel_listing, "RUNS_AHEAD", 2)
    monkeypatch.setattr(parallel_listing, "ALONE_SECONDS", 0.0)
    pools = []
    submit_first = WorkerPool.submit_first

    def seen(pool: WorkerPool, call: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        pools.append(pool)
        return submit_first(pool, call, *arguments, **options)

    class Fails:
        def listed(self, files: int) -> None:
            if files > 3:
                raise RuntimeError

        def planned(self, files: int) -> None: ...

        def read(self, files: int, rejected: int) -> None: ...

    monkeypatch.setattr(WorkerPool, "submit_first", seen)
    with pytest.raises(RuntimeError) as error:
        ingest(tmp_path / "w", [folder], IngestSettings(workers=2), progress=Fails())
    assert pools[0].is_killed
    assert error.tb is not None


def _killed(met: Iterable[Met], patterns: Sequence[str]) -> object:
    if any("kill" in str(item) for item in met):
        os.kill(os.getpid(), signal.SIGKILL)
    return list_run(met, patterns)


@pytest.mark.parametrize("is_killing", [False, True])
def test_an_ingest_whose_workers_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_killing: bool
) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 2)
    monkeypatch.setattr(survey, "FIRST_PORTION", 2)
    monkeypatch.setattr(survey, "LARGE_PORTION", 4)
    source = tmp_path / "in"
    for number in range(12):
        write(source / ("kill" if number == 7 else f"{number:02}"), uid=f"1.{number}")
    if is_killing:
        monkeypatch.setattr(parallel_listing, "list_run", _killed)
    given = []
    submit_first = WorkerPool.submit_first

    def seen(pool: WorkerPool, call: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        given.append(call)
        return submit_first(pool, call, *arguments, **options)

    monkeypatch.setattr(WorkerPool, "submit_first", seen)
    settings = IngestSettings(workers=2, chunk_files=2, batch_files=4)
    with WorkerPool(2) as pool:
        pool.submit(os.getpid).result()
        report = ingest(tmp_path / "w", [source], settings, executor=pool)
    assert report.created == 12
    assert parallel_listing.list_run in given
    ingest(tmp_path / "clean", [source], IngestSettings(workers=1, chunk_files=2, batch_files=4))
    assert content(tmp_path / "w") == content(tmp_path / "clean")
