"""Stat the files that a walk has found, in parallel if there are workers.

In: the output of ``scan.walk``. Out: tables with the schema ``LISTING``, in the same order. A run
is a group of some hundred paths. A file costs one ``stat``, which takes a thousand times as long on
a file server as on a local disk; an archive costs reading its central directory.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from warehouse.dicom.scan import stat_entries
from warehouse.executors import losses, submit_first
from warehouse.listing import listing_row, listing_table
from warehouse.store.crossing import Crossing
from warehouse.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    import pyarrow as pa

    from warehouse.dicom.scan import Met

RUN_FILES = 500
"""Files in a run, which is sent to a worker in one message."""

RUNS_AHEAD = 16
"""Runs submitted to workers ahead of the one needed; calls that read files wait behind them."""

RUN_SECONDS = 0.1
"""A run ends after this time, even with few files, so that progress is reported."""

WAIT_SECONDS = 0.01
"""If no worker has begun a run after this time, all are busy, and this process lists it."""

ALONE_SECONDS = 2.0
"""After this time workers are started to list the remaining runs, even if no file must be read."""

_Run: TypeAlias = "tuple[list[Met], Future[Crossing] | None]"


@dataclass(slots=True)
class ListingWorkers:
    """Where files are listed: in this process until workers have started."""

    workers: Executor | None = None
    """The workers that read files, once they exist."""
    most: int = 1
    """Number of processes that may be started before that."""


def list_files(
    met: Iterator[Met], patterns: Sequence[str], listers: ListingWorkers
) -> Generator[pa.Table]:
    """Yield the listing of all files, in the order of the walk.

    Workers run these calls before calls that read files. This process lists the next run itself
    until a worker has started, and while all workers are busy: few workers may read files for
    seconds before the next one is free. With many workers one is free within ``WAIT_SECONDS``.
    """
    ahead: deque[_Run] = deque()
    own: WorkerPool | None = None
    began, is_more, is_all = time.monotonic(), True, False
    wait = WAIT_SECONDS
    try:
        while not is_all:
            workers = own or listers.workers
            if workers is None and listers.most > 1 and time.monotonic() - began >= ALONE_SECONDS:
                workers = own = WorkerPool(listers.most)
            most = 1 if workers is None else RUNS_AHEAD
            while is_more and len(ahead) < most and not (ahead and _is_done(ahead[0])):
                run = _next_run(met)
                is_more = bool(run)
                if run:
                    ahead.append((run, _submitted(run, patterns, workers)))
            is_all = not ahead
            if ahead:
                run, future = ahead.popleft()
                rows = _result(future, workers, wait)
                # While all are busy, it would wait for each run.
                wait = WAIT_SECONDS if rows is not None else 0
                if rows is None:
                    yield from _list_here(run, patterns)
                else:
                    yield rows
    finally:
        for _, future in ahead:
            if future is not None:
                future.cancel()
        if own is not None:
            own.kill()


def list_run(met: Iterable[Met], patterns: Sequence[str]) -> Crossing:
    """List the files of a run; called in a worker."""
    return Crossing(listing_table([listing_row(item) for item in stat_entries(met, patterns)]))


def _next_run(met: Iterator[Met]) -> list[Met]:
    run: list[Met] = []
    until = time.monotonic() + RUN_SECONDS
    for item in met:
        run.append(item)
        if len(run) >= RUN_FILES or time.monotonic() >= until:
            break
    return run


def _submitted(
    run: list[Met], patterns: Sequence[str], workers: Executor | None
) -> Future[Crossing] | None:
    """Submit a run to the workers; None for objects in a bucket, which are already listed."""
    if workers is None or not any(isinstance(item, str) for item in run):
        return None
    return submit_first(workers, list_run, run, patterns)


def _is_done(run: _Run) -> bool:
    return run[1] is None or run[1].done()


def _result(
    future: Future[Crossing] | None, workers: Executor | None, wait: float
) -> pa.Table | None:
    """Return the rows that a worker made; None if this process must list the run.

    A local worker must begin the run within ``wait`` seconds.
    """
    if future is None:
        return None
    own_pool = workers if isinstance(workers, WorkerPool) else None
    if own_pool is not None:
        futures.wait([future], wait if own_pool.have_started else 0)
        # A run that a worker has begun cannot be cancelled.
        if future.cancel():
            return None
    try:
        (rows,) = future.result().tables
    except losses():
        if own_pool is not None and own_pool.is_killed:
            raise
        return None
    # A folder of this machine may be missing on another one.
    return rows if own_pool is not None or rows["reason"].null_count == len(rows) else None


def _list_here(run: list[Met], patterns: Sequence[str]) -> Iterator[pa.Table]:
    rows = []
    until = time.monotonic() + RUN_SECONDS
    for item in stat_entries(run, patterns):
        rows.append(listing_row(item))
        # An archive may have more members than a run has files.
        if len(rows) >= RUN_FILES or time.monotonic() >= until:
            yield listing_table(rows)
            rows, until = [], time.monotonic() + RUN_SECONDS
    if rows:
        yield listing_table(rows)
