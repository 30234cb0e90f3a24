"""Ctrl-C and SIGTERM at any moment of an ingest: one line, its exit code, nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warehouse
from tests.command_line import run
from tests.content import content
from tests.dicom_files import image, write
from tests.forms import some
from warehouse.cli import stopping
from warehouse.cli.app import COMMANDS
from warehouse.cli.watching import Watch
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.store import layout
from warehouse.survey import BATCH_SECONDS, LEAST_CHUNK, LEAST_FILES, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[1]
FILES = 400

SLOWLY = """
import sys
from warehouse.cli import main
from warehouse.cli.stopping import stoppable
with stoppable():
    from warehouse.process import do_without_pandas, do_without_requests
    do_without_pandas()
    do_without_requests()
    import warehouse.ingest
    from dataclasses import replace
    read = warehouse.ingest.ingest
    warehouse.ingest.ingest = lambda root, sources, settings, **options: read(
        root, sources, replace(settings, workers=2, chunk_files=40, batch_files=80), **options
    )
    main(sys.argv[1:])
"""
"""The command with small batches, so that there are moments between them.

It leaves pandas and requests out as the command does, which imports ``warehouse.ingest`` later.
"""

SHOWN = SLOWLY.replace(
    "    main(",
    """    import time
    from warehouse.cli.watching import Watch
    told = Watch.read
    Watch.read = lambda *given: (told(*given), time.sleep(0.15))
    main(""",
)
"""And long enough for the bar, which is drawn ten times a second, to show each of them."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    folder = tmp_path_factory.mktemp("source") / "in"
    write(folder / "0", image("1.2.9999.5"))
    made = (folder / "0").read_bytes()
    for number in range(1, FILES):
        (folder / f"{number}").write_bytes(made.replace(b"1.2.9999.5", b"1.2.%04d.5" % number))
    return folder


@pytest.fixture(scope="module")
def clean(source: Path) -> dict[str, Any]:
    ingest(source.parent / "clean", [source], IngestSettings(workers=1))
    return content(source.parent / "clean")


class Running:
    """The command in a session of its own, so that whatever it starts can be found."""

    def __init__(self, root: Path, source: Path, *begin: str) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [*(begin or (sys.executable, "-c", SLOWLY)), "ingest", str(source), "-w", str(root)],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, cwd=root.parent,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def wait_until(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not what() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)

    def stop(self, number: int, *, whole_group: bool) -> tuple[int, str, str]:
        """Send a signal as a terminal does, or to the process alone; hold what is done after it.

        It ends within two seconds, and no batch begins to be committed.
        """
        begun = time.monotonic()
        (os.killpg if whole_group else os.kill)(self.process.pid, number)
        version = newest(self.root)
        out, err = self.process.communicate(timeout=60)
        assert time.monotonic() - begun < 2
        # That one was being committed.
        assert newest(self.root) <= version + 1
        return self.process.returncode, out, err

    def hears_signals(self) -> bool:
        """Tell whether the interpreter has come so far as to ask for SIGTERM."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            (caught,) = [line.split()[1] for line in status if line.startswith("SigCgt")]
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def semaphores(self) -> list[str]:
        """Return what of the named semaphores of the system its processes hold now."""
        held = []
        for pid in self.left():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
                held += [line for line in maps if "/dev/shm/sem." in line]
        return held

    def started(self) -> int:
        """Count the process and those that it or they have started, which still run.

        To look through the whole of /proc for the session takes half of a processor.
        """
        count, waiting = 0, [str(self.process.pid)]
        while waiting:
            tasks = f"/proc/{waiting.pop()}/task"
            count += 1
            with contextlib.suppress(OSError):
                for task in os.listdir(tasks):
                    with open(f"{tasks}/{task}/children", encoding="ascii") as children:
                        waiting += children.read().split()
        return count

    def left(self) -> list[str]:
        """Return the processes of the session that still run."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(process.name)
        return found


def newest(root: Path) -> int:
    """Return how many batches were committed, less one."""
    return max(
        (int(log.stem) for log in (root / "files" / "_delta_log").glob("*.json")), default=-1
    )


SENT = {
    "Ctrl-C": (signal.SIGINT, True),
    "SIGTERM": (signal.SIGTERM, False),
    "SIGTERM to all": (signal.SIGTERM, True),
}
"""What is sent, and whether to the whole group, as a terminal does."""


def committed(root: Path, version: int) -> bool:
    return (root / "files" / "_delta_log" / f"{version:020}.json").exists()


def workers_run(running: Running) -> bool:
    return running.started() >= 4


MOMENTS: dict[str, Callable[[Running], bool]] = {
    "imports": lambda running: running.hears_signals(),
    "the warehouse is made": lambda running: running.root.exists(),
    "workers start": lambda running: running.started() >= 2,
    "workers read": workers_run,
    "one batch is committed": lambda running: committed(running.root, 1),
    "three are": lambda running: committed(running.root, 3),
}


LATER = [("the warehouse is made", "SIGTERM"), ("three are", "SIGTERM to all")]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("moment", "sent"),
    [
        # One moment of each kind: before there is a warehouse, before the first commit with workers
        # and without, between commits; and every signal.
        ("imports", "Ctrl-C"),
        ("workers read", "Ctrl-C"),
        *(
            pytest.param(
                *case,
                marks=pytest.mark.long(
                    "test_a_stopped_ingest_says_what_is_kept_and_leaves_nothing"
                ),
            )
            for case in LATER
        ),
        *some(
            [
                (moment, sent)
                for moment in MOMENTS
                for sent in SENT
                if (moment, sent) not in {("imports", "Ctrl-C"), ("workers read", "Ctrl-C"), *LATER}
            ],
            always=(),
        ),
    ],
)
def test_a_stopped_ingest_says_what_is_kept_and_leaves_nothing(
    source: Path, tmp_path: Path, sent: str, moment: str, clean: dict[str, Any]
) -> None:
    root = tmp_path / "w"
    running = Running(root, source)
    running.wait_until(lambda: MOMENTS[moment](running))
    semaphores = running.semaphores()
    number, whole_group = SENT[sent]
    code, out, err = running.stop(number, whole_group=whole_group)
    assert (code, out) == (128 + number, "")
    assert err.startswith("stopped")
    assert err.endswith("run the same command again to continue\n")
    assert err.count("\n") == 1
    until = time.monotonic() + 1
    while running.left() and time.monotonic() < until:
        time.sleep(0.01)
    assert running.left() == []
    assert semaphores == []
    if (root / layout.MARKER).exists():
        with (root / "_lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        kept = len(content(root)["files"])
        if " of " in err:
            assert err.startswith(f"stopped: {kept} of {FILES} files are in the warehouse;")
        if "committed" in moment or moment == "three are":
            assert kept > 0
    if moment == "three are":
        ingest(root, [source], IngestSettings(workers=1))
        assert content(root) == clean


def test_a_library_that_does_not_come_back_is_not_waited_for(tmp_path: Path) -> None:
    """Here a sleep that begins anew when it is interrupted, as some C code does."""
    program = (
        "import sys, time\n"
        "from warehouse.cli.stopping import stoppable\n"
        "with stoppable():\n"
        "    print('begun', flush=True)\n"
        "    while True:\n"
        "        try: time.sleep(20)\n"
        "        except KeyboardInterrupt: pass\n"
    )
    stuck = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert stuck.stdout is not None
    stuck.stdout.readline()
    begun = time.monotonic()
    stuck.terminate()
    _, err = stuck.communicate(timeout=60)
    assert time.monotonic() - begun < 2
    assert (stuck.returncode, err) == (
        143, "stopped; what was committed is kept, run the same command again to continue\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ingest", "in"], "what was committed is kept"),
        (["sql", "from series"], "stopped\n"),
        (["ingest", "--help"], "stopped\n"),
        ([], "stopped\n"),
    ],
)
def test_only_a_command_that_commits_says_what_is_kept(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_command", "_printed"):
        monkeypatch.setattr(stopping, name, [])
    stopping.speak_for(words)
    assert stopping.say(KeyboardInterrupt()) == 130
    assert says in capsys.readouterr().err


def test_commands_that_commit_nothing_exist() -> None:
    names = {name for group in COMMANDS.values() for name in group}
    assert names >= stopping.COMMIT_NOTHING


DESTROYED = """
import os, signal, time
from warehouse.cli.stopping import stoppable
class First:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
class Second:
    def __del__(self):
        time.sleep(0.5)
with stoppable():
    First()
    Second()
    print("both are destroyed", flush=True)
    time.sleep(20)
"""
"""An interrupt that ends nothing, as where it meets the lock of a module that is imported; and that
is raised again while another object is being destroyed."""


def test_an_interrupt_that_a_destructor_loses_is_raised_again(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", DESTROYED], env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert time.monotonic() - begun < 1.5
    assert (done.returncode, done.stdout, done.stderr) == (
        130, "both are destroyed\n",
        "stopped; what was committed is kept, run the same command again to continue\n",
    )  # fmt: skip


@pytest.mark.parametrize(("step", "given"), [("listed", (1,)), ("planned", (1,)), ("read", (1, 0))])
def test_every_step_ends_after_an_interrupt_that_was_lost(
    step: str, given: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    getattr(Watch(enabled=False, log=False), step)(*given)
    monkeypatch.setattr(stopping, "_received", [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        getattr(Watch(enabled=False, log=False), step)(*given)


@pytest.mark.long("test_every_step_ends_after_an_interrupt_that_was_lost")
@pytest.mark.parametrize(
    "step", ["listed", pytest.param("planned", marks=pytest.mark.slow), "read"]
)
def test_an_interrupt_that_a_library_loses_ends_the_next_step(
    source: Path, tmp_path: Path, step: str
) -> None:
    """Here an ``except`` without a name, in a step before which nothing is committed."""
    program = SLOWLY.replace(
        "    main(",
        "    import os, signal\n"
        "    from warehouse.cli.watching import Watch\n"
        f"    told = Watch.{step}\n"
        "    def lose(*given):\n"
        "        try: os.kill(os.getpid(), signal.SIGINT)\n"
        "        except: pass\n"
        "        told(*given)\n"
        f"    Watch.{step} = lose\n"
        "    main(",
    )
    running = Running(tmp_path / "w", source, sys.executable, "-c", program)
    out, err = running.process.communicate(timeout=60)
    assert (running.process.returncode, out) == (130, "")
    assert err.startswith("stopped")
    assert newest(tmp_path / "w") <= 0


def may_be_first() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    tried = subprocess.run(
        [unshare, "--pid", "--fork", "--kill-child", "true"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.skipif(not may_be_first(), reason="needs the right to make a PID namespace")
def test_the_first_process_of_a_container_asks_for_sigterm(tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from warehouse.cli.stopping import stoppable\n"
        "with stoppable():\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(20)\n"
    )
    running = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    running.stdout.readline()
    (first,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (
        143, "stopped; what was committed is kept, run the same command again to continue\n",
    )  # fmt: skip


@pytest.mark.long("test_the_first_process_of_a_container_asks_for_sigterm")
@pytest.mark.skipif(not may_be_first(), reason="needs the right to make a PID namespace")
def test_the_first_process_of_a_container_stops_too(source: Path, tmp_path: Path) -> None:
    """There the kernel gives SIGTERM to nobody who has not asked for it."""
    root = tmp_path / "w"
    running = Running(
        root, source, "unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", SLOWLY
    )
    running.wait_until(lambda: committed(root, 1))
    ((first,),) = [
        Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    ]
    begun = time.monotonic()
    os.kill(int(first), signal.SIGTERM)
    version = newest(root)
    _, err = running.process.communicate(timeout=60)
    assert time.monotonic() - begun < 2
    assert newest(root) <= version + 1
    assert running.process.returncode == 143
    assert err.startswith("stopped")
    assert err.count("\n") == 1


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("warehouse.cli.main", lambda: called.append("main"))
    runpy.run_module("warehouse", run_name="__main__")
    assert called == ["main"]


@pytest.mark.long("test_the_module_is_the_command")
def test_python_m_warehouse_is_the_command(tmp_path: Path) -> None:
    write(tmp_path / "in" / "0", image())
    running = Running(tmp_path / "w", tmp_path / "in", sys.executable, "-m", "warehouse")
    out, err = running.process.communicate(timeout=60)
    assert (running.process.returncode, err) == (0, "")
    assert out.startswith("1 file: 1 created")


def test_an_interrupt_of_a_script_is_no_other_class(tmp_path: Path) -> None:
    """Python ends by the signal itself for KeyboardInterrupt alone, not for a class made of it."""

    class Stop(Watcher):
        def listed(self, files: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    write(tmp_path / "in" / "0", image())
    with pytest.raises(KeyboardInterrupt, match="^stopped: files were still") as stopped:
        warehouse.open(tmp_path / "w", create=True).ingest(tmp_path / "in", progress=Stop())
    assert stopped.type is KeyboardInterrupt


@pytest.mark.long("test_an_interrupt_of_a_script_is_no_other_class")
def test_a_shell_sees_that_a_script_was_interrupted(source: Path, tmp_path: Path) -> None:
    """Python ends by the signal itself for KeyboardInterrupt alone, not for a class made of it."""
    program = (
        "import os, signal, warehouse\n"
        "class Stop:\n"
        "    def listed(self, files): os.kill(os.getpid(), signal.SIGINT)\n"
        f"warehouse.open('w', create=True).ingest({str(source)!r}, progress=Stop())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGINT
    assert done.stderr.splitlines()[-1].startswith("KeyboardInterrupt: stopped: files were still")


# -- batches ---------------------------------------------------------------------------------------


def test_batches_are_as_large_as_half_a_minute_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("warehouse.survey.time.monotonic", lambda: now)
    pace = Pace(IngestSettings(workers=4))
    assert (pace.files, pace.chunk(pace.files)) == (4_000, 1_000)
    for files in (8_000, 16_000, 20_000, 20_000):
        now += 1
        pace.read(1_000)
        assert pace.files == files
    most = IngestSettings()
    assert (pace.files, pace.chunk(pace.files)) == (most.batch_files, most.chunk_files)
    now += 100
    pace.read(1_000)
    assert pace.files == 10 * BATCH_SECONDS
    now += 1_000
    pace.read(10)
    assert pace.files == LEAST_FILES


def test_no_few_files_of_a_portion_are_a_batch_of_their_own() -> None:
    pace = Pace(IngestSettings(workers=4))
    sizes = [pace.batch(waiting, is_last=False) for waiting in (1, 4_000, 6_000, 6_001)]
    assert sizes == [1, 4_000, 6_000, 4_000]
    pace = Pace(IngestSettings(workers=4, batch_files=1_500))
    assert [pace.batch(waiting) for waiting in (1_500, 1_501)] == [1_500, 1_500]


def test_batches_become_smaller_towards_the_end_where_several_read() -> None:
    def batches(waiting: int, workers: int) -> list[int]:
        pace, found = Pace(IngestSettings(workers=workers)), []
        pace.files = 20_000
        while waiting:
            found.append(pace.batch(waiting))
            waiting -= found[-1]
        return found

    assert batches(60_000, 2) == [20_000, 20_000, 15_000, 3_000, 2_000]
    assert batches(10_000, 2) == [7_500, 2_500]
    assert batches(3_999, 2) == [3_999]
    assert batches(60_000, 1) == [20_000, 20_000, 20_000]
    pace = Pace(IngestSettings(workers=2))
    assert [pace.batch(4_000, is_last=last) for last in (False, True)] == [4_000, 2_000]


@given(files=st.integers(1, 20_000), workers=st.integers(1, 64), chunk_files=st.integers(1, 5_000))
def test_every_worker_reads_as_much_of_a_batch(files: int, workers: int, chunk_files: int) -> None:
    size = Pace(IngestSettings(workers=workers, chunk_files=chunk_files)).chunk(files)
    assert 1 <= size <= chunk_files
    if size > min(LEAST_CHUNK, chunk_files):
        rounds = -(-files // (workers * chunk_files))
        assert -(-files // size) <= workers * rounds


class Watcher:
    """Notes what an ingest tells."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def listed(self, files: int) -> None:
        self.found.append(files)

    def planned(self, files: int) -> None: ...

    def read(self, files: int, rejected: int) -> None: ...


def test_listing_is_told_as_it_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.parallel_listing.RUN_SECONDS", 0.0)
    watcher = Watcher()
    ingest(tmp_path / "w", [source], IngestSettings(workers=1), progress=watcher)
    assert len(watcher.found) > 10
    assert watcher.found == sorted(watcher.found)
    assert watcher.found[-1] == FILES


def on_a_terminal(arguments: list[str], cwd: Path) -> Iterator[tuple[float, str]]:
    """Run the command on a terminal of its own; yield what it draws, and after how long."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.environ.update(PYTHONPATH=str(CHECKOUT), TERM="xterm", COLUMNS="100")
        os.execv(sys.executable, [sys.executable, "-c", SHOWN, *arguments])
    begun = time.monotonic()
    while True:
        try:
            drawn = os.read(terminal, 65_536)
        except OSError:
            break
        yield time.monotonic() - begun, drawn.decode(errors="replace")
    os.close(terminal)
    os.waitpid(child, 0)


def test_a_bar_shows_listing_and_reading(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn anew after every step, which takes less time than until it is drawn."""
    drawn = io.StringIO()
    monkeypatch.setattr(drawn, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    watch = Watch(enabled=True, log=False)
    for step in ("listed", "planned", "read"):
        real = getattr(watch, step)
        monkeypatch.setattr(
            watch, step, lambda *given, real=real: (real(*given), watch._progress.refresh())
        )
    how = IngestSettings(workers=1, batch_files=80, chunk_files=80)
    with watch:
        ingest(tmp_path / "w", [source], how, progress=watch)
    assert "listing" in drawn.getvalue()
    assert f"{80:>3}/{FILES}" in drawn.getvalue()


@pytest.mark.long("test_a_bar_shows_listing_and_reading")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_bar_shows_listing_and_reading(source: Path, tmp_path: Path) -> None:
    drawn = "".join(text for _, text in on_a_terminal(["ingest", str(source), "-w", "w"], tmp_path))
    assert "listing" in drawn
    assert f"{80:>3}/{FILES}" in drawn
    assert f"{FILES} files: {FILES} created" in drawn


# -- priority --------------------------------------------------------------------------------------


def test_the_system_is_told_that_an_ingest_goes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(os, "nice", told.append)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *given: told.append(given[:2]))
    write(tmp_path / "in" / "0", image())
    done = run("ingest", tmp_path / "in", "--nice", "7", "--idle", "-w", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert told == [7, (0, os.SCHED_IDLE)]


@pytest.mark.long("test_the_system_is_told_that_an_ingest_goes_last")
def test_an_ingest_goes_last_if_it_is_told_to(source: Path, tmp_path: Path) -> None:
    # One batch of two chunks, so that both workers have one.
    (tmp_path / "in").mkdir()
    for number in range(80):
        os.link(source / f"{number}", tmp_path / "in" / f"{number}")
    running = Running(
        tmp_path / "w", tmp_path / "in", sys.executable, "-c", SLOWLY.replace("sys.argv[1:]", "[*sys.argv[1:], '--nice', '7', '--idle']"),
    )  # fmt: skip
    running.wait_until(lambda: workers_run(running))
    scheduled = {
        (os.getpriority(os.PRIO_PROCESS, int(pid)), os.sched_getscheduler(int(pid)))
        for pid in running.left()
    }
    running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert scheduled == {(own + 7, os.SCHED_IDLE)}


def test_a_niceness_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = run("ingest", tmp_path, "--nice", "-3", "-w", tmp_path / "w")
    assert (done.returncode, done.stderr) == (
        2, "error: --nice -3 is out of range; choose a number from 0 to 19\n",
    )  # fmt: skip
