"""Where files are read: in this process, in processes of this machine, or by the workers of Dask.

In: settings. Out: a ``concurrent.futures.Executor`` for as long as it is needed, or None for this
process. What is done there is the same in every case and does not belong here.
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
"""How long a scheduler may take to answer."""


def executor(
    given: Executor | None, settings: IngestSettings, files: int, *, apart: bool = False
) -> AbstractContextManager[Executor | None]:
    """Return where to read so many files; None reads in this process, unless it is to be apart.

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
    if workers <= 1 and not apart:
        return nullcontext(None)
    start_server()
    return WorkerPool(max(workers, 1))


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
        if not client.scheduler_info()["workers"]:
            # No error: clusters that grow with their work have none before they get any.
            logging.getLogger(__name__).warning(
                "%s has no workers yet; waiting for one: dask worker %s", address, address
            )
        # Not pure: a batch that is read anew must not be answered from memory.
        yield client.get_executor(pure=False)


def submit_first(
    pool: Executor, call: Callable[..., _Answer], *arguments: Any
) -> Future[_Answer] | None:
    """Run a call before those that wait already; None for an executor that cannot be asked to."""
    if isinstance(pool, WorkerPool):
        return pool.submit_first(call, *arguments)
    if _is_of_dask(pool):
        # What it is given by name, Dask takes for itself.
        return pool.submit(call, *arguments, priority=1)
    return None


def _is_of_dask(pool: Executor) -> bool:
    """Tell whether an executor hands out to the workers of a scheduler."""
    if "distributed" not in sys.modules:
        return False
    from distributed.cfexecutor import ClientExecutor  # noqa: PLC0415

    return isinstance(pool, ClientExecutor)


def losses() -> tuple[type[BaseException], ...]:
    """Return what the result of a chunk raises if those who read it are gone."""
    if "distributed" not in sys.modules:
        return (BrokenExecutor,)
    from distributed import KilledWorker  # noqa: PLC0415
    from distributed.client import FutureCancelledError  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415
    from distributed.scheduler import NoWorkerError  # noqa: PLC0415

    return (BrokenExecutor, KilledWorker, NoWorkerError, FutureCancelledError, CommClosedError)


def how_lost(error: BaseException) -> str:
    """Say what became of the process that ran a chunk, as far as it is known."""
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
