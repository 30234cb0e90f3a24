"""Ingest: list the sources, compare them with ``files``, read new files, commit them in batches.

In: paths, settings. Out: ``IngestReport``. The command line, notebooks and Dagster all call
``ingest``; a batch is one transaction.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.errors import UsageError, stopped
from warehouse.executors import executor as where_to_read
from warehouse.ingest_report import IngestReport
from warehouse.isolation import KILLED, killed_before, noted, of_sources
from warehouse.moved import find_and_commit_moves, put_off_moved
from warehouse.parallel_listing import ListingWorkers
from warehouse.planned import (
    files_of_batch,
    following_id,
    forget_planned,
    name_to_read,
    read_plan,
    write_plan,
)
from warehouse.read_batches import promote_duplicates_locked, read_batch, read_batches
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, locks
from warehouse.store.duck import lent
from warehouse.store.ledger import view_ledger
from warehouse.store.marker import require
from warehouse.survey import (
    BatchProgress,
    Progress,
    put_in_queue,
    seen_files,
    survey,
    unseen_batches,
    was_rejected,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor

    import duckdb

    from warehouse.survey import Listed


MOST_REJECTS = 1_000
"""Rejected files that a report names; stored files that could not be read come first."""


def ingest(
    root: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    settings: IngestSettings | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    committed: Callable[[], None] | None = None,
) -> IngestReport:
    """Read new and changed files into the warehouse; create it if it does not exist.

    Parameters
    ----------
    root
        Folder of the warehouse.
    sources
        Files, folders and zip archives, in any mix. Opened read-only.
    settings
        How to read and write.
    progress
        Notified of every listing, chunk and batch that is done.
    executor
        Any ``concurrent.futures.Executor`` that reads the files. By default
        ``settings.worker_count`` processes, or the workers of ``settings.scheduler``.
    committed
        Called after each batch.

    Returns
    -------
    IngestReport
        Counts by outcome, the first rejects with their reasons, and the new version.

    Raises
    ------
    SourceNotFound, NotAWarehouse, LayoutMismatch, WriteFailed, SchedulerUnreachable, WorkersLost
        An unreadable file raises no error: its row in ``files`` has the reason.
    """
    settings, sources = settings or IngestSettings(), list(sources)
    root = Path(os.path.abspath(root))
    started = time.monotonic()
    counts, readers, batches = Counter[str](), Counter[str](), list[str]()
    unreachable: list[tuple[str, str]] = []
    listers = ListingWorkers(executor, most=_own_workers(settings) if executor is None else 1)
    many = executor is not None or settings.scheduler is not None or settings.worker_count > 1
    with (
        _reporting_committed_on_interrupt(counts) as found, lent() as listing,
        closing(
            survey(
                listing, root, sources, settings, progress, listers,
                starting=executor is None, in_portions=many,
            )
        ) as portions,
    ):  # fmt: skip
        queued = _queued(listing, root, portions, settings, progress, counts, found)
        ready, is_all = next(queued)
        unseen = ready if is_all else settings.worker_count * settings.chunk_files
        pool_for = _pool_for(listing, root, settings, unseen, executor, of_sources(sources))
        with locks.writing(root), pool_for as pool:
            listers.workers = pool
            lasts = chain([is_all], (is_last for _, is_last in queued))
            for batch, done in read_batches(listing, root, settings, pool, progress, lasts):
                counts.update(done.outcomes)
                readers += done.readers
                unreachable += done.unreachable
                batches.append(batch)
                if isinstance(progress, BatchProgress):
                    progress.committed(batch, done.outcomes)
                if committed:
                    committed()
            batches += promote_duplicates_locked(listing, root, settings, pool)
        rejects = _rejects(listing, root) if counts["rejected"] else []
    return _report(
        counts, readers, batches, root, started, files=found[0], rejects=rejects,
        unreachable=unreachable,
    )  # fmt: skip


def _queued(
    listing: duckdb.DuckDBPyConnection, root: Path, portions: Iterator[Listed],
    settings: IngestSettings, progress: Progress | None, counts: Counter[str], found: list[int],
) -> Iterator[tuple[int, bool]]:  # fmt: skip
    """Fill the table ``to_read`` with one or more portions of the listing at a time.

    Yields the number of files in ``to_read`` and whether the listing is complete. Counts files that
    need not be read in ``counts``, and at the end appends the number of files to ``found``.
    """
    files = planned = ready = 0
    for portion in portions:
        files += portion.files
        counts.update(seen_files(listing, portion.files - portion.unseen))
        if portion.is_last:
            found.append(files)
            counts["moved"] += find_and_commit_moves(listing, root)
        elif portion.unseen:
            put_off_moved(listing, root)
        added = put_in_queue(listing)
        planned, ready = planned + added, ready + added
        if portion.is_last or ready >= settings.chunk_files:
            if progress:
                progress.planned(planned)
            yield ready, portion.is_last
            ready = 0


def plan(
    root: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    settings: IngestSettings | None = None,
) -> list[str]:
    """List new and changed files and store them as batches, which ``run_batch`` reads later.

    A file of a planned batch that has not run yet is planned again only if it has changed.

    Returns
    -------
    list of str
        Keys of the new batches, in the order of the paths.
    """
    settings = settings or IngestSettings()
    root = Path(os.path.abspath(root))
    with lent() as listing:
        listers = ListingWorkers(most=_own_workers(settings))
        for _ in survey(listing, root, sources, settings, None, listers):
            for batch in planned_batches(root):
                forget_planned(listing, root, batch)
            put_in_queue(listing)
        return [
            locks.claim_batch(root, write_plan(list(chain.from_iterable(chunks))))
            for chunks in unseen_batches(listing, settings)
        ]


def planned_batches(root: str | os.PathLike[str]) -> list[str]:
    """Return the keys of planned batches that have not run yet, in ascending order."""
    folder = layout.claims_folder(Path(root))
    if not folder.is_dir():
        return []
    return sorted(
        entry.name for entry in os.scandir(folder)
        if entry.name.isdecimal() and entry.stat().st_size
    )  # fmt: skip


def stored_batches(root: str | os.PathLike[str]) -> list[str]:
    """Return the keys of batches with stored files, in ascending order."""
    _, (*parts, _) = delta.newest_files(Path(os.path.abspath(root)))
    return sorted({layout.batch_of_part(part) for part in parts})


def run_batch(
    root: str | os.PathLike[str],
    batch: str,
    settings: IngestSettings | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> IngestReport:
    """Read and commit one planned batch, or read the files of a committed batch again.

    Parameters
    ----------
    root
        Folder of the warehouse.
    batch
        Key of the batch, such as ``000007``.
    settings, progress, executor
        See ``ingest``.

    Returns
    -------
    IngestReport

    Raises
    ------
    UsageError
        No batch with this key was ever planned or ingested.
    """
    settings = settings or IngestSettings()
    root = Path(os.path.abspath(root))
    require(root)
    started = time.monotonic()
    if not (batch.isascii() and batch.isdecimal()):
        known = (*planned_batches(root), "000001")[0]
        raise UsageError(f"a batch is a number, such as {known}: not {batch!r}")
    claim = layout.claims_folder(root) / batch
    is_planned = batch in planned_batches(root)
    if is_planned:
        items = read_plan(root, batch, settings)
        first = following_id(root, batch)
    else:
        items, first = files_of_batch(root, batch, settings)
    if not items and not claim.exists():
        raise UsageError(
            f"no batch {batch!r}; planned: {', '.join(planned_batches(root)) or 'none'}"
        )
    with lent() as connection, locks.writing(root):
        name_to_read(connection, root, items)
        with _pool_for(connection, root, settings, len(items), executor, f"batch-{batch}") as pool:
            done = read_batch(
                connection, root, batch, items, settings, pool, progress,
                first=first, read_anew=not is_planned,
            )  # fmt: skip
            if is_planned:
                claim.write_bytes(b"")
            batches = [batch, *promote_duplicates_locked(connection, root, settings, pool)]
    rejects = _rejects_of_batch(root, batch)
    return _report(
        done.outcomes, done.readers, batches, root, started, files=len(items), rejects=rejects,
        unreachable=done.unreachable,
    )  # fmt: skip


def _own_workers(settings: IngestSettings) -> int:
    """Return how many local processes may start; 1 if a Dask scheduler provides the workers."""
    return 1 if settings.scheduler else settings.worker_count


@contextmanager
def _reporting_committed_on_interrupt(counts: Counter[str]) -> Iterator[list[int]]:
    """On Ctrl-C, report how many files were committed, and out of how many if that is known."""
    found: list[int] = []
    try:
        yield found
    except (KeyboardInterrupt, RuntimeError) as error:
        # DuckDB turns an interrupt during a query into its own RuntimeError.
        if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
            raise
        raise stopped(counts.total(), found[0] if found else None) from None


def _report(
    counts: Counter[str], readers: Counter[str], batches: list[str], root: Path, started: float,
    *, files: int, rejects: list[tuple[str, str]], unreachable: list[tuple[str, str]],
) -> IngestReport:  # fmt: skip
    return IngestReport(
        created=counts["created"],
        replaced=counts["replaced"],
        existing=counts["existing"],
        duplicate=counts["duplicate"],
        rejected=counts["rejected"],
        files=files,
        readers=dict(readers),
        batches=batches,
        version=delta.newest_version(root),
        seconds=round(time.monotonic() - started, 3),
        rejects=[
            *((path, f"{why}; the rows of its last ingest are kept") for path, why in unreachable),
            *rejects,
        ][:MOST_REJECTS],
        moved=counts["moved"],
        forgotten=counts["forgotten"],
        unreachable=len(unreachable),
    )


def _rejects(listing: duckdb.DuckDBPyConnection, root: Path) -> list[tuple[str, str]]:
    view_ledger(listing, delta.newest_files(root)[1])
    return listing.execute(statement("rejects")).fetchall()


def _rejects_of_batch(root: Path, batch: str) -> list[tuple[str, str]]:
    with lent() as connection:
        view_ledger(connection, delta.newest_files(root)[1])
        connection.execute("set variable batch = $1", [batch])
        return connection.execute(statement("rejects_of_batch")).fetchall()


@contextmanager
def _pool_for(
    listing: duckdb.DuckDBPyConnection, root: Path, settings: IngestSettings, unseen: int,
    given: Executor | None, reads: str,
) -> Iterator[Executor | None]:  # fmt: skip
    """Choose the executor for ``unseen`` files; None means this process, noted by ``noted``."""
    killed = killed_before(root)
    apart = unseen > 0 and (bool(killed) or was_rejected(listing, KILLED))
    with (
        where_to_read(given, settings, unseen, apart=apart) as pool,
        noted(root, killed, is_alone=pool is None and unseen > 0, reads=reads),
    ):
        yield pool
