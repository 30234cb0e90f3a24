"""The fork server of ``warehouse.workers``, and the loop that a worker runs.

In: requests through a socket, from the process that uses ``WorkerPool``. Out: answers. Nothing here
imports ``__main__``.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NoReturn

from warehouse.errors import WarehouseError
from warehouse.process import (
    collector_paused,
    do_without_pandas,
    do_without_requests,
    keep_freed_memory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = struct.Struct("q")
"""Format of a request (0: fork a worker, else: pid of a worker to wait for) and of its answer."""

IMPORTS_FAILED = 3
"""Exit code of a server that could not import the reading code and has printed the reason."""

_DIE_WITH_PARENT = 1
"""Option ``PR_SET_PDEATHSIG`` of ``prctl``."""


def begin_worker() -> None:
    """Tune a process that only reads files."""
    # OpenBLAS would start a thread per processor, each of which spins for 25 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    keep_freed_memory()
    do_without_pandas()
    do_without_requests()


def serve(descriptor: int) -> NoReturn:
    """Fork workers and report their exit codes until the other end of the socket is closed."""
    control = socket.socket(fileno=descriptor)
    with _ending_with(control):
        # Before the imports, because the modules imported next allocate arrays.
        begin_worker()
        with collector_paused():
            _import_readers()
            _rehearse()
        # A garbage collection in a worker would write to all shared pages and so copy them.
        gc.freeze()
    running: set[int] = set()
    while True:
        try:
            request, ends, _, _ = socket.recv_fds(control, NUMBER.size, 1)
        except OSError:
            break
        if not request:
            break
        (pid,) = NUMBER.unpack(request)
        if ends:
            answer = _forked(control, ends[0])
            running.add(answer)
        else:
            running.discard(pid)
            answer = _code_of(pid)
        try:
            control.sendall(NUMBER.pack(answer))
        except OSError:
            break
    for pid in running:
        if pid > 0:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    os._exit(0)


def _import_readers() -> None:
    """Import the code that all workers share; if that fails, print the reason and exit."""
    try:
        import warehouse.elements.vendor  # noqa: PLC0415
        import warehouse.reading  # noqa: PLC0415
        import warehouse.store.ready  # noqa: F401, PLC0415
    except BaseException as error:  # noqa: BLE001 - a module may raise anything
        # For example, a file beside the script has the name of a module, or memory is short.
        message = "".join(traceback.format_exception_only(error)).strip()
        line = f"worker processes cannot import what reads files: {message}\n"
        os.write(2, line.encode(errors="backslashreplace"))
        os._exit(IMPORTS_FAILED)


def _rehearse() -> None:
    """Read a file once, so that no worker has to prepare for its first one."""
    from warehouse.reading import rehearse  # noqa: PLC0415

    # A real file fails for the same reason, and then with a message: for example, a full disk.
    with suppress(Exception):
        rehearse()


@contextmanager
def _ending_with(control: socket.socket) -> Iterator[None]:
    """Exit as soon as the other end is closed, even during the imports, which can take seconds."""
    reader, writer = os.pipe()

    def watch() -> None:
        events = select.poll()
        events.register(control, 0)  # hang-up only
        events.register(reader, select.POLLIN)
        if any(descriptor != reader for descriptor, _ in events.poll()):
            os._exit(0)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        os.write(writer, b".")
        # A process with threads must not fork.
        watching.join()
        os.close(reader)
        os.close(writer)


def _forked(control: socket.socket, end: int) -> int:
    """Fork a worker; return its pid, or a negative ``errno``."""
    server = os.getpid()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns about threads when forking; Arrow's idle threads are harmless.
            warnings.simplefilter("ignore")
            pid = os.fork()
    except OSError as error:
        pid = -(error.errno or errno.EAGAIN)
    if pid == 0:
        code = 1
        try:
            _bound_to(server)
            control.close()
            _work(Connection(end))
            code = 0
        finally:
            os._exit(code)
    os.close(end)
    if pid > 0:
        with suppress(OSError):
            os.setpgid(pid, pid)
    return pid


def _bound_to(server: int) -> None:
    """Give a worker its own process group, and have it killed when the server ends."""
    with suppress(OSError):
        os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(0)


def _code_of(pid: int) -> int:
    """Wait for a worker, kill processes that its calls left behind, and return its exit code."""
    # The kernel cannot reuse the group id before the worker has been waited for.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _work(connection: Connection) -> None:
    """Run calls until the connection is closed."""
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            call, arguments, options = pickle.loads(request)  # noqa: S301 - from our own process
            result = (True, call(*arguments, **options))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            result = (False, _portable(error))
        answer = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        del result
        try:
            connection.send_bytes(answer)
        except OSError:
            return


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled, with its traceback as a note."""
    if not isinstance(error, WarehouseError):
        where = "".join(traceback.format_tb(error.__traceback__))
        error.add_note(f"raised in a worker process:\n{where}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001 - pickling an error may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
