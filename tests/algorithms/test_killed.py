"""Who runs jobs is killed, or somebody else is: nothing runs on, and no reason is made up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import function
from tests.algorithms.running import ends, modes, ready
from tests.algorithms.test_hostile_images import running, until
from warehouse.algorithms import engines, measuring
from warehouse.algorithms.artifacts import archive_of, find_artifact
from warehouse.algorithms.container import judge
from warehouse.algorithms.measuring import Kills
from warehouse.algorithms.tasks import MEMORY_TEXT, Done
from warehouse.components.sets import put_items
from warehouse.components.values import Given

if sys.platform != "linux":
    pytest.skip("processes are looked for in /proc", allow_module_level=True)

RUNNERS = """
import os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from warehouse.algorithms import container, engines
from warehouse.algorithms.archives import read_archive

root, archive = Path(sys.argv[1]), Path(sys.argv[2])
image = read_archive(archive)
spec = SimpleNamespace(requires_memory_gb=4, requires_gpu_type="")
task = SimpleNamespace(root=root, spec=spec)
for folder in ("input", "output"):
    (root / "_jobs" / "job-x" / folder).mkdir(parents=True)
mounts = engines.Mounts(root / "_jobs" / "job-x" / "input", root / "_jobs" / "job-x" / "output")
loaded = container.Loaded(container.engine_of(root, "bwrap"), image)
(mounts.input / "inputs.json").write_text("[]")
rng = random.Random(1)
for number in range(int(sys.argv[3])):
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                container.start(task, loaded, mounts).process.wait()
        finally:
            # Whatever fails: it never goes on with what has forked it.
            os._exit(1)
    # From before the program has started to after the container runs.
    time.sleep(rng.uniform(0, 0.15))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


def given_to_runners(tiny: warehouse.Warehouse, times: int) -> list[str]:
    image = tiny.algorithms.find("look-exec").image_id
    return [str(tiny.root), str(archive_of(tiny.root, find_artifact(tiny.root, image))), str(times)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_container_ends_when_its_runner_is_killed(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short form: runners are forked of this process, which has imported everything."""
    ready("bwrap")
    monkeypatch.setattr(sys, "argv", ["runners", *given_to_runners(tiny, 2)])
    exec(compile(RUNNERS, "runners", "exec"), {})
    until(lambda: not running(tiny.root))


@pytest.mark.long("test_a_container_ends_when_its_runner_is_killed")
def test_a_container_ends_whenever_its_runner_is_killed(tiny: warehouse.Warehouse) -> None:
    ready("bwrap")
    words = [sys.executable, "-c", RUNNERS, *given_to_runners(tiny, 10)]
    subprocess.run(words, check=True, timeout=60)
    until(lambda: not running(tiny.root))


@pytest.fixture
def starting(wh: warehouse.Warehouse) -> warehouse.Warehouse:
    """A case whose algorithm starts a program and waits."""
    (added,) = wh.components.add_values([Given("mode", "start")])
    put_items(wh.root, "s", {"one": {"mode": added.value_id}})
    wh.algorithms.create("bad", "mode -> voxel-count", function=function("misbehave"))
    return wh


def test_a_worker_ends_at_its_time_limit_and_what_it_started(
    starting: warehouse.Warehouse,
) -> None:
    starting.algorithms.run("bad", of_set="s", workers=1, seconds=1)
    assert starting.sql("select error_message from jobs").fetchall() == [("Time limit exceeded",)]
    until(lambda: sleeping() == [])


@pytest.mark.long("test_a_worker_ends_at_its_time_limit_and_what_it_started")
def test_a_worker_ends_when_its_runner_is_killed_and_what_it_started(
    starting: warehouse.Warehouse,
) -> None:
    wh = starting
    words = ["run", "bad", "--set", "s", "--jobs", "1", "-w", str(wh.root)]
    process = subprocess.Popen([sys.executable, "-m", "warehouse", *words])
    try:
        until(lambda: sleeping() != [])
        before = below(process.pid)
        assert len(before) == 3  # the server, a worker, and what it started
    finally:
        process.kill()
        process.wait()
    until(lambda: sleeping() == [])
    until(lambda: not any(Path("/proc", str(pid)).exists() for pid in before))
    # Its time limit ends it too, and what it started.
    wh.refresh()
    wh.algorithms.run("bad", of_set="s", workers=1, seconds=1)
    assert wh.sql("select error_message from jobs").fetchall() == [("Time limit exceeded",)]
    until(lambda: sleeping() == [])


def test_processes_are_counted_where_the_kernel_does_not(
    tiny: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("bwrap")
    monkeypatch.setattr(engines, "PIDS", 60)
    modes(tiny, "s", "fork")
    tiny.algorithms.run("look-exec", of_set="s", runner="bwrap", seconds=30)
    if os.geteuid() == 0:
        assert ends(tiny)["fork"][:2] == ("Failed", "The algorithm started more than 60 processes")
    else:
        assert ends(tiny)["fork"][0] == "Succeeded"
    until(lambda: not running(tiny.root))


def test_who_was_killed_for_memory_is_not_guessed() -> None:
    def said(code: int, kills: Kills, runner: str = "podman") -> str:
        done = Done("job", "failed", runner)
        judge(done, code, None, kills)
        assert (done.what, done.exit_code) == ("failed", code if code > 0 else 128 - code)
        return done.error

    plainly = "the algorithm ended with exit code 137"
    assert said(137, Kills(1, 1)) == MEMORY_TEXT
    assert said(137, Kills(0, 0)) == said(137, Kills(None, 0)) == plainly
    # Another process of the machine was killed, or nobody saw that it was one of the container.
    for kills in (Kills(0, 1), Kills(None, 3)):
        assert MEMORY_TEXT not in said(137, kills)
        assert "possibly its own" in said(137, kills)
        assert "possibly its own" in said(-signal.SIGKILL, kills, "bwrap")
        assert said(7, kills) == "the algorithm ended with exit code 7"
    assert said(1, Kills(2, 2)).endswith("after a process was killed for lack of memory")


def sleeping() -> list[int]:
    return [pid for pid in pids() if command_line(pid) == ["sleep", "617"]]


def below(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        found += [one for one in pids() if parent(one) == each]
    return found[1:]


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def test_the_log_of_the_kernel_tells_of_a_container_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines as Linux has them since 5.0 (mm/oom_kill.c, dump_oom_summary)."""
    kernel, log = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log.setblocking(False)
    monkeypatch.setattr(measuring, "_kernel_log", lambda: os.dup(log.fileno()))
    ours, other = "a" * 64, "b" * 64

    def tell(name: str) -> None:
        place = f"oom_memcg=/docker/{name},task_memcg=/docker/{name},task=python,pid=7,uid=0"
        kernel.send(f"6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,{place}".encode())

    (tmp_path / "id").write_text(ours)
    with kernel, log:
        meter = measuring.Meter(tmp_path / "id")
        tell(other)
        kernel.send(f"6,1,2,-;docker0: {ours} left".encode())
        assert not meter.kills().of_container
        tell(ours)
        meter.close()
    assert meter.kills().of_container == 1
    assert meter.kills().message(137) == MEMORY_TEXT
