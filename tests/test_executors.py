"""Read by a scheduler and workers of Dask: the same rows, whatever happens to a worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.command_line import run as command
from tests.content import content
from tests.test_crashes import ten_files
from warehouse import parallel_listing, survey
from warehouse.dicom.scan import discover, walk
from warehouse.errors import SchedulerUnreachable, WorkersLost, WrongMachine
from warehouse.ingest import ingest
from warehouse.listing import listing_row, listing_table
from warehouse.parallel_listing import ListingWorkers, list_files
from warehouse.reading import Chunk, stage_chunk
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[1]
SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, batch_files=8, chunk_files=1)


class Cluster:
    """A scheduler and workers, each a process of its own on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.threads: list[threading.Thread] = []
        self.address = self._begin(
            "scheduler", "Scheduler at:", "--host", "127.0.0.1", "--port", "0"
        )
        self.address = self.address.split("Scheduler at:")[1].strip()

    def _begin(self, what: str, until: str, *arguments: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", what, *arguments, "--no-dashboard"],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.processes.append(process)
        assert process.stderr is not None
        said = next(line for line in process.stderr if until in line)
        # What it says later must not fill the pipe.
        reading = threading.Thread(target=process.stderr.read)
        reading.start()
        self.threads.append(reading)
        return said

    def worker(self) -> subprocess.Popen[str]:
        """Start a worker that nobody starts again."""
        self._begin(
            "worker", "Registered to:", self.address, "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1",
            "--local-directory", str(self.folder),
        )  # fmt: skip
        return self.processes[-1]

    def end(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        for process, reading in zip(self.processes, self.threads, strict=True):
            reading.join()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        yield made
    finally:
        made.end()


@contextlib.contextmanager
def cluster_here(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and workers in threads of this process; yields the address of the scheduler."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address=None, local_directory=str(folder),
    ) as made:  # fmt: skip
        yield made.scheduler_address


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return ten_files(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="module")
def clean(source: Path) -> dict[str, Any]:
    ingest(source.parent / "clean", [source], SETTINGS)
    return content(source.parent / "clean")


class KillAtFirst:
    """Watches an ingest, and kills a worker as soon as one chunk has been read."""

    def __init__(self, worker: subprocess.Popen[str]) -> None:
        self.worker = worker
        self.read_before = self.read_after = 0

    def listed(self, files: int) -> None: ...

    def planned(self, files: int) -> None: ...

    def read(self, files: int, rejected: int) -> None:
        if self.worker.poll() is None:
            self.read_before += files
            self.worker.send_signal(signal.SIGKILL)
            self.worker.wait()
        else:
            self.read_after += files


@pytest.mark.long("test_rows_read_by_a_cluster_are_the_same")
def test_a_worker_killed_in_the_middle_changes_nothing(
    cluster: Cluster, source: Path, clean: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(survey, "FIRST_PORTION", 2)
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 3)
    found = list[Any]()
    result = parallel_listing._result
    monkeypatch.setattr(
        parallel_listing, "_result", lambda *of: found.append(result(*of)) or found[-1]
    )
    cluster.worker()
    watcher = KillAtFirst(cluster.worker())
    settings = IngestSettings(
        mode=Mode.FULL, batch_files=8, chunk_files=1, scheduler=cluster.address
    )
    report = ingest(tmp_path / "w", [source], settings, progress=watcher)
    assert (report.files, report.created, report.batches) == (10, 8, ["000001", "000002"])
    assert watcher.read_before > 0
    assert watcher.read_after > 0
    assert content(tmp_path / "w") == clean
    # The first files are looked at before there are workers.
    assert found[0] is None
    assert any(found)
    # Again with the worker that is left: nothing is read twice.
    assert ingest(tmp_path / "w", [source], settings).batches == []


def test_rows_read_by_a_cluster_are_the_same(
    source: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    with cluster_here(tmp_path, 1) as address:
        arguments = ("--scheduler", address, "--mode", "full", "-w", tmp_path / "w", "--json")
        done = command("ingest", source, *arguments)
    assert json.loads(done.stdout)["created"] == 8, done.stderr
    assert content(tmp_path / "w") == clean


@pytest.mark.long("test_rows_read_by_a_cluster_are_the_same")
def test_the_command_takes_a_scheduler(
    cluster: Cluster, source: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    # Not one that another test has left: that may have run in another process of pytest.
    cluster.worker()
    arguments = ("--scheduler", cluster.address, "--mode", "full", "-w", tmp_path / "w", "--json")
    done = command("ingest", source, *arguments)
    assert json.loads(done.stdout)["created"] == 8, done.stderr
    assert content(tmp_path / "w") == clean


def test_what_a_worker_does_not_see_is_looked_at_here(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler's workers may run where the folder is not."""

    def at_once(_pool: object, call: Any, met: list[str], *rest: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call([f"/elsewhere{path}" for path in met], *rest))
        return future

    monkeypatch.setattr(parallel_listing, "submit_first", at_once)
    found = pa.concat_tables(list_files(walk([source]), (), ListingWorkers(ThreadPoolExecutor(1))))
    assert (
        found.to_pylist() == listing_table([listing_row(f) for f in discover([source])]).to_pylist()
    )


def test_a_run_without_workers_says_that_it_waits(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import dask

    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "1s"}),
        cluster_here(tmp_path / "dask", 0) as address,
        pytest.raises(WorkersLost, match="NoWorkerError"),
    ):
        ingest(tmp_path / "w", [source], IngestSettings(scheduler=address))
    said = [r.getMessage() for r in caplog.records if r.name == "warehouse.executors"]
    assert said == [f"{address} has no workers yet; waiting for one: dask worker {address}"]


def test_nobody_answers(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.executors.CONNECT_SECONDS", 0.2)
    settings = IngestSettings(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(SchedulerUnreachable, match="start one with: dask scheduler"):
        ingest(tmp_path / "w", [source], settings)


def test_a_worker_that_sees_another_folder_writes_nothing(source: Path, tmp_path: Path) -> None:
    ingest(tmp_path / "w", [source / "0"], SETTINGS)
    before = set(tmp_path.rglob("*"))
    for root in (tmp_path / "w", tmp_path / "not-mounted"):
        with pytest.raises(WrongMachine, match="mount the folder there under the same path"):
            stage_chunk(Chunk(root, "of another warehouse", "000002", 0, [], 0, SETTINGS))
    assert set(tmp_path.rglob("*")) == before


class Dying:
    """Stands where a worker reads, and takes its process down."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def submit(self, work: Any, *arguments: Any) -> Any:
        return self.executor.submit(os._exit, 9)


class Broken:
    """Answers as a pool of processes does of which one has been killed."""

    def submit(self, *_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("SECRET"))
        return future


def test_a_pool_that_is_broken_ends_in_one_message(source: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkersLost, match="Nothing of this batch was committed") as lost:
        ingest(tmp_path / "w", [source], SETTINGS, executor=Broken())  # type: ignore[arg-type]
    assert "SECRET" not in str(lost.value)
    assert delta.snapshot(tmp_path / "w").version == 0
    assert set((tmp_path / "w" / "elements").glob("batch=*")) == set()


@pytest.mark.long("test_a_pool_that_is_broken_ends_in_one_message")
def test_processes_that_are_killed_end_in_one_message(source: Path, tmp_path: Path) -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with (
        ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool,
        pytest.raises(WorkersLost, match="Nothing of this batch was committed"),
    ):
        ingest(tmp_path / "w", [source], SETTINGS, executor=Dying(pool))  # type: ignore[arg-type]
    assert delta.snapshot(tmp_path / "w").version == 0
    assert set((tmp_path / "w" / "elements").glob("batch=*")) == set()
