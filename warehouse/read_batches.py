"""Read batches of files and commit each in one transaction while the next ones are read.

In: the files of each batch, chunk by chunk, and the executor that reads them. Out: ``Counts``.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from warehouse.dicom.scan import SourceFile, Unreadable
from warehouse.elements.extract import Outcome, Portion, no_rows
from warehouse.errors import WorkersLost
from warehouse.executors import how_lost, losses
from warehouse.isolation import results
from warehouse.listing import FileRows
from warehouse.planned import listed_again
from warehouse.reading import Chunk, stage_chunk
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, locks
from warehouse.store.commit import Counts, commit_batch
from warehouse.store.duck import lent
from warehouse.store.ledger import view_ledger
from warehouse.store.marker import identity
from warehouse.store.ready import Ready, make_ready
from warehouse.store.stage import Staged, discard, stage
from warehouse.store.tombstones import tombstones
from warehouse.survey import Pace, unseen_batches
from warehouse.workers import WorkerLost, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    import duckdb

    from warehouse.survey import Progress

BATCHES_AHEAD = 2
"""Batches submitted to the workers while one is committed or files are listed; with only one, the
workers would run out of work."""


def read_batches(
    listing: duckdb.DuckDBPyConnection, root: Path, settings: IngestSettings,
    pool: Executor | None, progress: Progress | None, queued: Iterable[bool],
) -> Iterator[tuple[str, Counts]]:  # fmt: skip
    """Read and commit the files of ``to_read``, which ``queued`` fills; yield keys and counts.

    While one batch is committed, or files are listed, the pool reads the next ``BATCHES_AHEAD``.
    """
    running: deque[_Running] = deque()
    pace = Pace(settings)
    ahead = 1 if pool is None else BATCHES_AHEAD

    def begin(chunks: Iterable[Sequence[SourceFile | Unreadable]]) -> _Running:
        before = running[-1].ready if running else None
        return _begin(root, locks.claim_batch(root), chunks, settings, pool, before=before)

    def finish() -> tuple[str, Counts]:
        counts = _finish(listing, root, running[0], progress)
        pace.read(counts.outcomes.total())
        return running.popleft().batch, counts

    try:
        for chunks in unseen_batches(listing, settings, pace, queued):
            running.append(begin(chunks))
            if len(running) > ahead:
                yield finish()
        while running:
            yield finish()
    finally:
        for batch in running:
            batch.cancel()


@dataclass(frozen=True, slots=True)
class _Running:
    """A batch whose files are read in the pool, or in this process by iterating ``portions``."""

    batch: str
    rejected: list[Staged]
    """Files that could not be listed."""
    portions: Iterator[list[Staged]]
    futures: list[Future[list[Staged]]]
    ready: Future[Ready | None] | None
    """The parts of the batch, written as soon as its files are read; None without local workers."""

    def cancel(self) -> None:
        _cancel(self.futures)


def _cancel(futures: Iterable[Future[list[Staged]]]) -> None:
    for future in futures:
        future.cancel()


def read_batch(
    connection: duckdb.DuckDBPyConnection, root: Path, batch: str,
    items: list[SourceFile | Unreadable], settings: IngestSettings, pool: Executor | None,
    progress: Progress | None, *, first: int | None = None, read_anew: bool = False,
) -> Counts:  # fmt: skip
    """Read one batch chunk by chunk and commit it in one transaction."""
    size = settings.chunk_files
    chunks = (items[start : start + size] for start in range(0, len(items), size))
    running = _begin(root, batch, chunks, settings, pool, first, read_anew=read_anew)
    return _finish(connection, root, running, progress, read_anew=read_anew)


def _begin(
    root: Path, batch: str, chunks: Iterable[Sequence[SourceFile | Unreadable]],
    settings: IngestSettings, pool: Executor | None, first: int | None = None,
    before: Future[Ready | None] | None = None, *, read_anew: bool = False,
) -> _Running:  # fmt: skip
    """Submit all chunks to the pool; without a pool, iterating ``portions`` reads them.

    ``before`` are the parts of the batch that is committed before this one.
    """
    following = layout.first_id(batch) if first is None else first
    warehouse_id = identity(root)
    unreadable: list[Unreadable] = []
    given: list[Chunk] = []
    futures: list[Future[list[Staged]]] = []
    try:
        for place, items in enumerate(chunks):
            sources, others = FileRows.of(items, settings.s3).told_apart()
            unreadable += others
            if not sources:
                continue
            given.append(Chunk(root, warehouse_id, batch, place, sources, following, settings))
            if pool is not None:
                futures.append(pool.submit(stage_chunk, given[-1]))
            following += len(sources)
        rejected = [_stage_unreadable(root, batch, unreadable, settings)] if unreadable else []
    except BaseException:
        _cancel(futures)
        raise
    if pool is None:
        return _Running(batch, rejected, map(stage_chunk, given), [], None)
    ready = None
    if isinstance(pool, WorkerPool) and not read_anew:
        ready = pool.submit_waiting(_ready, root, batch, rejected, futures, pool, before)
    return _Running(batch, rejected, results(pool, given, futures), futures, ready)


def _finish(
    connection: duckdb.DuckDBPyConnection, root: Path, running: _Running,
    progress: Progress | None, *, read_anew: bool = False,
) -> Counts:  # fmt: skip
    """Wait for the chunks of a batch, then commit it."""
    staged = list(running.rejected)
    try:
        if progress and staged:
            progress.read(staged[0].count, staged[0].rejected)
        for done in running.portions:
            staged += done
            if progress:
                files = sum(portion.count for portion in done)
                progress.read(files, sum(portion.rejected for portion in done))
        ready = running.ready.result() if running.ready else None
    except losses() as error:
        running.cancel()
        discard(root, staged)
        raise WorkersLost(running.batch, how_lost(error)) from error
    except BaseException:
        running.cancel()
        discard(root, staged)
        raise
    return commit_batch(connection, root, running.batch, staged, ready=ready, read_anew=read_anew)


def _ready(
    root: Path, batch: str, rejected: list[Staged], futures: list[Future[list[Staged]]],
    pool: WorkerPool, before: Future[Ready | None] | None,
) -> Ready | None:  # fmt: skip
    """Have a worker write the parts of a batch once its files are read; None if it cannot.

    Only local workers are used: they can run this call before the calls of the next batch.
    """
    try:
        staged = [*rejected, *chain.from_iterable(future.result() for future in futures)]
        if tombstones(root) is not None:
            return None
        # Resolved in this process: in the worker, deltalake would start a thread per processor.
        held = delta.newest_parts(root, "blobs")
        previous = before.result() if before else None
        if previous and previous.values:
            # Batches that are committed before this one; if one is not, the commit compares again.
            earlier = (part.path for part in previous.values.parts)
            held = list({*held, *previous.values.compared_parts, *earlier})
        return pool.submit_first(make_ready, root, batch, staged, held).result()
    except (WorkerLost, CancelledError):
        # Lost chunks are read again, and then the commit writes the parts.
        return None


def staged_anew(
    root: Path,
    batch: str,
    items: list[SourceFile | Unreadable],
    settings: IngestSettings,
    first: int,
) -> list[Staged]:
    """Read files in this process and stage their rows for a commit."""
    staged: list[Staged] = []
    size = settings.chunk_files
    chunks = (items[start : start + size] for start in range(0, len(items), size))
    running = _begin(root, batch, chunks, settings, None, first)
    try:
        for done in running.portions:
            staged += done
    except BaseException:
        discard(root, staged)
        raise
    return staged


def _stage_unreadable(
    root: Path, batch: str, items: list[Unreadable], settings: IngestSettings
) -> Staged:
    outcomes = [Outcome(SourceFile(item.path, None, None), reason=item.reason) for item in items]
    portion = Portion(*no_rows(), outcomes)
    return stage(root, batch, 0, portion, settings.mode, keep_blobs=False)


def promote_duplicates(root: Path, settings: IngestSettings) -> list[str]:
    """Read duplicates again if no file holds their instance any more; return the new batches."""
    with locks.writing(root), lent() as connection:
        return promote_duplicates_locked(connection, root, settings, None)


def promote_duplicates_locked(
    connection: duckdb.DuckDBPyConnection, root: Path, settings: IngestSettings,
    pool: Executor | None,
) -> list[str]:  # fmt: skip
    """Read duplicates again that must become the holder: there is none, or it sorts after them."""
    batches: list[str] = []
    tried: set[str] = set()
    while True:
        view_ledger(connection, delta.newest_files(root)[1])
        # Usually there are no duplicates; this is cheaper than the query for unsettled ones.
        duplicate = "select 1 from files where status = 'duplicate' limit 1"
        if not connection.execute(duplicate).fetchall():
            return batches
        rows = connection.execute(statement("promotable")).fetchall()
        untried = [(path, mode) for path, mode in rows if path not in tried]
        if not untried:
            return batches
        tried.update(path for path, _ in untried)
        for mode in sorted({mode for _, mode in untried}):
            as_before = replace(settings, mode=Mode.parse(mode))
            paths = [path for path, read_in in untried if read_in == mode]
            items = listed_again(paths, settings)
            for start in range(0, len(items), settings.batch_files):
                part = items[start : start + settings.batch_files]
                batch = locks.claim_batch(root)
                read_batch(connection, root, batch, part, as_before, pool, None)
                batches.append(batch)
