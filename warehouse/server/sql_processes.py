"""Run SQL of users in separate processes, which protects the memory of the server.

In: a question that has passed the guard. Out: the body of its answer. DuckDB's own bound does not
count the bytes of one value, and no interrupt ends the function that makes it, so that
``repeat('x', 3000000000)`` took 12 GB and more time than allowed. A process has bounds that hold.
"""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from warehouse.errors import QueryFailed, UsageError
from warehouse.server.errors import TookTooLong
from warehouse.server.sql_worker import BEGUN, BODY, FAILED, NO_MEMORY, TOO_LARGE
from warehouse.store.duck import spill_folder

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 2
"""Processes that wait for the next question."""
_START_SECONDS = 120.0
_START = (
    "import sys; sys.path[:] = {path!r}; "
    "from warehouse.server.sql_worker import main; main({descriptor}, {memory})"
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a query of a user."""

    seconds: float
    rows: int
    answer_bytes: int
    memory_bytes: int


class _Process:
    """One process, which runs one query at a time."""

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        here, there = socket.socketpair()
        start = _START.format(path=sys.path, descriptor=there.fileno(), memory=memory_bytes)
        with there:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", start], pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._connection = Connection(here.detach())

    def ask(self, question: dict[str, Any], seconds: float) -> bytes:
        """Return the answer.

        Raises
        ------
        TookTooLong
        EOFError, OSError
            The process has ended.
        """
        self._connection.send_bytes(json.dumps(question).encode())
        if self._received(_START_SECONDS, seconds) != BEGUN:
            raise EOFError
        return self._received(seconds, seconds)

    def _received(self, patience: float, seconds: float) -> bytes:
        if not self._connection.poll(patience):
            raise TookTooLong(seconds)
        return self._connection.recv_bytes()

    def end(self) -> None:
        """Kill the process, and delete its spilled files."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        shutil.rmtree(spill_folder(self._process.pid), ignore_errors=True)


class _Processes:
    """Those that wait."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._guard = threading.Lock()

    def take(self, memory_bytes: int) -> _Process:
        """Return one that waits, else a new one."""
        with self._guard:
            for one in self._idle:
                if one.memory_bytes == memory_bytes:
                    self._idle.remove(one)
                    return one
        return _Process(memory_bytes)

    def put(self, process: _Process) -> None:
        """Let one wait for the next question."""
        with self._guard:
            self._idle.append(process)
            spare = self._idle.pop(0) if len(self._idle) > _KEPT else None
        if spare is not None:
            spare.end()

    def end(self) -> None:
        """End all that wait."""
        while self._idle:
            self._idle.pop().end()


_PROCESSES = _Processes()
atexit.register(_PROCESSES.end)


def answered(
    root: Path, version: int, sql: str, parameters: dict[str, Any], bounds: Bounds, *,
    is_json: bool,
) -> bytes:  # fmt: skip
    """Return the body of an answer, as JSON or as a stream of Arrow.

    Raises
    ------
    TookTooLong
    QueryFailed
        DuckDB refuses the question, or it needs more memory than it may have.
    UsageError
        The answer has more rows or bytes than it may have.
    """
    question = {
        "root": str(root), "version": version, "sql": sql, "parameters": parameters,
        "rows": bounds.rows, "bytes": bounds.answer_bytes, "seconds": bounds.seconds,
        "is_json": is_json,
    }  # fmt: skip
    process = _PROCESSES.take(bounds.memory_bytes)
    try:
        answer = process.ask(question, bounds.seconds)
    except (EOFError, OSError):
        process.end()
        raise _no_memory(bounds) from None
    except BaseException:
        process.end()
        raise
    kind, rest = answer[:1], answer[1:]
    if kind == NO_MEMORY:
        process.end()
        raise _no_memory(bounds)
    _PROCESSES.put(process)
    if kind == BODY:
        return rest
    if kind == FAILED:
        raise QueryFailed(rest.decode())
    assert kind == TOO_LARGE
    raise UsageError(f"the answer has {rest.decode()}")


def _no_memory(bounds: Bounds) -> QueryFailed:
    return QueryFailed(
        f"the question needs more than {bounds.memory_bytes >> 20} MiB of memory, or broke the "
        "process that answers it: ask for less at a time"
    )
