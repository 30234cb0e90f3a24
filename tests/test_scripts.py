"""Any script may ingest with several processes: none of them imports it again."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.dicom_files import image, write
from tests.forms import some
from warehouse.endings import how_it_ended
from warehouse.errors import WorkersLost, WriteFailed
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.workers import WorkerLost, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[1]

PROGRAM = """
import os
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
with open(os.environ["SIDE"], "a") as effects: effects.write("x")
print(ingest(os.environ["ROOT"], [os.environ["SOURCE"]], IngestSettings(workers=2, chunk_files=2)).created)
"""
"""Without ``if __name__ == "__main__"``, as people write it; it says when it is run."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    folder = tmp_path_factory.mktemp("source") / "in"
    for number in range(6):
        write(folder / f"{number}", image(f"1.{number}"))
    return folder


@pytest.fixture
def variables(source: Path, tmp_path: Path) -> dict[str, str]:
    given = {
        "ROOT": tmp_path / "w",
        "SOURCE": source,
        "SIDE": tmp_path / "side",
        "PYTHONPATH": CHECKOUT,
    }
    return {**os.environ, **{name: str(value) for name, value in given.items()}}


@pytest.mark.parametrize(
    "kind",
    [
        *some(["file", "module", "standard input", "argument"], always=["standard input"]),
        # It is run from a file, too.
        pytest.param(
            "no folder", marks=pytest.mark.long("test_a_script_without_a_guard_runs_once")
        ),
    ],
)
def test_a_script_without_a_guard_runs_once(
    variables: dict[str, str], tmp_path: Path, kind: str
) -> None:
    script = tmp_path / "study.py"
    script.write_text(PROGRAM)
    arguments = {
        "file": [str(script)], "module": ["-m", "study"], "standard input": ["-"],
        "argument": ["-c", PROGRAM], "no folder": [str(script)],
    }[kind]  # fmt: skip
    folder = tmp_path / "gone"
    folder.mkdir()
    begin = (lambda: os.rmdir(folder)) if kind == "no folder" else None
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder if begin else tmp_path, env=variables, check=False,
        input=PROGRAM if kind == "standard input" else "", capture_output=True, text=True,
        preexec_fn=begin,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("6\n", "", 0)
    assert Path(variables["SIDE"]).read_text() == "x"


@pytest.mark.long("test_a_script_without_a_guard_runs_once")
def test_five_lines_as_the_readme_has_them(tmp_path: Path) -> None:
    """More files than a chunk has, or this process would read them itself."""
    write(tmp_path / "in" / "0", image("1.2.9999.5"))
    made = (tmp_path / "in" / "0").read_bytes()
    for number in range(1, 2_600):
        (tmp_path / "in" / f"{number}").write_bytes(
            made.replace(b"1.2.9999.5", b"1.2.%04d.5" % number)
        )
    script = tmp_path / "script.py"
    script.write_text(
        "import warehouse\n"
        "wh = warehouse.open('w', create=True)\n"
        "report = wh.ingest('in', workers=2)\n"
        "print(report.created, len(report.batches))\n"
        "print(wh.sql('select count(*) from instances').fetchall())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("2600 1\n[(2600,)]\n", "")


class Kernel:
    """A notebook kernel in a process of its own."""

    def __init__(self, variables: dict[str, str]) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3", env=variables)

    def said(self, code: str, *, until: str = "") -> list[dict[str, Any]]:
        """Run a cell; return what it says, up to something that holds a text."""
        asked = self.client.execute(code)
        found: list[dict[str, Any]] = []
        while True:
            found += self.more(asked)
            if found[-1].get("execution_state") == "idle" or (
                until and until in found[-1].get("text", "")
            ):
                return found

    def more(self, asked: str = "") -> list[dict[str, Any]]:
        message = self.client.get_iopub_msg(timeout=30)
        is_ours = not asked or message["parent_header"].get("msg_id") == asked
        return [message["content"]] if is_ours else [{}]

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(variables: dict[str, str]) -> Iterator[Kernel]:
    pytest.importorskip("ipykernel")
    made = Kernel(variables)
    try:
        yield made
    finally:
        made.end()


class Interrupted:
    """Progress of an ingest that is interrupted when the first files are read."""

    def listed(self, files: int) -> None: ...
    def planned(self, files: int) -> None: ...
    def read(self, files: int, rejected: int) -> None:
        raise KeyboardInterrupt


STOPPED = "stopped: 0 of 6 files are in the warehouse; run the same command again to continue"


def test_an_ingest_that_is_interrupted_says_how_to_go_on(source: Path, tmp_path: Path) -> None:
    settings = IngestSettings(workers=1, chunk_files=2)
    with pytest.raises(KeyboardInterrupt) as raised:
        ingest(tmp_path / "w", [source], settings, progress=Interrupted())
    assert str(raised.value) == STOPPED
    # What a notebook shows of it.
    assert raised.value._render_traceback_() == [f"KeyboardInterrupt: {STOPPED}"]  # type: ignore[attr-defined]


@pytest.mark.long("test_an_ingest_that_is_interrupted_says_how_to_go_on")
@pytest.mark.filterwarnings("ignore")  # of jupyter_client about its own event loop
def test_a_notebook_ingests_and_can_be_interrupted(kernel: Kernel, source: Path) -> None:
    text = [said.get("text") for said in kernel.said(PROGRAM)]
    assert "6\n" in text
    slow = (
        "import time\n"
        "class Slow:\n"
        "    def listed(self, files): ...\n"
        "    def planned(self, files): ...\n"
        "    def read(self, files, rejected): print('read', flush=True); time.sleep(600)\n"
        "ingest(os.environ['ROOT'] + '2', [os.environ['SOURCE']], "
        "IngestSettings(workers=2, chunk_files=2), progress=Slow())\n"
    )
    kernel.said(slow, until="read")
    begun = time.monotonic()
    kernel.manager.interrupt_kernel()
    said: dict[str, Any] = {}
    while "ename" not in said:
        said = kernel.more()[0]
        assert "Traceback" not in said.get("text", "")
    assert time.monotonic() - begun < 2
    assert said["traceback"] == [f"KeyboardInterrupt: {STOPPED}"]


# -- workers that are lost -------------------------------------------------------------------------


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)


def full_disk() -> None:
    raise WriteFailed("rows of elements", OSError(28, "No space left on device"))


def local_error() -> None:
    class Odd(Exception):
        """Nobody can unpickle it."""

    raise Odd("of its own")


@pytest.mark.parametrize(
    ("call", "argument", "how"),
    [
        (os._exit, 9, "ended with exit code 9"),
        (end_by, signal.SIGKILL, "was killed by SIGKILL"),
        (end_by, signal.SIGSEGV, "was killed by SIGSEGV"),
    ],
)
def test_the_reason_of_a_lost_worker_is_the_true_one(call: Any, argument: int, how: str) -> None:
    with WorkerPool(1) as pool:
        lost, others = pool.submit(call, argument), pool.submit(divmod, 7, 2)
        with pytest.raises(WorkerLost) as raised:
            lost.result()
        assert str(raised.value) == how
        # The others have a new one.
        assert others.result() == (3, 1)


def test_memory_is_named_only_where_the_kernel_counted_it() -> None:
    assert "memory" not in how_it_ended(-9)
    assert "memory" not in how_it_ended(-11, is_for_memory=True)
    assert how_it_ended(-9, is_for_memory=True).endswith("because memory ran out")


def test_an_ingest_says_how_its_worker_was_lost(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lost chunk is read again, alone, and a known good file after it: these are killed too.
    for name in ("read_batches.stage_chunk", "isolation.stage_chunk", "isolation.prove"):
        monkeypatch.setattr(f"warehouse.{name}", killed)
    with pytest.raises(WorkersLost) as raised:
        ingest(tmp_path / "w", [source], IngestSettings(workers=2, chunk_files=2))
    assert str(raised.value).startswith("a process that read batch 000001 was killed by SIGKILL. ")


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_errors_of_a_worker_come_back_as_they_are() -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(WriteFailed, match="no space is left on the disk"):
            pool.submit(full_disk).result()
        with pytest.raises(RuntimeError, match="Odd: of its own"):
            pool.submit(local_error).result()
        with pytest.raises(ZeroDivisionError) as raised:
            pool.submit(divmod, 1, 0).result()
        assert "raised in a worker process" in raised.value.__notes__[0]


def test_a_pool_that_is_left_by_an_error_waits_for_nothing() -> None:
    begun: queue.SimpleQueue[float] = queue.SimpleQueue()

    def leave() -> None:
        with WorkerPool(2) as pool:
            pool.submit(divmod, 1, 1).result()
            pool.submit(time.sleep, 600)
            begun.put(time.monotonic())
            raise KeyError

    with pytest.raises(KeyError):
        leave()
    assert time.monotonic() - begun.get() < 1


@pytest.mark.parametrize("of", ["connect()", "connect().cursor()"])
def test_duckdb_draws_no_bar_into_the_output_of_a_script(of: str) -> None:
    """It does after two seconds of one question, where the script has no file: ``python -c``."""
    question = f"""
from warehouse.store.duck import connect
print({of}.sql("select current_setting('enable_progress_bar')").fetchall())
"""
    done = subprocess.run(
        [sys.executable, "-c", question], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "[(False,)]\n"
