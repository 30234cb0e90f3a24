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
from typing import TYPE_CHECKING

from warehouse.errors import SchedulerUnreachable, UsageError
from warehouse.process import do_without_pandas, keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.dicom.scan import SourceFile, Unreadable
    from warehouse.settings import IngestSettings

PRELOADED = "warehouse.reading"
"""Imported once for all processes of this machine, before they are forked."""

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
    start_fork_server()
    return ProcessPoolExecutor(
        workers, mp_context=get_context("forkserver"), initializer=begin_worker
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
        return (BrokenExecutor,)
    from distributed import KilledWorker  # noqa: PLC0415
    from distributed.client import FutureCancelledError  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415

    return (BrokenExecutor, KilledWorker, FutureCancelledError, CommClosedError)


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
