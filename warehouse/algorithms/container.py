"""Start, watch and stop one container.

In: a ``Task`` and the folders of a container. Out: what it printed and how it ended. Our own clock
stops it; one that ignores SIGTERM is killed. It is started by ``keeping``, a program of its own
that ends it when this process is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.algorithms.archives import ImageArchive, Member, unpack
from warehouse.algorithms.artifacts import archive_of, find_artifact, image_of
from warehouse.algorithms.bubblewrap import Bubblewrap
from warehouse.algorithms.engines import INFO_FD, Command, Engine, Mounts
from warehouse.algorithms.input_folder import readable
from warehouse.algorithms.keeping import TOO_MANY
from warehouse.algorithms.logs import Tail, last_line
from warehouse.algorithms.measuring import Kills, Meter
from warehouse.algorithms.tasks import (
    CANCELLED_TEXT,
    FOLDER,
    TIME_LIMIT_TEXT,
    Done,
    Task,
)
from warehouse.catalog.connect import open_catalog
from warehouse.errors import AlgorithmError

if TYPE_CHECKING:
    from warehouse.algorithms.artifacts import Artifact
    from warehouse.catalog.connect import Catalog

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

HEALTH_SECONDS = 300
MAX_OUTPUT_BYTES = 20 << 30
MAX_OUTPUT_FILES = 100_000
MIN_FREE_BYTES = 1 << 30
"""Of the disk with the folders of jobs: with less, what runs is stopped before others suffer."""

CHECKED_EVERY = 1.0

_loading = threading.Lock()
_loaded: dict[tuple[Path, str, str], Loaded] = {}
stopped: set[str] = set()
"""Jobs that were cancelled while they run."""
all_stopped = threading.Event()


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that an engine has, and the weights it is given, or the truth that it knows."""

    engine: Any
    image: ImageArchive
    model: Path | None = None
    ground_truth: Path | None = None

    def mounts(self, inputs: Path, outputs: Path) -> Mounts:
        """Return the folders of a container."""
        return Mounts(inputs, outputs, self.model, self.ground_truth)


@dataclass(slots=True)
class Running:
    """A container while it runs."""

    process: subprocess.Popen[bytes]
    """Who keeps it, see ``keeping``."""
    command: Command
    engine: Any
    tails: tuple[Tail, Tail]
    line: socket.socket
    """To who keeps it: closed, it is ended."""
    meter: Meter
    readers: list[threading.Thread] = field(default_factory=list)
    inner_pid: int | None = None

    def end(self) -> None:
        """End it, whatever it does."""
        grace = 0.0 if all_stopped.is_set() else GRACE  # who stopped it does not wait
        if self.process.poll() is None:
            self.engine.stop(self.command.name, grace)
            with contextlib.suppress(OSError):
                self.line.sendall(str(grace).encode())
                self.line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace + 60)
            ended(self.process, 0.1)
        self.line.close()
        self.meter.close()
        for reader in self.readers:
            reader.join(5)

    def told(self) -> str | None:
        """Return why who keeps it has ended it, if it has."""
        with contextlib.suppress(OSError):
            if self.line.recv(64, socket.MSG_DONTWAIT) == TOO_MANY:
                return f"The algorithm started more than {self.command.processes} processes"
        return None


def ended(process: subprocess.Popen[bytes], grace: float) -> None:
    """End a process and what it started: SIGTERM, then SIGKILL."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def stop_jobs(job_ids: set[str]) -> None:
    """Stop jobs that run in this process."""
    stopped.update(job_ids)


def stop_all() -> None:
    """Stop every job of this process; those that begin next end at once."""
    all_stopped.set()


def owner_of(root: Path) -> str:
    """Return what containers of a warehouse are labeled with."""
    return uuid.uuid5(uuid.NAMESPACE_URL, str(root.resolve())).hex


def engine_of(root: Path, name: str) -> Any:
    """Return an engine by its name."""
    return Bubblewrap(root / FOLDER / "images") if name == "bwrap" else Engine(name)


def load(task: Task, runner: str) -> Loaded:
    """Give the engine the image of a task, and unpack its model, once in this process."""
    assert task.spec.image_id is not None
    key = (task.root, runner, f"{task.spec.image_id}/{task.spec.model_id}")
    with _loading:
        if key not in _loaded:
            artifact = find_artifact(task.root, task.spec.image_id)
            archive, image = archive_of(task.root, artifact), image_of(task.root, artifact)
            engine = engine_of(task.root, runner)
            engine.load(archive, image)
            given = find_artifact(task.root, task.spec.model_id) if task.spec.model_id else None
            places: dict[str, Path] = {}
            if given is not None:
                places[given.kind.replace(" ", "_")] = _unpacked(task, given)
            _loaded[key] = Loaded(engine, image, **places)
        return _loaded[key]


def _unpacked(task: Task, artifact: Artifact) -> Path:
    """Unpack the weights or the ground truth of a task, unless they are."""
    target = task.root / FOLDER / "models" / str(artifact.sha256)
    if target.is_dir():
        return target
    draft = target.with_name(f".{uuid.uuid4().hex}")
    try:
        with tarfile.open(archive_of(task.root, artifact), "r|gz", tarinfo=Member) as tar:
            unpack(tar, draft)
        readable(draft)
        draft.rename(target)
    except (tarfile.TarError, OSError, EOFError) as error:
        if not target.is_dir():
            raise AlgorithmError(
                f"the {artifact.kind} cannot be unpacked: {type(error).__name__}"
            ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


_catalogs: dict[tuple[Path, int], Catalog] = {}


def catalog_of(task: Task) -> Catalog:
    """Return the version of the warehouse that a task reads."""
    with _loading:
        key = (task.root, task.version)
        if key not in _catalogs:
            _catalogs.clear()
            _catalogs[key] = open_catalog(task.root, task.version)
        return _catalogs[key]


def start(task: Task, loaded: Loaded, mounts: Mounts) -> Running:
    """Start a container, and read what it prints."""
    engine = loaded.engine
    command = engine.command(
        loaded.image, mounts, memory_gb=task.spec.requires_memory_gb,
        gpu=task.spec.requires_gpu_type, owner=owner_of(task.root),
    )  # fmt: skip
    words, reader = command.words, -1
    passed: tuple[int, ...] = ()
    if command.tells_pid:
        reader, writer = os.pipe()
        passed = (writer,)
        words = [str(writer) if word == INFO_FD else word for word in words]
    how = {
        "told": passed, "processes": command.processes, "clean": command.clean,
        # What starts a container of an engine outlives it, to clean up.
        "adopts": command.tells_pid,
    }  # fmt: skip
    keeping = str(Path(__file__).with_name("keeping.py"))
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell
            [sys.executable, "-I", "-S", keeping, json.dumps(how), *words], stdin=theirs.fileno(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, pass_fds=passed,
        )  # fmt: skip
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for each in passed:
            os.close(each)
    made = Running(process, command, engine, (Tail(), Tail()), ours, Meter(command.id_file))
    for stream, tail in zip((process.stdout, process.stderr), made.tails, strict=True):
        thread = threading.Thread(target=_drain, args=(stream, tail), daemon=True)
        thread.start()
        made.readers.append(thread)
    if command.tells_pid:
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read(4096)
        digits = text.partition(b'"child-pid":')[2].split(b"\n")[0].strip(b" ,}")
        made.inner_pid = int(digits) if digits.isdigit() else None
    return made


def _drain(stream: Any, tail: Tail) -> None:
    with stream:
        for block in iter(lambda: stream.read1(1 << 16), b""):
            tail.feed(block)


def watch(task: Task, run: Running, done: Done) -> str | None:
    """Wait until a container ends; return why it has to be stopped, if it has to."""
    began = looked = time.monotonic()
    done.metrics = run.meter.rows
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(0.05)
            return run.told()
        run.meter.look_for_kills()
        clock = time.monotonic()
        why = must_stop(task, clock - began)
        if why is None and clock - looked >= CHECKED_EVERY:
            looked = clock
            why = exceeded_limit(task.folder / "output")
            run.meter.look(clock - began)
        if why is not None:
            return why


def must_stop(task: Task, seconds: float) -> str | None:
    """Return why a task that runs for so long has to be stopped; None if it does not."""
    if all_stopped.is_set():
        return "interrupted"
    if task.spec.job_id in stopped:
        return CANCELLED_TEXT
    return TIME_LIMIT_TEXT if seconds >= task.seconds else None


def exceeded_limit(folder: Path) -> str | None:
    """Return what is wrong if outputs are beyond all bounds, so that they do not fill the disk."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
            return f"Less than {MIN_FREE_BYTES >> 20} MiB are free on the disk of the warehouse"
    total = count = 0
    for _, _, names, descriptor in os.fwalk(folder, follow_symlinks=False, onerror=None):
        for name in names:
            count += 1
            with contextlib.suppress(OSError):
                total += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * 512
        if count > MAX_OUTPUT_FILES or total > MAX_OUTPUT_BYTES:
            return "The algorithm wrote more outputs than may be"
    return None


def judge(done: Done, code: int, why: str | None, kills: Kills) -> None:
    """Say how a container ended."""
    if why == "interrupted":
        done.what = "interrupted"
    elif why == CANCELLED_TEXT:
        done.what, done.error = "stopped", why
    elif why is not None:
        done.error = why
    elif code == 0:
        done.what, done.exit_code = "executed", 0
    else:
        done.exit_code = code if code >= 0 else 128 - code
        if done.exit_code in {125, 126, 127} and done.runner != "bwrap":
            done.error = f"the image cannot be started: {last_line(done.stderr)[:300]}"
            return
        done.error = kills.said(done.exit_code) or (
            f"the algorithm ended with exit code {done.exit_code}"
            + ("; its log says more" if last_line(done.stderr) else "")
        )
