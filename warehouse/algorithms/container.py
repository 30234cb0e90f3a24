"""Start, watch and stop one container.

In: a ``Task`` and the folders of a container. Out: its output and exit status. The time limit is
enforced here, with SIGTERM and then SIGKILL. The container is started by the supervisor program
``keeping``, which ends it when this process is killed.
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
"""Number of files and folders."""

MAX_OUTPUT_DEPTH = 100
MIN_FREE_BYTES = 1 << 30
"""Jobs are stopped when the disk with their folders has less free space than this."""

CHECKED_EVERY = 1.0
"""Seconds between checks of output size and resource usage."""

_loading = threading.Lock()
_loaded: dict[tuple[Path, str, str], Loaded] = {}
stopped: set[str] = set()
"""Ids of running jobs to stop, because they were cancelled."""
all_stopped = threading.Event()
"""Set when all jobs of this process are to stop."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that an engine has loaded, and the folder of its model or ground truth."""

    engine: Any
    image: ImageArchive
    model: Path | None = None
    ground_truth: Path | None = None

    def mounts(self, inputs: Path, outputs: Path) -> Mounts:
        """Return the folders to mount into a container."""
        return Mounts(inputs, outputs, self.model, self.ground_truth)


@dataclass(slots=True)
class Running:
    """A running container and its supervisor process."""

    process: subprocess.Popen[bytes]
    """The supervisor, see ``keeping``."""
    command: Command
    engine: Any
    tails: tuple[Tail, Tail]
    line: socket.socket
    """Socket to the supervisor, which ends the container when this end is closed."""
    meter: Meter
    readers: list[threading.Thread] = field(default_factory=list)
    inner_pid: int | None = None

    def end(self) -> None:
        """End the container: SIGTERM, and SIGKILL after ``GRACE`` (0 if all are stopped)."""
        grace = 0.0 if all_stopped.is_set() else GRACE  # no grace period on interrupt
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

    def supervisor_reason(self) -> str | None:
        """Return why the supervisor ended the container, or None if it did not."""
        with contextlib.suppress(OSError):
            if self.line.recv(64, socket.MSG_DONTWAIT) == TOO_MANY:
                return f"The algorithm started more than {self.command.processes} processes"
        return None


def ended(process: subprocess.Popen[bytes], grace: float) -> None:
    """End the process group of a process: SIGTERM, and SIGKILL after ``grace`` seconds."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def stop_jobs(job_ids: set[str]) -> None:
    """Stop these jobs if they run in this process."""
    stopped.update(job_ids)


def stop_all() -> None:
    """Stop every job of this process; jobs started afterwards stop immediately."""
    all_stopped.set()


def owner_of(root: Path) -> str:
    """Return the value of the label of all containers of a warehouse."""
    return uuid.uuid5(uuid.NAMESPACE_URL, str(root.resolve())).hex


def engine_of(root: Path, name: str) -> Any:
    """Return the engine called ``podman``, ``docker`` or ``bwrap``."""
    return Bubblewrap(root / FOLDER / "images") if name == "bwrap" else Engine(name)


def load(task: Task, runner: str) -> Loaded:
    """Load the image of a task into the engine and unpack its model, once per process."""
    assert task.spec.image_id is not None
    key = (task.root, runner, f"{task.spec.image_id}/{task.spec.model_id}")
    with _loading:
        if key not in _loaded:
            artifact = find_artifact(task.root, task.spec.image_id)
            archive, image = archive_of(task.root, artifact), image_of(task.root, artifact)
            engine = engine_of(task.root, runner)
            engine.load(archive, image)
            mounted = find_artifact(task.root, task.spec.model_id) if task.spec.model_id else None
            folders: dict[str, Path] = {}
            if mounted is not None:
                folders[mounted.kind.replace(" ", "_")] = _unpacked_folder(task, mounted)
            _loaded[key] = Loaded(engine, image, **folders)
        return _loaded[key]


def _unpacked_folder(task: Task, artifact: Artifact) -> Path:
    """Unpack the model or ground truth of a task, unless it is; return its folder."""
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
    """Return a catalog of the warehouse version that a task reads; the last one is cached."""
    with _loading:
        key = (task.root, task.version)
        if key not in _catalogs:
            _catalogs.clear()
            _catalogs[key] = open_catalog(task.root, task.version)
        return _catalogs[key]


def start(task: Task, loaded: Loaded, mounts: Mounts) -> Running:
    """Start a container, and read its stdout and stderr in threads."""
    engine = loaded.engine
    command = engine.command(
        loaded.image, mounts, memory_gb=task.spec.requires_memory_gb,
        gpu=task.spec.requires_gpu_type, owner=owner_of(task.root),
    )  # fmt: skip
    words, reader = command.words, -1
    inherited: tuple[int, ...] = ()
    if command.tells_pid:
        reader, writer = os.pipe()
        inherited = (writer,)
        words = [str(writer) if word == INFO_FD else word for word in words]
    options = {
        "told": inherited, "processes": command.processes, "clean": command.clean,
        # podman and docker leave a process that cleans up after the container: not to be killed.
        "adopts": command.tells_pid,
    }  # fmt: skip
    supervisor = str(Path(__file__).with_name("keeping.py"))
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell
            [sys.executable, "-I", "-S", supervisor, json.dumps(options), *words],
            stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, pass_fds=inherited,
            cwd=task.folder,  # conmon writes a file `oom` there when memory runs out
        )  # fmt: skip
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for descriptor in inherited:
            os.close(descriptor)
    run = Running(process, command, engine, (Tail(), Tail()), ours, Meter(command.id_file))
    for stream, tail in zip((process.stdout, process.stderr), run.tails, strict=True):
        thread = threading.Thread(target=_feed_tail, args=(stream, tail), daemon=True)
        thread.start()
        run.readers.append(thread)
    if command.tells_pid:
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read(4096)
        digits = text.partition(b'"child-pid":')[2].split(b"\n")[0].strip(b" ,}")
        run.inner_pid = int(digits) if digits.isdigit() else None
    return run


def _feed_tail(stream: Any, tail: Tail) -> None:
    """Copy a stream to a log until it ends."""
    with stream:
        for block in iter(lambda: stream.read1(1 << 16), b""):
            tail.feed(block)


def watch(task: Task, run: Running, done: Done) -> str | None:
    """Wait until a container ends or must be stopped; return why it was or must be, or None."""
    began = last_check = time.monotonic()
    done.metrics = run.meter.rows
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(0.05)
            return run.supervisor_reason()
        run.meter.look_for_kills()
        clock = time.monotonic()
        reason = must_stop(task, clock - began)
        if reason is None and clock - last_check >= CHECKED_EVERY:
            last_check = clock
            reason = exceeded_limit(task.folder / "output")
            run.meter.look(clock - began)
        if reason is not None:
            return reason


def must_stop(task: Task, seconds: float) -> str | None:
    """Return why a task must be stopped after this running time; None to continue."""
    if all_stopped.is_set():
        return "interrupted"
    if task.spec.job_id in stopped:
        return CANCELLED_TEXT
    return TIME_LIMIT_TEXT if seconds >= task.seconds else None


def exceeded_limit(folder: Path) -> str | None:
    """Return an error if the outputs are too large or the disk is nearly full; else None."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
            return f"Less than {MIN_FREE_BYTES >> 20} MiB are free on the disk of the warehouse"
    total = count = 0
    for parent, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False, onerror=None):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * 512
        count += len(folders) + len(names)
        if is_too_deep(folder, parent):
            return f"The outputs have more than {MAX_OUTPUT_DEPTH} levels of folders"
        if count > MAX_OUTPUT_FILES or total > MAX_OUTPUT_BYTES:
            return "The outputs exceed the limit of files or bytes"
    return None


def is_too_deep(folder: Path, parent: str) -> bool:
    """Return whether a folder of outputs is on a level that is not walked: walks are recursive."""
    return len(Path(parent).relative_to(folder).parts) > MAX_OUTPUT_DEPTH


def judge(done: Done, code: int, why: str | None, kills: Kills) -> None:
    """Set the result of a task from the exit code of its container or why it was stopped."""
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
        done.error = kills.message(done.exit_code) or (
            f"the algorithm ended with exit code {done.exit_code}"
            + ("; see the log of the job" if last_line(done.stderr) else "")
        )
