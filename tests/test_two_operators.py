"""Several people at one warehouse: readers never wait, writers wait for one another."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

import warehouse
from tests.content import content
from tests.test_crashes import ten_files
from warehouse.errors import LockIgnored
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, locks

CHECKOUT = Path(__file__).parents[1]
SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, batch_files=5)
ONE_BY_ONE = IngestSettings(mode=Mode.FULL, workers=1, batch_files=1)

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from warehouse.process import do_without_pandas
do_without_pandas()
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import locks
held = locks.locked
def told(root):
    print("waits", flush=True)
    sys.stdin.readline()
    return held(root)
locks.locked = told
ingest(sys.argv[2], sys.argv[3:], IngestSettings(mode=Mode.FULL, workers=1, batch_files=3))
"""


def writer(root: Path, *sources: Path) -> subprocess.Popen[str]:
    """Start an ingest that asks for the lock when it has said so and was written a line."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(CHECKOUT), str(root), *map(str, sources)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return ten_files(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="module")
def clean(source: Path) -> dict[str, Any]:
    ingest(source.parent / "clean", [source], SETTINGS)
    return content(source.parent / "clean")


def test_a_writer_waits_for_another_one_and_a_reader_does_not(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is that of an open file: another thread waits for it as another process does."""
    root = tmp_path / "w"
    ingest(root, [source / "0"], SETTINGS)
    version = delta.snapshot(root).version
    held, asks = locks.locked, threading.Event()

    def told(asked: Path) -> Any:
        asks.set()
        return held(asked)

    with ThreadPoolExecutor(1) as thread:
        with locks.locked(root):
            monkeypatch.setattr(locks, "locked", told)
            other = thread.submit(ingest, root, [source / "1"], SETTINGS)
            assert asks.wait(60)
            reader = warehouse.open(root)
            assert reader.sql("select count(*) from instances").fetchall() == [(1,)]
            assert not wait([other], 0.5).done
            assert delta.snapshot(root).version == version
        assert other.result(60).created == 1
    reader.refresh()
    assert reader.sql("select count(*) from instances").fetchall() == [(2,)]


@pytest.mark.long("test_a_writer_waits_for_another_one_and_a_reader_does_not")
def test_readers_do_not_wait_for_a_writer_and_writers_do(
    source: Path, tmp_path: Path, clean: dict[str, Any]
) -> None:
    root = tmp_path / "w"
    ingest(root, [source / "0"], SETTINGS)
    version = delta.snapshot(root).version
    with locks.locked(root):
        other = writer(root, source)
        assert other.stdout is not None
        assert other.stdout.readline() == "waits\n"
        # Close: it is let on, now and ever. It goes no further: the lock is ours.
        assert other.stdin is not None
        other.stdin.close()
        other.stdin = None
        assert other.poll() is None
        assert delta.snapshot(root).version == version
        # Asking needs no lock, of one who comes now neither.
        reader = warehouse.open(root, create=True)
        assert reader.sql("select count(*) from instances").fetchall() == [(1,)]
        assert reader.table("files").collect().height == 1
    out, err = other.communicate(timeout=60)
    assert (other.returncode, err) == (0, ""), out
    assert content(root) == clean


@pytest.mark.long("test_a_writer_waits_for_another_one_and_a_reader_does_not")
def test_many_readers_see_whole_versions_while_batches_are_committed(
    source: Path, tmp_path: Path, clean: dict[str, Any]
) -> None:
    root = tmp_path / "w"
    ingest(root, [source / "broken"], SETTINGS)
    other = writer(root, source)
    assert other.stdin is not None
    assert other.stdout is not None
    seen: list[tuple[int, int]] = []

    def read() -> None:
        reader = warehouse.open(root, create=True)
        ((held, there, rows),) = reader.sql(
            "select (select count(*) from files where status = 'ingested'),"
            " (select count(*) from instances), (select count(distinct instance_id) from elements)"
        ).fetchall()
        assert held == there == rows
        seen.append((reader.catalog.snapshot.version, held))

    # Whichever of both is faster: a reading before each commit, and others from its beginning on.
    for _ in other.stdout:
        read()
        other.stdin.write("go on\n")
        other.stdin.flush()
        read()
        read()
    assert other.communicate()[1] == ""
    read()
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert content(root) == clean


@pytest.mark.parametrize(
    "moment",
    [
        "after files was looked at",
        *(
            pytest.param(
                table,
                marks=pytest.mark.long(
                    "test_where_the_lock_is_ignored_the_second_is_refused_and_nothing_is_lost"
                ),
            )
            for table in ("elements", "files")
        ),
    ],
)
def test_where_the_lock_is_ignored_the_second_is_refused_and_nothing_is_lost(
    source: Path,
    tmp_path: Path,
    clean: dict[str, Any],
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a file system that keeps no locks between machines."""
    root = tmp_path / "w"
    ingest(root, [source / "broken"], SETTINGS)
    monkeypatch.setattr(locks, "locked", lambda root: nullcontext())
    target = "_apply" if moment.startswith("after") else "_rolled_back"
    real = getattr(delta, target)

    def other_first(*arguments: Any) -> Any:
        table = arguments[0] if isinstance(arguments[0], DeltaTable) else arguments[1]
        name = Path(table.table_uri).name if isinstance(table, DeltaTable) else table
        if name == moment.rsplit(" ", maxsplit=1)[-1] or (name == "files" and target == "_apply"):
            monkeypatch.setattr(delta, target, real)
            ingest(root, [source / "1", source / "2"], ONE_BY_ONE)
        return real(*arguments)

    monkeypatch.setattr(delta, target, other_first)
    with pytest.raises(LockIgnored, match="Nothing of this batch was committed"):
        ingest(root, [source / "0"], SETTINGS)
    assert getattr(delta, target) is real
    # What the other one brought is there.
    held = warehouse.open(root, create=True).sql("select count(*) from instances").fetchall()
    assert held == [(2,)]
    content(root)
    ingest(root, [source], SETTINGS)
    assert content(root) == clean
