"""Images that fill disks, print without end or write much: what is stored, and what is refused."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import time
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT, function
from tests.algorithms.running import ends, left_over, modes, ready
from tests.algorithms.tiny_images import model
from warehouse.algorithms import container
from warehouse.algorithms.logs import LINE_BYTES, LINES, Tail
from warehouse.errors import AlgorithmError, ArchiveRefused
from warehouse.workers import WorkerLost, WorkerPool

if sys.platform != "linux":
    pytest.skip("containers are a thing of Linux", allow_module_level=True)


@pytest.mark.parametrize("method", ["exec", "invoke"])
def test_what_fills_the_disk_is_stopped(
    tiny: warehouse.Warehouse, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("bwrap")
    monkeypatch.setattr(container, "GRACE", 0.2)
    monkeypatch.setattr(container, "CHECKED_EVERY", 0.2)
    modes(tiny, "s", "fill")
    with monkeypatch.context() as patch:
        patch.setattr(container, "MAX_OUTPUT_BYTES", 8 << 20)
        tiny.algorithms.run(f"look-{method}", of_set="s", runner="bwrap", seconds=30)
    assert ends(tiny)["fill"][:2] == ("Failed", "The outputs exceed the limit of files or bytes")
    monkeypatch.setattr(container, "MIN_FREE_BYTES", 1 << 60)
    tiny.algorithms.run(f"look-{method}", of_set="s", runner="bwrap", seconds=30, again=True)
    assert ends(tiny)["fill"][1].endswith("MiB are free on the disk of the warehouse")
    assert left_over(tiny, "bwrap") == []


def test_a_gigabyte_that_is_printed_is_500_lines() -> None:
    tail = Tail()
    block = (b"x" * 99 + b"\n") * 655
    for _ in range((64 << 20) // len(block)):
        tail.feed(block)
    tail.feed(b"y" * (64 << 20))  # a line that does not end
    lines = tail.text().split("\n")
    assert len(lines) == LINES
    assert (lines[0], len(lines[-1])) == ("x" * 99, LINE_BYTES)


@pytest.mark.slow
def test_an_image_that_prints_a_gigabyte(tiny: warehouse.Warehouse) -> None:
    ready("bwrap")
    # What the first job of a process brings into memory has nothing to do with what it prints.
    modes(tiny, "first", "look")
    assert tiny.algorithms.run("look-exec", of_set="first", runner="bwrap").succeeded == 1
    modes(tiny, "s", "gigabyte")
    before = peak()
    assert tiny.algorithms.run("look-exec", of_set="s", runner="bwrap").succeeded == 1
    assert peak() - before < 32 << 20
    lines = "select max(len(string_split(stdout, chr(10)))) from jobs"
    assert tiny.sql(lines).fetchall() == [(500,)]


def peak() -> int:
    """Most memory that this process had, bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0]) << 10


@pytest.mark.parametrize("count", [2000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_an_image_that_writes_points(tiny: warehouse.Warehouse, count: int) -> None:
    ready("bwrap")
    image = tiny.algorithms.find("look-exec").image_id
    tiny.algorithms.create("points", "mode -> spots", image=image, requires_memory_gb=4)
    modes(tiny, "s", f"points {count}")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = peak()
    assert tiny.algorithms.run("points", of_set="s", runner="bwrap").succeeded == 1
    assert peak() - before < 256 << 20
    rows = tiny.sql(
        "select count(*), sum(points[1][1]), max(points[1][2]) from annotations"
    ).fetchall()
    assert rows == [(count, count * (count - 1) / 2, 2.5)]


def test_a_ground_truth_is_mounted(tiny: warehouse.Warehouse, tmp_path: Path) -> None:
    ready("bwrap")
    parts = tiny.algorithms
    image = parts.find("look-exec").image_id
    interface = "predictions-json-file -> metrics-json-file"
    parts.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    assert parts.run("measure", [CT], workers=0).succeeded == 1
    parts.create("rated", interface, image=image, kind="evaluation", requires_memory_gb=4)
    truth = parts.add_ground_truth(model(tmp_path / "t.tar.gz", b"41"), parent="rated").artifact_id
    parts.create(
        "rated", interface, image=image, model=truth, kind="evaluation", requires_memory_gb=4
    )
    assert parts.evaluate("rated", "measure", runner="bwrap").succeeded == 1
    ((found,),) = tiny.sql(
        "select value from job_outputs where slug = 'metrics-json-file'"
    ).fetchall()
    assert json.loads(found) == {"truth": {"weights.bin": "41"}, "jobs": 1, "can_write": False}


@pytest.mark.long("test_a_ground_truth_is_mounted")
def test_the_truth_of_a_method_is_mounted(tiny: warehouse.Warehouse, tmp_path: Path) -> None:
    ready("bwrap")
    parts = tiny.algorithms
    image = parts.find("look-exec").image_id
    interface = "predictions-json-file -> metrics-json-file"
    parts.create("rated", interface, image=image, kind="evaluation", requires_memory_gb=4)
    parts.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    assert parts.run("measure", [CT], workers=0).succeeded == 1
    with pytest.raises(AlgorithmError, match="has no ground truth"):
        parts.evaluate("rated", "measure")
    truth = parts.add_ground_truth(model(tmp_path / "t.tar.gz", b"41"), parent="rated").artifact_id
    parts.create(
        "rated", interface, image=image, model=truth, kind="evaluation", requires_memory_gb=4
    )  # fmt: skip
    assert parts.evaluate("rated", "measure", runner="bwrap").succeeded == 1
    ((found,),) = tiny.sql(
        "select value from job_outputs where slug = 'metrics-json-file'"
    ).fetchall()
    assert json.loads(found) == {"truth": {"weights.bin": "41"}, "jobs": 1, "can_write": False}
    # Another truth is another evaluation; one whose names lead out of it is none.
    bad = tmp_path / "bad.tar.gz"
    with tarfile.open(bad, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../x"))
    with pytest.raises(ArchiveRefused, match="points outside of it"):
        parts.add_ground_truth(bad, parent="rated")
    tiny.refresh()
    assert tiny.sql("select count(*) from artifacts where kind = 'ground truth'").fetchall() == [
        (2,)
    ]


def run_look(root: Path) -> None:
    warehouse.open(root).algorithms.run("look-exec", of_set="s", runner="bwrap")


def test_a_run_that_is_killed_leaves_no_process(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("bwrap")
    monkeypatch.setattr(container, "GRACE", 0.2)
    modes(tiny, "s", "hang")
    pool = WorkerPool(1)
    run = pool.submit(run_look, tiny.root)
    try:
        until(lambda: run.done() or "/inside.py" in running(tiny.root))
    finally:
        pool.kill()
    with pytest.raises(WorkerLost):
        run.result()
    until(lambda: not running(tiny.root))
    tiny.refresh()
    # It is executed again, in a folder that is empty.
    (left,) = (path for path in (tiny.root / "_jobs").iterdir() if "job-" in path.name)
    (left / "output" / "look.json").write_text("1")
    report = tiny.algorithms.run("look-exec", of_set="s", runner="bwrap", seconds=0.5)
    assert (report.failed, ends(tiny)["hang"][1]) == (1, "Time limit exceeded")
    assert left_over(tiny, "bwrap") == []


def running(root: Path) -> str:
    """Command lines of processes that have the folder of the jobs of a warehouse."""
    found = []
    for each in os.listdir("/proc"):
        if each.isdecimal() and int(each) != os.getpid():
            try:
                line = Path("/proc", each, "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"{root}/_jobs/" in line:
                found.append(line)
    return "\n".join(found)


def until(is_so) -> None:
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.05)
    pytest.fail("it has not come about in 60 s")
