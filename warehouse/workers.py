"""A process pool whose workers are forked from a server that has imported the reading code.

In: calls. Out: futures; if a worker died, ``WorkerLost`` with its exit code or signal.

Neither the server nor a worker imports ``__main__``, so any script, ``python -c``, standard input
or notebook may start them. ``ProcessPoolExecutor`` imports it in its workers with every start
method. It also waits for running calls on an interrupt, does not report how a worker ended, and
leaves named semaphores behind when it is killed.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from warehouse.endings import how_it_ended, killed_for_memory
from warehouse.forking import IMPORTS_FAILED, NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Answer = TypeVar("_Answer")

ENDING_SECONDS = 5
"""Time that a server may take to exit after it has closed its end of the connection."""

_Call: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]"


class WorkerLost(BrokenExecutor):
    """The process that ran a call has ended; the message says how."""


class ServerFailed(WorkerLost):
    """The fork server cannot be started, so no call can run."""


class WorkerPool(Executor):
    """An executor that runs calls in worker processes, which start when they are needed.

    If a worker dies, the call that it ran raises ``WorkerLost``; the next call gets a new worker.
    When an exception leaves the ``with`` block, the workers are killed without waiting.

    Parameters
    ----------
    workers
        Largest number of processes.
    begin
        Called in each new process before anything else.

    Examples
    --------
    >>> with WorkerPool(2) as pool:
    ...     pool.submit(divmod, 7, 2).result()
    (3, 1)
    """

    def __init__(self, workers: int, begin: Callable[[], object] | None = None) -> None:
        self._begin = begin
        # Each thread has one worker and waits for its answers.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="dicom-warehouse")
        # Runs what only waits for workers, in the order in which it is submitted.
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="dicom-warehouse-waiter")
        self._own = threading.local()
        self._first: deque[tuple[Future[Any], _Call]] = deque()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._is_killed = False
        self._killed_before = killed_for_memory()

    def submit(
        self, call: Callable[..., _Answer], /, *arguments: Any, **options: Any
    ) -> Future[_Answer]:
        """Run a call in the next free worker; function, arguments and result must be picklable."""
        return self._threads.submit(self._run, call, arguments, options)

    def submit_first(
        self, call: Callable[..., _Answer], /, *arguments: Any, **options: Any
    ) -> Future[_Answer]:
        """Run a call before all waiting ones, because the caller is blocked until it is done."""
        future: Future[_Answer] = Future()
        waiting = (future, (call, arguments, options))
        self._first.append(waiting)

        def drop(_: Future[_Answer]) -> None:
            # Otherwise its arguments would be kept until a worker is free.
            if future.cancelled():
                with suppress(ValueError):
                    self._first.remove(waiting)

        future.add_done_callback(drop)
        # The next free worker runs it, before the call that it would run otherwise.
        self._threads.submit(self._run_first)
        return future

    def submit_waiting(
        self, call: Callable[..., _Answer], /, *arguments: Any, **options: Any
    ) -> Future[_Answer]:
        """Run a call in a thread of this process that waits for workers, one call at a time."""
        return self._waiter.submit(call, *arguments, **options)

    def _run_first(self) -> None:
        """Run the calls of ``submit_first`` that no other thread has taken."""
        while True:
            try:
                future, (call, arguments, options) = self._first.popleft()
            except IndexError:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._answer(call, arguments, options))
            except BaseException as error:  # noqa: BLE001 - raised by future.result()
                future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers after the submitted calls have run."""
        # First, because its calls submit calls to the others.
        self._waiter.shutdown(wait=wait, cancel_futures=cancel_futures)
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            self._end_workers()

    def kill(self) -> None:
        """Kill the workers; the calls that they run raise ``WorkerLost``."""
        with self._lock:
            self._is_killed = True
        self._waiter.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        with suppress(IndexError):
            while True:
                self._first.popleft()[0].cancel()
        # Unblock a thread that waits for a server that is still importing.
        end_unready_server()
        self._end_workers()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.kill()

    @property
    def have_started(self) -> bool:
        """Whether a worker runs; the first ones start after the fork server has imported."""
        return bool(self._workers)

    @property
    def is_killed(self) -> bool:
        """Whether ``kill`` was called."""
        return self._is_killed

    def _end_workers(self) -> None:
        with self._lock:
            workers = list(self._workers)
            self._workers.clear()
        # Kill all before waiting: each process takes some milliseconds to release its memory.
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.end()

    def _run(
        self, call: Callable[..., _Answer], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> _Answer:
        """Run the calls of ``submit_first``, then this one, in the worker of this thread."""
        self._run_first()
        return self._answer(call, arguments, options)

    def _answer(
        self, call: Callable[..., _Answer], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> _Answer:
        """Run a call in the worker of this thread."""
        request = pickle.dumps((call, arguments, options), pickle.HIGHEST_PROTOCOL)
        requests = [request]
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = self._started()
            if self._begin is not None:
                begin = pickle.dumps((self._begin, (), {}), pickle.HIGHEST_PROTOCOL)
                requests = [begin, request]
        try:
            for each in requests:
                worker.connection.send_bytes(each)
                answer = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._own.worker = None
            with self._lock:
                self._workers.discard(worker)
            worker.connection.close()
            raise WorkerLost(self._reason(worker.end())) from None
        is_done, result = pickle.loads(answer)  # noqa: S301 - from our own process
        if not is_done:
            raise result
        done: _Answer = result
        return done

    def _started(self) -> _Worker:
        if not self._is_killed:
            worker = _Worker()
            with self._lock:
                if not self._is_killed:
                    self._workers.add(worker)
                    return worker
            worker.end()
        raise WorkerLost("was stopped")

    def _reason(self, code: int | None) -> str:
        if self._is_killed:
            return "was stopped"
        with self._lock:
            now, before = killed_for_memory(), self._killed_before
            is_for_memory = now is not None and before is not None and now > before
            if is_for_memory and before is not None and code == -signal.SIGKILL:
                # A kill that was counted for one worker must not explain the next lost one.
                self._killed_before = before + 1
        return how_it_ended(code, is_for_memory=is_for_memory)


# -- this process -------------------------------------------------------------------------------


class _Worker:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        self._ending = threading.Lock()
        self._has_ended = False
        self._code: int | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = Connection(ours.detach())
            try:
                self._server = start_server()
                self._pid = self._server.fork(theirs)
            except BaseException:
                self.connection.close()
                raise

    def kill(self) -> None:
        """Kill the process if it runs, without waiting for it to end."""
        with self._ending:
            self._kill()

    def _kill(self) -> None:
        # The pid cannot be reused before the server has waited for it.
        if not self._has_ended:
            with suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)

    def end(self) -> int | None:
        """Kill the process if it runs; return its exit code, or None if the server is gone."""
        with self._ending:
            if not self._has_ended:
                self._kill()
                self._code = self._server.wait_for(self._pid)
                self._has_ended = True
        return self._code


class _Server:
    """The fork server: a process that has imported the reading code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self.is_ready = False
        program = (
            f"import sys; sys.path[:] = {[_absolute(path) for path in sys.path]!r}; "
            f"from warehouse.forking import serve; serve({theirs.fileno()})"
        )
        # Otherwise the workers would decode file names differently.
        encoding = ["-X", "utf8"] if sys.flags.utf8_mode else []
        with theirs, _signals_kept_from_children():
            self._process = subprocess.Popen(  # noqa: S603 - our interpreter, our program
                [sys.executable, *encoding, "-c", program], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, cwd="/",  # ours may be deleted; Python 3.13 needs one
            )  # fmt: skip

    def fork(self, end: socket.socket) -> int:
        """Fork a worker that serves this end of a socket; return its pid."""
        try:
            with self._lock:
                socket.send_fds(self._control, [NUMBER.pack(0)], [end.fileno()])
                (pid,) = NUMBER.unpack(self._control.recv(NUMBER.size))
                self.is_ready = True
        except (OSError, struct.error):
            # Give it time to end by itself, because its exit code gives the reason.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_SECONDS)
            code = self.end()
            if code == IMPORTS_FAILED:
                raise ServerFailed("could not be started: see standard error for why") from None
            raise WorkerLost(f"could not be started: its server {how_it_ended(code)}") from None
        if pid < 0:
            raise WorkerLost(f"could not be started: {os.strerror(-pid)}")
        return int(pid)

    def wait_for(self, pid: int) -> int | None:
        """Return the exit code of a worker, or its signal as a negative number."""
        try:
            with self._lock:
                self._control.sendall(NUMBER.pack(pid))
                (code,) = NUMBER.unpack(self._control.recv(NUMBER.size))
        except (OSError, struct.error):
            return None
        return int(code)

    @property
    def runs(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def end(self) -> int:
        """End the server and its workers; return its exit code."""
        # Unblock a thread that waits for an answer.
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        if not self.is_ready:
            # It is still importing and does not watch the socket yet.
            self._process.kill()
        return self._process.wait()

    def forget(self) -> None:
        """In a forked child: close the socket, but do not stop the parent's server."""
        self._control.close()
        self._process.returncode = 0


_servers: list[_Server] = []
"""The fork server of this process, if any; its imports take as long as reading 2,000 files."""
_servers_lock = threading.Lock()


def _absolute(path: str) -> str:
    """Return an entry of ``sys.path`` that does not depend on the working directory."""
    with suppress(OSError):
        return os.path.abspath(path)
    return path


def start_server() -> _Server:
    """Start the fork server, or return the running one.

    The server imports the reading code once for all workers, while files are still being listed.
    """
    with _servers_lock:
        if _servers and not _servers[0].runs:
            _servers.pop().end()
        if not _servers:
            _servers.append(_Server())
        return _servers[0]


def end_unready_server() -> None:
    """End the fork server if it is still importing."""
    with _servers_lock:
        if _servers and not _servers[0].is_ready:
            _servers.pop().end()


@atexit.register
def _end_server() -> None:
    while _servers:
        _servers.pop().end()


def _forget_server() -> None:
    global _servers_lock  # noqa: PLW0603 - another thread may hold it for ever
    _servers_lock = threading.Lock()
    while _servers:
        _servers.pop().forget()


os.register_at_fork(after_in_child=_forget_server)


@contextmanager
def _signals_kept_from_children() -> Iterator[None]:
    """Start child processes with SIGINT and SIGTERM blocked; this process ends them instead.

    The signals are blocked rather than ignored, because a child inherits the mask from its first
    instruction on.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
