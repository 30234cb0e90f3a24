"""Choose where files are read: in this process, in local worker processes, or in Dask workers.

In: settings. Out: a context manager with a ``concurrent.futures.Executor``, or None for this
process.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.errors import SchedulerUnreachable, UsageError
from warehouse.workers import WorkerLost, WorkerPool, start_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from warehouse.settings import IngestSettings

_Answer = TypeVar("_Answer")

CONNECT_SECONDS = 30
"""Timeout for connecting to a scheduler."""


def executor(
    given: Executor | None, settings: IngestSettings, files: int, *, apart: bool = False
) -> AbstractContextManager[Executor | None]:
    """Return the executor for reading this number of files; None means this process.

    Parameters
    ----------
    given
        Executor passed by the caller, which is used unchanged.
    settings
        Number of workers, or address of a Dask scheduler.
    files
        Number of files to read.
    apart
        Never read in this process, because one of the files may kill it.

    Raises
    ------
    SchedulerUnreachable
        The settings name a scheduler that does not answer.
    UsageError
        The settings name a scheduler, and Dask is not installed.
    """
    if given is not None:
        return nullcontext(given)
    if settings.scheduler:
        return dask_workers(settings.scheduler)
    workers = min(settings.worker_count, -(-files // settings.chunk_files))
    if workers <= 1 and not apart:
        return nullcontext(None)
    start_server()
    return WorkerPool(max(workers, 1))


@contextmanager
def dask_workers(address: str) -> Iterator[Executor]:
    """Connect to a Dask scheduler and return its workers as an executor.

    If a worker is lost, Dask repeats its chunk on another one. No table references the parts that
    the lost worker has written.
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
        if not client.scheduler_info()["workers"]:
            # Not an error: adaptive clusters start workers when there is work.
            logging.getLogger(__name__).warning(
                "%s has no workers yet; waiting for one: dask worker %s", address, address
            )
        # pure=False: Dask must not answer from its cache when a batch is read again.
        yield client.get_executor(pure=False)


def submit_first(
    pool: Executor, call: Callable[..., _Answer], *arguments: Any
) -> Future[_Answer] | None:
    """Submit a call that runs before all waiting ones; None if priorities are unsupported."""
    if isinstance(pool, WorkerPool):
        return pool.submit_first(call, *arguments)
    if _is_of_dask(pool):
        # Dask reserves keyword arguments for its own options.
        return pool.submit(call, *arguments, priority=1)
    return None


def _is_of_dask(pool: Executor) -> bool:
    """Return whether an executor belongs to Dask."""
    if "distributed" not in sys.modules:
        return False
    from distributed.cfexecutor import ClientExecutor  # noqa: PLC0415

    return isinstance(pool, ClientExecutor)


def losses() -> tuple[type[BaseException], ...]:
    """Return the exceptions that a future raises if its worker was lost."""
    if "distributed" not in sys.modules:
        return (BrokenExecutor,)
    from distributed import KilledWorker  # noqa: PLC0415
    from distributed.client import FutureCancelledError  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415
    from distributed.scheduler import NoWorkerError  # noqa: PLC0415

    return (BrokenExecutor, KilledWorker, NoWorkerError, FutureCancelledError, CommClosedError)


def how_lost(error: BaseException) -> str:
    """Return how the process that ran a chunk ended, as far as known."""
    if isinstance(error, WorkerLost):
        return str(error)
    return f"was lost ({type(error).__name__}; its log may say why)"


def starting_workers(found: Iterator[pa.Table], chunk_files: int) -> Iterator[pa.Table]:
    """Yield rows of files; start the fork server at the second chunk."""
    files, is_started = 0, False
    for rows in found:
        files += rows.num_rows
        if files > chunk_files and not is_started:
            start_server()
            is_started = True
        yield rows
