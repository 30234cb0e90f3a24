"""The invoke contract: a container that is asked about one case after another.

In: a ``Task``. Out: ``Done``; outputs are copied away from the process, which lives on. The model
is loaded once for many cases. A thread has one session, whose two folders are filled and emptied.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
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
    MAX_OUTPUT_FILES,
    Loaded,
    catalog_of,
    ended,
    exceeded_limit,
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
    """A container of the invoke contract that is asked about one case after another."""

    def __init__(self, task: Task, loaded: Loaded) -> None:
        self.folder = task.root / FOLDER / f"session-{uuid.uuid4().hex}"
        self.input, self.output = self.folder / "input", self.folder / "output"
        for each in (self.input, self.output):
            each.mkdir(parents=True)
        self.output.chmod(0o777)
        self.input.chmod(0o755)
        self._client: subprocess.Popen[str] | None = None
        self.run = start(task, loaded, loaded.mounts(self.input, self.output))
        self.cases = 0

    def join(self) -> str:
        """Start the program that asks, and wait until the image is ready; return what it said."""
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
        """Ask, and return the status or why there is none."""
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
        """End the container, and what asks it."""
        if self._client is not None:
            ended(self._client, 0.1)  # type: ignore[arg-type]
            for stream in (self._client.stdin, self._client.stdout):
                with contextlib.suppress(OSError):
                    if stream:
                        stream.close()
        self.run.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self.run.process.poll() is None


_own = threading.local()
_sessions: set[Session] = set()


def close_sessions() -> None:
    """End every session of this process."""
    while _sessions:
        _sessions.pop().close()


atexit.register(close_sessions)


def _session(task: Task, loaded: Loaded) -> Session:
    """Return the session of this thread for the image and model of a task."""
    key = (task.root, loaded.image.sha256, loaded.model, loaded.ground_truth)
    found: Session | None = getattr(_own, "session", None)
    if found is not None and found in _sessions and _own.key == key and found.is_alive:
        return found
    if found is not None and found in _sessions:
        _sessions.discard(found)
        found.close()
    made = Session(task, loaded)
    _sessions.add(made)
    message = made.join()
    if message:
        logs = last_line(made.run.tails[1].text())
        _sessions.discard(made)
        made.close()
        raise AlgorithmError(f"{message}: {logs[:300]}" if logs else message)
    _own.session, _own.key = made, key
    return made


def invoke(task: Task, done: Done, loaded: Loaded) -> None:
    """Ask the session of this thread about a task."""
    began = time.perf_counter()
    session = _session(task, loaded)
    if not (_emptied(session.input) and _emptied(session.output)):
        # What a case has left would be taken for what the next one found.
        _sessions.discard(session)
        session.close()
        session = _session(task, loaded)
    session.run.tails = _fresh(session)
    write_inputs(task, catalog_of(task), session.input)
    done.provisioned_at = now()
    done.started_at = now()
    asked = time.perf_counter()
    session.run.meter.begin()
    answers: list[str] = []
    asker = threading.Thread(
        target=lambda: answers.append(session.ask("invoke", task.seconds + 60)), daemon=True
    )
    asker.start()
    why, looked = None, asked
    while asker.is_alive() and why is None:
        asker.join(0.02)
        session.run.meter.look_for_kills()
        clock = time.perf_counter()
        why = must_stop(task, clock - asked)
        if why is None and clock - looked >= CHECKED_EVERY:
            looked = clock
            why = exceeded_limit(session.output)
            session.run.meter.look(clock - asked)
    done.metrics = session.run.meter.rows
    done.invoke_seconds = time.perf_counter() - asked
    status = answers[0] if answers else ""
    if why is None and status == "201":
        done.what, done.exit_code = "executed", 0
        _copied_out(session.output, task.folder / "output")
    session.cases += 1
    done.exec_seconds = time.perf_counter() - began
    if done.what != "executed":
        why = why or session.run.told()
        if why is not None or not status.isdecimal():
            _sessions.discard(session)
            session.close()
        done.stdout, done.stderr = (tail.text() for tail in session.run.tails)
        if why is not None:
            judge(done, 0, why, session.run.meter.kills())
        elif status.isdecimal():
            done.error = f"the algorithm answered with HTTP status {status}"
        else:
            done.error = session.run.meter.kills().said(137) or (
                "the algorithm did not answer: its process ended"
            )
        return
    done.stdout, done.stderr = (tail.text() for tail in session.run.tails)


def _fresh(session: Session) -> tuple[Tail, Tail]:
    """Let the logs of a session begin anew."""
    for tail in session.run.tails:
        tail.clear()
    return session.run.tails


def _emptied(folder: Path) -> bool:
    """Empty a folder; say whether it is: with rootless podman, files may be another user's."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            clear_folder(each)
        else:
            with contextlib.suppress(OSError):
                each.unlink()
    return not any(folder.iterdir())


def _copy(file: IO[bytes], copy: IO[bytes], size: int) -> None:
    """Copy so many bytes: the process that writes the file may go on."""
    if size > MAX_BYTES:
        copy.truncate(size)  # it is refused, so none of it is read
        return
    while size and (block := file.read(min(size, 1 << 20))):
        copy.write(block)
        size -= len(block)


def _copied_out(source: Path, target: Path) -> None:
    """Copy outputs away from a process that still runs: links as links, plain files as they are.

    Raises
    ------
    AlgorithmError
        There are more than may be.
    """
    total = count = 0
    for below, folders, names, descriptor in os.fwalk(source, follow_symlinks=False):
        place = target / Path(below).relative_to(source)
        for name in [*folders, *names]:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            count, total = count + 1, total + found.st_size
            if count > MAX_OUTPUT_FILES or total > MAX_OUTPUT_BYTES:
                raise AlgorithmError("The outputs exceed the limit of files or bytes")
            kind = found.st_mode & 0o170000
            if kind == 0o040000:
                (place / name).mkdir()
            elif kind == 0o120000:
                (place / name).symlink_to(os.readlink(name, dir_fd=descriptor))
            elif kind == 0o100000:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                opened = os.open(name, flags, dir_fd=descriptor)
                with os.fdopen(opened, "rb") as file, (place / name).open("wb") as copy:
                    _copy(file, copy, found.st_size)
