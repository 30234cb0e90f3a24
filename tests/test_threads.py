"""One warehouse, used by many threads; and what it costs to let one more ask."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import warehouse
from tests.dicom_files import write
from warehouse.pixels.lookup import images_of_series

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

THREADS = 8


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Do all in threads of their own that begin together; a failure of one fails."""
    ready = threading.Barrier(len(actions))

    def begin(action: Callable[[], object]) -> object:
        ready.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(begin, actions))


@pytest.fixture(scope="module")
def facts(sample: warehouse.Warehouse) -> tuple[str, str]:
    """Return a series that is a volume, and an instance."""
    volumes = sample.sql("select series_key from series_geometry where is_volume order by 1")
    uids = sample.sql("select SOPInstanceUID from instances where Modality = 'MR' order by 1")
    return volumes.fetchall()[0][0], uids.fetchall()[0][0]


def test_few_threads_ask_one_warehouse_at_once(sample: warehouse.Warehouse) -> None:
    questions: list[Callable[[], object]] = [
        lambda: sample.sql("select instance_key from instances order by 1").fetchall(),
        lambda: (
            sample.table("instances").select("instance_key").collect().sort("instance_key").rows()
        ),
        lambda: sample.sql("select count(*) from files").fetchall(),
    ]
    expected = [question() for question in questions]
    assert at_once(*questions, *questions) == expected * 2


def test_each_answer_is_of_one_version(tmp_path: Path) -> None:
    assert answers_while_another_writes(tmp_path, writes=1, readers=2)


@pytest.mark.long("test_few_threads_ask_one_warehouse_at_once")
def test_threads_ask_one_warehouse_at_once(
    sample: warehouse.Warehouse, facts: tuple[str, str]
) -> None:
    volume, uid = facts
    run = sample.cohort("ct_thin_slice", max_slice_mm=5)
    questions: list[Callable[[], object]] = [
        lambda: sorted(sample.sql("from series").fetchall(), key=repr),
        lambda: sample.table("studies").sort("study_key").collect().rows(),
        lambda: (
            sample.table("instances").select("instance_key").collect().sort("instance_key").rows()
        ),
        lambda: sample.members(run).collect().rows(),
        lambda: sample.header(uid).to_json(),
        lambda: np.asarray(sample.volume(volume)).tobytes(),
        lambda: sample.select("series", Modality="MR").fetchall(),
        lambda: len(sample.stack(volume)),
    ]
    expected = [question() for question in questions]
    another = warehouse.open(sample.root, create=True)  # not even its catalog is open yet
    assert at_once(*questions) == expected
    counted = at_once(*[lambda: another.sql("select count(*) from instances").fetchall()] * THREADS)
    assert counted == [sample.sql("select count(*) from instances").fetchall()] * THREADS
    for _ in range(2):
        rotated = questions[3:] + questions[:3]
        assert at_once(*rotated) == expected[3:] + expected[:3]


@pytest.mark.parametrize(
    ("view", "key", "threads"),
    [
        ("segmentations", "instance_id", 2),
        pytest.param(
            "series", "series_key", THREADS,
            marks=pytest.mark.long(
                "test_one_frame_may_be_collected_by_threads_and_joined_with_itself"
            ),
        ),
    ],
)  # fmt: skip
def test_one_frame_may_be_collected_by_threads_and_joined_with_itself(
    sample: warehouse.Warehouse, view: str, key: str, threads: int
) -> None:
    frame = sample.table(view).select(key)
    wanted = frame.collect().sort(key)
    assert wanted.height > 0
    for answer in at_once(*[frame.collect] * threads):
        assert_frame_equal(answer.sort(key), wanted)  # type: ignore[union-attr]
    assert frame.join(frame, on=key).collect().height == wanted.height


@pytest.mark.long("test_one_frame_may_be_collected_by_threads_and_joined_with_itself")
def test_rows_of_a_frame_may_be_filtered(sample: warehouse.Warehouse) -> None:
    frame = sample.table("series").select("series_key", "Modality")
    found = frame.filter(pl.col("Modality") == "MR").head(1).collect()
    assert found["Modality"].to_list() == ["MR"]


def test_an_answer_that_is_still_being_read_is_in_nobodys_way(sample: warehouse.Warehouse) -> None:
    reader = sample.sql("from range(1_000_000)").to_arrow_reader()
    first = reader.read_next_batch()
    assert sample.sql("select 1").fetchall() == [(1,)]
    assert first.num_rows + sum(batch.num_rows for batch in reader) == 1_000_000


def test_a_lookup_of_pixels_is_complete_for_every_thread(
    sample: warehouse.Warehouse, facts: tuple[str, str]
) -> None:
    again = warehouse.open(sample.root, create=True)
    found = at_once(*[lambda: images_of_series(again.catalog, facts[0])] * THREADS)
    assert all(images == images_of_series(sample.catalog, facts[0]) for images in found)


@pytest.mark.long("test_each_answer_is_of_one_version")
def test_each_answer_is_of_one_version_while_another_writes(tmp_path: Path) -> None:
    assert len(answers_while_another_writes(tmp_path, writes=4, readers=3)) > 1


def answers_while_another_writes(
    tmp_path: Path, *, writes: int, readers: int
) -> set[tuple[int, int]]:
    """Return what readers saw of two tables, which are of one version."""
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "in" / "0.dcm", uid="1.0"), workers=1)
    reader, stop = warehouse.open(tmp_path / "w", create=True), threading.Event()
    both = "select (select count(*) from instances), (select count(*) from files)"

    def ask() -> set[tuple[int, int]]:
        seen = set()
        while not stop.is_set():
            reader.refresh()
            seen.update(reader.sql(both).fetchall())
        return seen

    def ingest() -> set[tuple[int, int]]:
        try:
            for number in range(1, writes + 1):
                wh.ingest(write(tmp_path / "in" / f"{number}.dcm", uid=f"1.{number}"), workers=1)
        finally:
            stop.set()
        return set()

    seen = set().union(*at_once(ingest, *[ask] * readers))  # type: ignore[arg-type]
    assert all(instances == files for instances, files in seen)
    return seen


def test_a_session_is_cheap(sample: warehouse.Warehouse) -> None:
    """Opening a catalog takes 50 ms and more; a session of it must not."""
    catalog = sample.catalog
    took = []
    for _ in range(20):
        started = time.perf_counter()
        catalog.session()
        took.append(time.perf_counter() - started)
    assert min(took) < 0.02


def test_a_session_has_what_the_catalog_has(sample: warehouse.Warehouse) -> None:
    """Variables and the search path are of one connection only in DuckDB."""
    session, first = sample.catalog.session(), sample.catalog.connection
    for known in (
        "select name, value from duckdb_variables() order by name",
        "select current_setting('search_path')",
        "select view_name from duckdb_views() where not internal order by view_name",
    ):
        assert session.execute(known).fetchall() == first.execute(known).fetchall() != []
    # A stored table, an entity, and a view that reads both.
    for name in ("elements", "series", "mr_series"):
        count = f"select count(*) from {name}"
        assert session.execute(count).fetchall() == sample.sql(count).fetchall() != [(0,)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_to_be_started_otherwise(sample: warehouse.Warehouse) -> None:
    """It has none of DuckDB's threads, and would wait for them without end."""
    assert sample.sql("select 1").fetchall() == [(1,)]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sample.sql("select 1")
        except warehouse.errors.UsageError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:
        assert "spawn or forkserver" in said.read()
    os.waitpid(child, 0)
