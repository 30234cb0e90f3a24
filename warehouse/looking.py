"""Paths that a walk has met → rows of ``LISTING``, a run at a time, by workers where there are any.

In: what ``scan.walk`` yields, in order. Out: tables in that order. To look at a file is to ask the
system for its size and time, which on a file server takes a thousand times as long as on a disk;
of an archive it is to read what it holds.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from warehouse.dicom.scan import look_at
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
"""Files of a run, which crosses to a worker and back at once."""

RUNS_AHEAD = 16
"""Runs that are given to workers before the first is needed: reading waits for no more."""

RUN_SECONDS = 0.1
"""After so long a run ends however few files it has: someone watches how many were found."""

ALONE_SECONDS = 2.0
"""After so long workers are started for what is left, even if there is nothing yet to be read."""

_Run: TypeAlias = "tuple[list[Met], Future[Crossing] | None]"


@dataclass(slots=True)
class Lookers:
    """Who looks at files: this process, until there are workers."""

    workers: Executor | None = None
    """Those that read."""
    most: int = 1
    """How many processes may be started where there are none."""


def looked_at(met: Iterator[Met], patterns: Sequence[str], lookers: Lookers) -> Generator[pa.Table]:
    """Look at all files, in the order in which they were met.

    Workers take runs before the files that wait to be read. While none has started, a run that is
    needed is looked at here; afterwards it is waited for, because whoever waits has more to do than
    each of many workers, and of few workers none is idle meanwhile.
    """
    ahead: deque[_Run] = deque()
    own: WorkerPool | None = None
    began, is_more, is_all = time.monotonic(), True, False
    try:
        while not is_all:
            workers = own or lookers.workers
            if workers is None and lookers.most > 1 and time.monotonic() - began >= ALONE_SECONDS:
                workers = own = WorkerPool(lookers.most)
            most = 1 if workers is None else RUNS_AHEAD
            while is_more and len(ahead) < most and not (ahead and _is_done(ahead[0])):
                run = _next_run(met)
                is_more = bool(run)
                if run:
                    ahead.append((run, _given(run, patterns, workers)))
            is_all = not ahead
            if ahead:
                run, future = ahead.popleft()
                rows = _result(future, workers)
                if rows is None:
                    yield from _look_here(run, patterns)
                else:
                    yield rows
    finally:
        for _, future in ahead:
            if future is not None:
                future.cancel()
        if own is not None:
            own.kill()


def look(met: Iterable[Met], patterns: Sequence[str]) -> Crossing:
    """Look at the files of a run, in a worker."""
    return Crossing(listing_table([listing_row(item) for item in look_at(met, patterns)]))


def _next_run(met: Iterator[Met]) -> list[Met]:
    run: list[Met] = []
    until = time.monotonic() + RUN_SECONDS
    for item in met:
        run.append(item)
        if len(run) >= RUN_FILES or time.monotonic() >= until:
            break
    return run


def _given(
    run: list[Met], patterns: Sequence[str], workers: Executor | None
) -> Future[Crossing] | None:
    """Give a run to the workers; of objects in a bucket all is known already."""
    if workers is None or not any(isinstance(item, str) for item in run):
        return None
    return submit_first(workers, look, run, patterns)


def _is_done(run: _Run) -> bool:
    return run[1] is None or run[1].done()


def _result(future: Future[Crossing] | None, workers: Executor | None) -> pa.Table | None:
    """Return what a worker has found; None if that has to be found out here."""
    if future is None:
        return None
    here = workers if isinstance(workers, WorkerPool) else None
    if here is not None and not here.have_started and future.cancel():
        return None
    try:
        (rows,) = future.result().tables
    except losses():
        if here is not None and here.is_killed:
            raise
        return None
    # On another machine a folder may be missing that is here.
    return rows if here is not None or rows["reason"].null_count == len(rows) else None


def _look_here(run: list[Met], patterns: Sequence[str]) -> Iterator[pa.Table]:
    rows = []
    until = time.monotonic() + RUN_SECONDS
    for item in look_at(run, patterns):
        rows.append(listing_row(item))
        # An archive may have more members than a run has files.
        if len(rows) >= RUN_FILES or time.monotonic() >= until:
            yield listing_table(rows)
            rows, until = [], time.monotonic() + RUN_SECONDS
    if rows:
        yield listing_table(rows)
