"""A run that is killed goes on: the same rows as if it had not been."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import function
from warehouse.components.sets import put_items
from warehouse.components.values import Given
from warehouse.workers import WorkerLost, WorkerPool

ROWS = "select item, status, voxel_count, why_not from outputs('slow') order by item"


def items(wh: warehouse.Warehouse, count: int) -> None:
    added = wh.components.add_values([Given("age", n) for n in range(count)])
    put_items(wh.root, "s", {f"{n:04}": {"age": one.value_id} for n, one in enumerate(added)})


def killed_and_resumed(template: Path, folder: Path, kills: int, count: int) -> None:
    rng = random.Random(kills)
    shutil.copytree(template, folder / "w")
    wh = warehouse.open(folder / "w")
    items(wh, count)
    wh.algorithms.create("slow", "age -> voxel-count", function=function("slowly"))
    command = [
        sys.executable,
        "-m",
        "warehouse",
        "run",
        "slow",
        "--set",
        "s",
        "--jobs",
        "2",
        "-w",
        str(wh.root),
    ]
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(1.5, 6))
        process.kill()
        process.wait()
    resumed(wh, count, workers=2)


def resumed(wh: warehouse.Warehouse, count: int, workers: int) -> None:
    """Run it again; the rows are those of a run that was not killed."""
    wh.refresh()
    wh.algorithms.run("slow", of_set="s", workers=workers)
    rows = wh.sql(ROWS).fetchall()
    assert rows == [(f"s/{n:04}", "Succeeded", n + 1, None) for n in range(count)]
    # No output twice, none of a job that is not there, and every event follows the one before.
    assert wh.sql("select count(*) from job_outputs").fetchall() == [(count,)]
    assert wh.sql("select count(*) from value_uses where added_by = 'slow@1'").fetchall() == [
        (count,)
    ]
    broken = wh.sql("""
        select count(*) from (
            select *, coalesce(lag(status) over (partition by job_id order by event), -1) as from_status,
            from job_events
        ) as found
        anti join job_transitions on what = job_transitions.event
            and found.from_status = job_transitions.from_status and status = to_status
    """).fetchall()
    assert broken == [(0,)]
    assert [p for p in (wh.root / "_jobs").iterdir() if "job-" in p.name] == []


def test_a_worker_that_is_killed_leaves_jobs_to_go_on_with(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the third of four jobs, of which the first two were executed before."""
    marker = tmp_path / "waited"
    monkeypatch.setenv("WAITED", str(marker))
    shutil.copytree(template, tmp_path / "w")
    wh = warehouse.open(tmp_path / "w")
    wh.algorithms.create("slow", "age -> voxel-count", function=function("waiting"))
    items(wh, 2)
    assert wh.algorithms.run("slow", of_set="s", workers=0).succeeded == 2
    items(wh, 4)
    pool = WorkerPool(1)
    run = pool.submit(run_until_killed, wh.root, str(marker))
    while not (run.done() or marker.exists()):
        time.sleep(0.01)
    pool.kill()
    with pytest.raises(WorkerLost):
        run.result()
    wh.refresh()
    assert wh.sql("select count(*) from job_outputs").fetchall() == [(2,)]
    resumed(wh, 4, workers=0)


def run_until_killed(root: Path, marker: str) -> None:
    os.environ["WAITED"] = marker
    warehouse.open(root).algorithms.run("slow", of_set="s", workers=0)


@pytest.mark.long("test_a_worker_that_is_killed_leaves_jobs_to_go_on_with")
def test_a_run_that_is_killed_goes_on(template: Path, tmp_path: Path) -> None:
    killed_and_resumed(template, tmp_path, 1, 30)


@pytest.mark.slow
def test_a_run_that_is_killed_ten_times_goes_on(template: Path, tmp_path: Path) -> None:
    killed_and_resumed(template, tmp_path, 10, 400)


@pytest.mark.slow
def test_a_thousand_cases_cost_little_besides_the_function(template: Path, tmp_path: Path) -> None:
    import resource

    shutil.copytree(template, tmp_path / "w")
    wh = warehouse.open(tmp_path / "w")
    items(wh, 1000)
    wh.algorithms.create("grow", "age -> voxel-count", function=function("by_age"))
    before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + sum(
        resource.getrusage(resource.RUSAGE_CHILDREN)[:2]
    )
    report = wh.algorithms.run("grow", of_set="s", workers=2)
    from warehouse.workers import _end_server

    _end_server()  # so that what the workers used is counted
    after = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + sum(
        resource.getrusage(resource.RUSAGE_CHILDREN)[:2]
    )
    print(f"1,000 cases: {(after - before):.2f} s of processors, {report.seconds:.2f} s")
    assert report.succeeded == 1000
    assert (after - before) / 1000 < 0.01
