"""What a worker makes ready is what the commit would have written, or is of no use and gone."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import CancelledError, wait
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.content import content
from tests.dicom_files import write
from warehouse import read_batches
from warehouse.dicom.scan import discover
from warehouse.elements.extract import extract
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import commit, delta, layout, tables
from warehouse.store.duck import lent
from warehouse.store.known import hashes_of
from warehouse.store.ready import make_ready
from warehouse.store.schema import FILES
from warehouse.store.stage import Staged, stage
from warehouse.workers import WorkerLost, WorkerPool

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

ALONE = IngestSettings(workers=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for number in range(6):
        # A long value that all of them hold, and one of each.
        values = {"PixelData": None, "ICCProfile": b"\1\2" * 200, "PatientName": f"Doe^{number}"}
        write(folder / f"{number}.dcm", uid=f"1.{number}", **values)
    (folder / "3.txt").write_text("no DICOM file")
    return folder


def staged(root: Path, source: Path) -> list[Staged]:
    found = list(discover([source]))
    return [
        stage(root, "000001", n, portion, Mode.FULL, keep_blobs=True)
        for n, portion in enumerate(extract(found, layout.first_id("000001"), 40))
    ]


def unnamed(root: Path) -> set[str]:
    """Parts on the disk that no table names."""
    named = {
        f"{table}/{part}" for table, parts in delta.snapshot(root).parts.items() for part in parts
    }
    on_disk = {
        str(path.relative_to(root))
        for table in tables.names() for path in (root / table).glob("batch=*/*.parquet")
    }  # fmt: skip
    return on_disk - named


def test_a_batch_that_nobody_knows_is_stored_as_if_it_were_judged_file_by_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ingest(tmp_path / "ready", [source], ALONE)
    monkeypatch.setattr(commit, "make_ready", lambda *_: None)
    judged = ingest(tmp_path / "judged", [source], ALONE)
    assert (done.created, done.rejected, done.readers) == (6, 1, judged.readers)
    assert (judged.created, judged.rejected) == (6, 1)
    assert content(tmp_path / "ready") == content(tmp_path / "judged")
    for table in ("files", "instances"):
        one, other = (
            pq.read_table(delta.snapshot(tmp_path / name).paths(table)[0], partitioning=None)
            for name in ("ready", "judged")
        )
        assert (one.schema.names, one.schema.types) == (other.schema.names, other.schema.types)
        assert one.to_pylist() == other.to_pylist()
    assert not unnamed(tmp_path / "ready")
    assert not unnamed(tmp_path / "judged")


def test_the_rows_of_files_are_in_the_order_of_their_paths(source: Path, tmp_path: Path) -> None:
    delta.create(tmp_path / "w")
    portions = staged(tmp_path / "w", source)
    assert len(portions) > 1
    made = make_ready(tmp_path / "w", "000001", portions[::-1], [])
    assert made is not None
    assert (made.outcomes, made.parts["files"].rows) == ({"created": 6, "rejected": 1}, 7)
    rows = pq.read_table(tmp_path / "w" / "files" / made.parts["files"].path, partitioning=None)
    assert rows["path"].to_pylist() == sorted(rows["path"].to_pylist())
    assert rows.schema.names == FILES.names
    ids = pq.read_table(
        tmp_path / "w" / "instances" / made.parts["instances"].path, partitioning=None
    )
    assert ids["instance_id"].to_pylist() == sorted(ids["instance_id"].to_pylist())


def test_a_worker_hashes_what_the_commit_would_read(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    delta.create(root)
    with WorkerPool(1) as pool:
        made = pool.submit_first(make_ready, root, "000001", staged(root, source), []).result()
    assert made is not None
    assert len(made.hashes) == 7 + 6
    with lent() as connection:
        read = hashes_of(connection, [str(root / "files" / made.parts["files"].path)])
    assert sorted(read) == list(made.hashes)


def test_where_two_files_hold_an_instance_nothing_is_ready(source: Path, tmp_path: Path) -> None:
    write(source / "9.dcm", uid="1.2")
    assert make_ready(tmp_path, "000001", staged(tmp_path, source), []) is None
    assert not (tmp_path / "files").exists()
    done = ingest(tmp_path / "w", [source], ALONE)
    assert (done.created, done.duplicate, done.rejected) == (6, 1, 1)
    assert not unnamed(tmp_path / "w")


@pytest.mark.parametrize("workers", [1, 2])
def test_where_an_instance_is_known_what_was_ready_is_gone(
    source: Path, tmp_path: Path, workers: int
) -> None:
    write(tmp_path / "before" / "a.dcm", uid="1.2")
    ingest(tmp_path / "w", [tmp_path / "before"], ALONE)
    done = ingest(tmp_path / "w", [source], IngestSettings(workers=workers, chunk_files=2))
    assert (done.created, done.duplicate, done.rejected) == (5, 1, 1)
    assert not unnamed(tmp_path / "w")
    assert len(content(tmp_path / "w")["instances"]) == 6


def test_a_worker_that_is_killed_there_leaves_it_to_the_commit(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_batches, "make_ready", killed)
    done = ingest(tmp_path / "w", [source], IngestSettings(workers=2, chunk_files=2))
    assert (done.created, done.rejected) == (6, 1)
    assert not unnamed(tmp_path / "w")
    ingest(tmp_path / "other", [source], ALONE)
    assert content(tmp_path / "w") == content(tmp_path / "other")


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_writes_it_and_the_commit_takes_it_over(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "make_ready", None)
    monkeypatch.setattr(commit, "_prepare", None)
    done = ingest(tmp_path / "w", [source], IngestSettings(workers=2, chunk_files=2))
    assert (done.created, done.rejected) == (6, 1)


PAIRS = IngestSettings(workers=2, chunk_files=1, batch_files=2)


@pytest.fixture
def all_before_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every batch prepared as if none before it were committed yet."""
    monkeypatch.setattr(read_batches, "BATCHES_AHEAD", 9)
    submit_waiting, waiting = WorkerPool.submit_waiting, []

    def remembered(pool: WorkerPool, *arguments: Any) -> Future[Any]:
        waiting.append(submit_waiting(pool, *arguments))
        return waiting[-1]

    def later(*arguments: Any, **options: Any) -> commit.Counts:
        wait(waiting)
        return commit.commit_batch(*arguments, **options)

    monkeypatch.setattr(WorkerPool, "submit_waiting", remembered)
    monkeypatch.setattr(read_batches, "commit_batch", later)


@pytest.mark.usefixtures("all_before_any")
def test_a_batch_is_made_ready_before_the_ones_before_it_are_committed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is left to the commit, though all batches have a long value in common.
    for name in ("make_ready", "new_values", "_prepare"):
        monkeypatch.setattr(commit, name, None)
    done = ingest(tmp_path / "w", [source], PAIRS)
    assert (done.created, done.rejected, len(done.batches)) == (6, 1, 4)
    monkeypatch.undo()
    ingest(tmp_path / "other", [source], ALONE)
    assert content(tmp_path / "w") == content(tmp_path / "other")
    assert not unnamed(tmp_path / "w")


@pytest.mark.usefixtures("all_before_any")
def test_where_a_batch_before_is_judged_its_values_are_not_lost(
    source: Path, tmp_path: Path
) -> None:
    # The first batch repeats a known instance, so its parts, which were compared, are gone.
    write(tmp_path / "before" / "a.dcm", uid="1.0", PixelData=None)
    for root in (tmp_path / "w", tmp_path / "other"):
        ingest(root, [tmp_path / "before"], ALONE)
    done = ingest(tmp_path / "w", [source], PAIRS)
    assert (done.created, done.duplicate, done.rejected) == (5, 1, 1)
    ingest(tmp_path / "other", [source], ALONE)
    assert content(tmp_path / "w") == content(tmp_path / "other")
    assert not unnamed(tmp_path / "w")


def test_what_goes_first_goes_before_what_waits(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with WorkerPool(1) as pool:
        # The first keeps the worker from the others, however long it takes to submit them.
        waiting = [pool.submit(gate.read_bytes), *(pool.submit(time.sleep, 0) for _ in range(49))]
        first = pool.submit_first(divmod, 7, 2)
        gate.write_bytes(b"")
        assert first.result() == (3, 1)
        assert not waiting[-1].done()


def test_what_goes_first_fails_as_any_call() -> None:
    with WorkerPool(1) as pool, pytest.raises(ZeroDivisionError):
        pool.submit_first(divmod, 1, 0).result()


def test_nobody_waits_for_ever_for_a_pool_that_was_killed() -> None:
    pool = WorkerPool(1)
    pool.submit(signal.pause)
    first = pool.submit_first(divmod, 7, 2)
    pool.kill()
    with pytest.raises((CancelledError, WorkerLost)):
        first.result(timeout=60)
