"""The invoke contract: one container serves requests for many cases.

In: a ``Task``. Out: ``Done``; outputs are copied out of the folder of the running container. The
model is loaded once for many cases. Each thread has one session, whose input and output folders are
emptied between cases.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import IO

from warehouse.algorithms.container import (
    CHECKED_EVERY,
    HEALTH_SECONDS,
    MAX_OUTPUT_BYTES,
    MAX_OUTPUT_DEPTH,
    MAX_OUTPUT_FILES,
    Loaded,
    catalog_of,
    ended,
    exceeded_limit,
    is_too_deep,
    judge,
    must_stop,
    start,
)
from warehouse.algorithms.input_folder import write_inputs
from warehouse.algorithms.logs import Tail, last_line
from warehouse.algorithms.output_folder import MAX_BYTES
from warehouse.algorithms.scratch import clear_folder
from warehouse.algorithms.tasks import FOLDER, Done, Task
from warehouse.components.checking import now
from warehouse.errors import AlgorithmError


class Session:
    """A running container of the invoke contract, with its folders and HTTP client."""

    def __init__(self, task: Task, loaded: Loaded) -> None:
        self.folder = task.root / FOLDER / f"session-{uuid.uuid4().hex}"
        self.input, self.output = self.folder / "input", self.folder / "output"
        for path in (self.input, self.output):
            path.mkdir(parents=True)
        self.output.chmod(0o777)
        self.input.chmod(0o755)
        self._client: subprocess.Popen[str] | None = None
        self.run = start(task, loaded, loaded.mounts(self.input, self.output))
        self.cases = 0

    def join(self) -> str:
        """Start the client in the container's network; return why it is not ready, or ''."""
        pid = self.run.inner_pid
        for _ in range(200):
            pid = pid or self.run.engine.pid(self.run.command.name)
            if pid or self.run.process.poll() is not None:
                break
            time.sleep(0.05)
        if pid is None:
            return "the image cannot be started"
        words = ["nsenter", "--target", str(pid), "--net"]
        if os.geteuid() != 0:
            words += ["--user", "--preserve-credentials"]
        program = str(Path(__file__).with_name("invoking.py"))
        self._client = subprocess.Popen(  # noqa: S603 - no shell
            [*words, sys.executable, "-I", program], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        status = self.ask("health", HEALTH_SECONDS)
        return (
            ""
            if status == "200"
            else f"the image is not ready: its health is {status or 'unknown'}"
        )

    def ask(self, word: str, seconds: float) -> str:
        """Send a command to the client; return the HTTP status, ``timeout`` or ``refused``."""
        client = self._client
        assert client is not None
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            client.stdin.write(f"{word} {seconds}\n")
            client.stdin.flush()
            return client.stdout.readline().strip()
        except OSError:
            return "refused"

    def close(self) -> None:
        """End the container and its client, and remove its folders."""
        if self._client is not None:
            ended(self._client, 0.1)  # type: ignore[arg-type]
            for stream in (self._client.stdin, self._client.stdout):
                with contextlib.suppress(OSError):
                    if stream:
                        stream.close()
        self.run.end()
        clear_folder(self.folder)

    @property
    def is_alive(self) -> bool:
        """Whether its container is running."""
        return self.run.process.poll() is None


_thread_local = threading.local()
_sessions: set[Session] = set()


def close_sessions() -> None:
    """End every session of this process."""
    while _sessions:
        _sessions.pop().close()


atexit.register(close_sessions)


def _session_for(task: Task, loaded: Loaded) -> Session:
    """Return the session of this thread for the image and model of a task; start it if needed.

    Raises
    ------
    AlgorithmError
        The image cannot be started, or is not ready in time.
    """
    key = (task.root, loaded.image.sha256, loaded.model, loaded.ground_truth)
    previous: Session | None = getattr(_thread_local, "session", None)
    if (
        previous is not None
        and previous in _sessions
        and _thread_local.key == key
        and previous.is_alive
    ):
        return previous
    if previous is not None and previous in _sessions:
        _sessions.discard(previous)
        previous.close()
    session = Session(task, loaded)
    _sessions.add(session)
    error = session.join()
    if error:
        log_line = last_line(session.run.tails[1].text())
        _sessions.discard(session)
        session.close()
        raise AlgorithmError(f"{error}: {log_line[:300]}" if log_line else error)
    _thread_local.session, _thread_local.key = session, key
    return session


def invoke(task: Task, done: Done, loaded: Loaded) -> None:
    """Execute a task in the session of this thread."""
    began = time.perf_counter()
    session = _session_for(task, loaded)
    if not (_try_empty(session.input) and _try_empty(session.output)):
        # Files left by a case would be taken for outputs of the next one.
        _sessions.discard(session)
        session.close()
        session = _session_for(task, loaded)
    session.run.tails = _cleared_tails(session)
    write_inputs(task, catalog_of(task), session.input)
    done.provisioned_at = now()
    done.started_at = now()
    invoke_start = time.perf_counter()
    session.run.meter.begin()
    statuses: list[str] = []
    request = threading.Thread(
        target=lambda: statuses.append(session.ask("invoke", task.seconds + 60)), daemon=True
    )
    request.start()
    reason, last_check = None, invoke_start
    while request.is_alive() and reason is None:
        request.join(0.02)
        session.run.meter.look_for_kills()
        clock = time.perf_counter()
        reason = must_stop(task, clock - invoke_start)
        if reason is None and clock - last_check >= CHECKED_EVERY:
            last_check = clock
            reason = exceeded_limit(session.output)
            session.run.meter.look(clock - invoke_start)
    done.metrics = session.run.meter.rows
    done.invoke_seconds = time.perf_counter() - invoke_start
    status = statuses[0] if statuses else ""
    if reason is None and status == "201":
        done.what, done.exit_code = "executed", 0
        _copy_outputs(session.output, task.folder / "output")
    session.cases += 1
    done.exec_seconds = time.perf_counter() - began
    if done.what != "executed":
        reason = reason or session.run.supervisor_reason()
        if reason is not None or not status.isdecimal():
            _sessions.discard(session)
            session.close()
        done.stdout, done.stderr = (tail.text() for tail in session.run.tails)
        if reason is not None:
            judge(done, 0, reason, session.run.meter.kills())
        elif status.isdecimal():
            done.error = f"the algorithm answered with HTTP status {status}"
        else:
            done.error = session.run.meter.kills().message(137) or (
                "the algorithm did not answer: its process ended"
            )
        return
    done.stdout, done.stderr = (tail.text() for tail in session.run.tails)


def _cleared_tails(session: Session) -> tuple[Tail, Tail]:
    """Clear the logs of a session and return them."""
    for tail in session.run.tails:
        tail.clear()
    return session.run.tails


def _try_empty(folder: Path) -> bool:
    """Empty a folder; return whether it is empty.

    With rootless podman, files may belong to another user and cannot be removed.
    """
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            clear_folder(entry)
        else:
            with contextlib.suppress(OSError):
                entry.unlink()
    return not any(folder.iterdir())


def _copy_bytes(file: IO[bytes], copy: IO[bytes], size: int) -> None:
    """Copy at most ``size`` bytes, since a process may still write to the file."""
    if size > MAX_BYTES:
        copy.truncate(size)  # it will be refused, so its content is not needed
        return
    while size and (block := file.read(min(size, 1 << 20))):
        copy.write(block)
        size -= len(block)


def _copy_outputs(source: Path, target: Path) -> None:
    """Copy outputs of a running process: regular files, folders, and symbolic links as links.

    Raises
    ------
    AlgorithmError
        There are too many files, bytes or levels of folders.
    """
    total = count = 0
    for parent, folders, names, descriptor in os.fwalk(source, follow_symlinks=False):
        if is_too_deep(source, parent):
            raise AlgorithmError(f"The outputs have more than {MAX_OUTPUT_DEPTH} levels of folders")
        destination = target / Path(parent).relative_to(source)
        for name in [*folders, *names]:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            count, total = count + 1, total + info.st_size
            if count > MAX_OUTPUT_FILES or total > MAX_OUTPUT_BYTES:
                raise AlgorithmError("The outputs exceed the limit of files or bytes")
            kind = info.st_mode & 0o170000
            if kind == 0o040000:
                (destination / name).mkdir()
            elif kind == 0o120000:
                (destination / name).symlink_to(os.readlink(name, dir_fd=descriptor))
            elif kind == 0o100000:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                fd = os.open(name, flags, dir_fd=descriptor)
                with os.fdopen(fd, "rb") as file, (destination / name).open("wb") as copy:
                    _copy_bytes(file, copy, info.st_size)
