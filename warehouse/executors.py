"""Where files are read: in this process, in processes of this machine, or by the workers of Dask.

In: settings. Out: a ``concurrent.futures.Executor`` for as long as it is needed, or None for this
process. What is done there is the same in every case and does not belong here.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import forkserver, get_context, parent_process
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.errors import SchedulerUnreachable, UsageError
from warehouse.process import do_without_pandas, keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from warehouse.dicom.scan import SourceFile, Unreadable
    from warehouse.settings import IngestSettings

T = TypeVar("T")

PRELOADED = "warehouse.reading"
"""Imported once for all processes of this machine, before they are forked."""

LOST = BrokenExecutor
"""What a call raises whose process of this machine was killed."""

CONNECT_SECONDS = 30
"""How long a scheduler may take to answer."""


def executor(
    given: Executor | None, settings: IngestSettings, files: int
) -> AbstractContextManager[Executor | None]:
    """Return where to read so many files; None reads in this process.

    Raises
    ------
    SchedulerUnreachable
        The settings name a scheduler that does not answer.
    UsageError
        They name one, and Dask is not installed.
    """
    if given is not None:
        return nullcontext(given)
    if settings.scheduler:
        return dask_workers(settings.scheduler)
    workers = min(settings.worker_count, -(-files // settings.chunk_files))
    if workers <= 1:
        return nullcontext(None)
    return Workers(workers)


class Workers(Executor):
    """Processes of this machine. Where one is killed, new ones take over what comes next.

    Parameters
    ----------
    count
        How many read at once.
    begin
        Called in each new process.
    """

    def __init__(self, count: int, begin: Callable[[], None] | None = None) -> None:
        start_fork_server()
        self._count, self._begin = count, begin or begin_worker
        self._pool = self._processes(count)
        self._lone: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        """Have something done by one of the processes."""
        try:
            return self._pool.submit(work, *arguments, **named)
        except LOST:
            # One death takes all processes of a pool with it, and all that waits for them.
            self._pool.shutdown(wait=False)
            self._pool = self._processes(self._count)
            return self._pool.submit(work, *arguments, **named)

    def alone(self, work: Callable[..., T], *arguments: Any) -> T:
        """Have something done in a process where nothing else waits, and wait for it.

        Raises
        ------
        BrokenExecutor
            The process was killed; the next call has a new one.
        """
        self._lone = self._lone or self._processes(1)
        try:
            return self._lone.submit(work, *arguments).result()
        except LOST:
            self._lone.shutdown(wait=False)
            self._lone = None
            raise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes end."""
        for pool in filter(None, (self._pool, self._lone)):
            pool.shutdown(wait, cancel_futures=cancel_futures)

    def _processes(self, count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            count, mp_context=get_context("forkserver"), initializer=self._begin
        )


@contextmanager
def dask_workers(address: str) -> Iterator[Executor]:
    """Lend the workers of a Dask scheduler, those too that join later.

    A chunk whose worker is lost is read again by another one. What the lost one had written is
    named by no table.
    """
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise UsageError("reading with Dask needs: pip install 'dicom-warehouse[dask]'") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SchedulerUnreachable(address, error) from error
    with client:
        # Not pure: a batch that is read anew must not be answered from memory.
        yield client.get_executor(pure=False)


def losses() -> tuple[type[BaseException], ...]:
    """Return what the result of a chunk raises if those who read it are gone."""
    if "distributed" not in sys.modules:
        return (LOST,)
    from distributed import KilledWorker  # noqa: PLC0415
    from distributed.client import FutureCancelledError  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415

    return (LOST, KilledWorker, FutureCancelledError, CommClosedError)


def starting_workers(
    found: Iterator[SourceFile | Unreadable], chunk_files: int
) -> Iterator[SourceFile | Unreadable]:
    """Pass files on; from the second chunk of them on the server of workers is started."""
    for number, item in enumerate(found):
        if number == chunk_files:
            start_fork_server()
        yield item


def start_fork_server() -> None:
    """Start the process that workers are forked from, if it is not there yet.

    It imports what reads files once for all of them, while files are still being listed.
    """
    get_context("forkserver").set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()


def begin_worker() -> None:
    """Tune a new worker process, and let it end when the one that started it was killed."""
    keep_freed_memory()
    do_without_pandas()
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
