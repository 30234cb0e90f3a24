"""Run SQL of users in separate processes, which protects the memory of the server.

In: a query that has passed the guard. Out: the body of the response. DuckDB's memory limit does not
count the bytes of a single value, and the function that creates it cannot be interrupted:
``repeat('x', 3000000000)`` took 12 GB and exceeded the time limit. The limits of a process hold.
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

_MAX_IDLE = 2
"""Number of idle processes that are kept."""
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
        parent_end, child_end = socket.socketpair()
        program = _START.format(path=sys.path, descriptor=child_end.fileno(), memory=memory_bytes)
        with child_end:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", program], pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._connection = Connection(parent_end.detach())

    def ask(self, query: dict[str, Any], seconds: float) -> bytes:
        """Run a query; return the message with its result.

        Raises
        ------
        TookTooLong
        EOFError, OSError
            The process has ended.
        """
        self._connection.send_bytes(json.dumps(query).encode())
        if self._receive(_START_SECONDS, seconds) != BEGUN:
            raise EOFError
        return self._receive(seconds, seconds)

    def _receive(self, timeout: float, seconds: float) -> bytes:
        if not self._connection.poll(timeout):
            raise TookTooLong(seconds)
        return self._connection.recv_bytes()

    def end(self) -> None:
        """Kill the process, and delete its spilled files."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        shutil.rmtree(spill_folder(self._process.pid), ignore_errors=True)


class _Processes:
    """Idle processes."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._guard = threading.Lock()

    def take(self, memory_bytes: int) -> _Process:
        """Return an idle process with this memory limit, or a new one."""
        with self._guard:
            for process in self._idle:
                if process.memory_bytes == memory_bytes:
                    self._idle.remove(process)
                    return process
        return _Process(memory_bytes)

    def put(self, process: _Process) -> None:
        """Keep a process for later queries, and end the oldest one beyond the limit."""
        with self._guard:
            self._idle.append(process)
            spare = self._idle.pop(0) if len(self._idle) > _MAX_IDLE else None
        if spare is not None:
            spare.end()

    def end(self) -> None:
        """End all idle processes."""
        while self._idle:
            self._idle.pop().end()


_PROCESSES = _Processes()
atexit.register(_PROCESSES.end)


def answered(
    root: Path, version: int, sql: str, parameters: dict[str, Any], bounds: Bounds, *,
    is_json: bool,
) -> bytes:  # fmt: skip
    """Run a query; return the body of the response, as JSON or an Arrow stream.

    Raises
    ------
    TookTooLong
    QueryFailed
        The query fails in DuckDB, or exceeds the memory limit.
    UsageError
        The result has more rows or bytes than the limits allow.
    """
    query = {
        "root": str(root), "version": version, "sql": sql, "parameters": parameters,
        "rows": bounds.rows, "bytes": bounds.answer_bytes, "seconds": bounds.seconds,
        "is_json": is_json,
    }  # fmt: skip
    process = _PROCESSES.take(bounds.memory_bytes)
    try:
        message = process.ask(query, bounds.seconds)
    except (EOFError, OSError):
        process.end()
        raise _no_memory(bounds) from None
    except BaseException:
        process.end()
        raise
    kind, content = message[:1], message[1:]
    if kind == NO_MEMORY:
        process.end()
        raise _no_memory(bounds)
    _PROCESSES.put(process)
    if kind == BODY:
        return content
    if kind == FAILED:
        raise QueryFailed(content.decode())
    assert kind == TOO_LARGE
    raise UsageError(f"the result has {content.decode()}")


def _no_memory(bounds: Bounds) -> QueryFailed:
    return QueryFailed(
        f"the query needs more than {bounds.memory_bytes >> 20} MiB of memory, or broke the "
        "process that runs it: request less at a time"
    )
