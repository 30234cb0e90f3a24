"""Folders → a new version of the warehouse. The one place where stations 1 to 3 are joined.

In: paths, settings. Out: ``IngestReport``. The command line, notebooks and Dagster all call this;
none of them repeats the sequence: list → compare with ``files`` → batches → read in parallel →
commit, one transaction a batch.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.dicom.scan import SourceFile, Unreadable
from warehouse.elements.extract import Outcome, Portion, no_rows
from warehouse.errors import UsageError, WorkersLost, stopped
from warehouse.executors import executor as where_to_read
from warehouse.executors import how_lost, losses
from warehouse.ingest_report import IngestReport
from warehouse.isolation import KILLED, killed_before, noted, of_sources, results
from warehouse.moved import take_moved
from warehouse.reading import Chunk, stage_chunk
from warehouse.settings import IngestSettings, Mode
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout
from warehouse.store.commit import Counts, commit_batch
from warehouse.store.duck import lent
from warehouse.store.ledger import view_ledger
from warehouse.store.marker import identity, require
from warehouse.store.stage import Staged, discard, stage
from warehouse.survey import (
    BatchProgress,
    Pace,
    Progress,
    files_of_batch,
    forget_planned,
    listed_again,
    name_unseen,
    read_plan,
    seen_files,
    survey,
    unseen_batches,
    was_rejected,
    write_plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

    import duckdb


def ingest(
    root: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    settings: IngestSettings | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    committed: Callable[[], None] | None = None,
) -> IngestReport:
    """Read new and changed files into the warehouse; make it if it does not exist.

    Parameters
    ----------
    root
        Folder of the warehouse.
    sources
        Files, folders and zip archives, in any mix. Opened read-only.
    settings
        How to read and write.
    progress
        Told about every portion of files.
    executor
        Where to read: any ``concurrent.futures.Executor``. By default as many processes as
        ``settings.workers`` says, or the workers of ``settings.scheduler``.
    committed
        Called after each batch.

    Raises
    ------
    SourceNotFound, NotAWarehouse, LayoutMismatch, WriteFailed, SchedulerUnreachable, WorkersLost
        Files that cannot be read never raise: they become rows of ``files`` with a reason.
    """
    settings, sources = settings or IngestSettings(), list(sources)
    root = Path(os.path.abspath(root))
    started = time.monotonic()
    counts, readers, batches = Counter[str](), Counter[str](), list[str]()
    with _saying_what_is_kept(counts) as found, lent() as listing:
        total, unseen = survey(
            listing, root, sources, settings, progress, starting=executor is None
        )
        counts.update(seen_files(listing, total - unseen))
        found.append(total)
        if unseen and (moved := take_moved(listing, root)):
            counts["moved"], unseen = moved, unseen - moved
        if progress:
            progress.planned(unseen)
        pool_for = _pool_for(listing, root, settings, unseen, executor, of_sources(sources))
        with delta.writing(root), pool_for as pool:
            for batch, done in _read_batches(listing, root, settings, pool, progress):
                counts.update(done.outcomes)
                readers += done.readers
                batches.append(batch)
                if isinstance(progress, BatchProgress):
                    progress.committed(batch, done.outcomes)
                if committed:
                    committed()
            batches += _settle(listing, root, settings, pool)
        rejects = _rejects(listing, root) if counts["rejected"] else []
    return _report(counts, readers, batches, root, started, files=total, rejects=rejects)


def plan(
    root: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    settings: IngestSettings | None = None,
) -> list[str]:
    """Find new and changed files and put them down as batches, for ``run_batch`` to read.

    Files of a batch that is planned and not yet run are planned again only when they change.
    Returns the keys of the new batches.
    """
    settings = settings or IngestSettings()
    root = Path(os.path.abspath(root))
    with lent() as listing:
        survey(listing, root, sources, settings, None)
        for batch in planned_batches(root):
            forget_planned(listing, root, batch)
        return [
            delta.claim_batch(root, write_plan(list(chain.from_iterable(chunks))))
            for chunks in unseen_batches(listing, settings)
        ]


def planned_batches(root: str | os.PathLike[str]) -> list[str]:
    """Return the keys of batches that were planned and not yet run, in order."""
    folder = layout.claims_folder(Path(root))
    if not folder.is_dir():
        return []
    return sorted(
        entry.name for entry in os.scandir(folder)
        if entry.name.isdecimal() and entry.stat().st_size
    )  # fmt: skip


def stored_batches(root: str | os.PathLike[str]) -> list[str]:
    """Return the keys of batches that the warehouse holds files of, in order."""
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
    """Read the files of one planned batch; those of a finished one are read anew.

    Raises
    ------
    UsageError
        No batch of that key was ever planned or ingested.
    """
    settings = settings or IngestSettings()
    root = Path(os.path.abspath(root))
    require(root)
    started = time.monotonic()
    claim = layout.claims_folder(root) / batch
    is_planned = batch in planned_batches(root)
    if is_planned:
        items = read_plan(root, batch, settings)
        first = layout.first_id(batch)
    else:
        items, first = files_of_batch(root, batch, settings)
    if not items and not claim.exists():
        raise UsageError(
            f"no batch {batch!r}; planned: {', '.join(planned_batches(root)) or 'none'}"
        )
    with lent() as connection, delta.writing(root):
        name_unseen(connection, root, items)
        with _pool_for(connection, root, settings, len(items), executor, f"batch-{batch}") as pool:
            done = _read_batch(
                connection, root, batch, items, settings, pool, progress,
                first=first, read_anew=not is_planned,
            )  # fmt: skip
            if is_planned:
                claim.write_bytes(b"")
            batches = [batch, *_settle(connection, root, settings, pool)]
    rejects = _rejects_of_batch(root, batch)
    return _report(
        done.outcomes, done.readers, batches, root, started, files=len(items), rejects=rejects
    )


@contextmanager
def _saying_what_is_kept(counts: Counter[str]) -> Iterator[list[int]]:
    """Let Ctrl-C say how many files are in the warehouse, of how many that the block tells."""
    found: list[int] = []
    try:
        yield found
    except (KeyboardInterrupt, RuntimeError) as error:
        # DuckDB makes an error of its own of an interrupt that meets a query.
        if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
            raise
        raise stopped(counts.total(), found[0] if found else None) from None


def _report(
    counts: Counter[str], readers: Counter[str], batches: list[str], root: Path, started: float,
    *, files: int, rejects: list[tuple[str, str]] | None = None,
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
        rejects=rejects or [],
        moved=counts["moved"],
        forgotten=counts["forgotten"],
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
    """Choose where the files of ``unseen`` are read; while it is this process, keep a note."""
    killed = killed_before(root)
    apart = unseen > 0 and (bool(killed) or was_rejected(listing, KILLED))
    with (
        where_to_read(given, settings, unseen, apart=apart) as pool,
        noted(root, killed, is_alone=pool is None and unseen > 0, reads=reads),
    ):
        yield pool


# -- reading and committing ---------------------------------------------------------------------


def _read_batches(
    listing: duckdb.DuckDBPyConnection, root: Path, settings: IngestSettings,
    pool: Executor | None, progress: Progress | None,
) -> Iterator[tuple[str, Counts]]:  # fmt: skip
    """Read all unseen files; while one batch is committed, the pool reads the next."""
    running: _Running | None = None
    pace = Pace(settings)
    for chunks in unseen_batches(listing, settings, pace):
        following = _begin(root, delta.claim_batch(root), chunks, settings, pool)
        if running is not None:
            try:
                counts = _finish(listing, root, running, settings, progress)
            except BaseException:
                following.cancel()
                raise
            pace.read(counts.outcomes.total())
            yield running.batch, counts
        running = following
    if running is not None:
        yield running.batch, _finish(listing, root, running, settings, progress)


@dataclass(frozen=True, slots=True)
class _Running:
    """A batch whose files are being read, or will be when its results are asked for."""

    batch: str
    unreadable: list[Unreadable]
    portions: Iterator[list[Staged]]
    futures: list[Future[list[Staged]]]

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


def _read_batch(
    connection: duckdb.DuckDBPyConnection, root: Path, batch: str,
    items: list[SourceFile | Unreadable], settings: IngestSettings, pool: Executor | None,
    progress: Progress | None, *, first: int | None = None, read_anew: bool = False,
) -> Counts:  # fmt: skip
    """Read one batch in chunks, commit it in one transaction."""
    size = settings.chunk_files
    chunks = (items[start : start + size] for start in range(0, len(items), size))
    running = _begin(root, batch, chunks, settings, pool, first)
    return _finish(connection, root, running, settings, progress, read_anew=read_anew)


def _begin(
    root: Path, batch: str, chunks: Iterable[list[SourceFile | Unreadable]],
    settings: IngestSettings, pool: Executor | None, first: int | None = None,
) -> _Running:  # fmt: skip
    """Hand each chunk to the pool at once; without one they are read when they are asked for."""
    following = layout.first_id(batch) if first is None else first
    warehouse_id = identity(root)
    unreadable: list[Unreadable] = []
    given: list[Chunk] = []
    futures: list[Future[list[Staged]]] = []
    for place, items in enumerate(chunks):
        unreadable += [item for item in items if isinstance(item, Unreadable)]
        sources = [item for item in items if isinstance(item, SourceFile)]
        if not sources:
            continue
        given.append(Chunk(root, warehouse_id, batch, place, sources, following, settings))
        if pool is not None:
            futures.append(pool.submit(stage_chunk, given[-1]))
        following += len(sources)
    if pool is None:
        return _Running(batch, unreadable, map(stage_chunk, given), [])
    return _Running(batch, unreadable, results(pool, given, futures), futures)


def _finish(
    connection: duckdb.DuckDBPyConnection, root: Path, running: _Running,
    settings: IngestSettings, progress: Progress | None, *, read_anew: bool = False,
) -> Counts:  # fmt: skip
    """Wait for the chunks of a batch and commit it."""
    staged: list[Staged] = []
    try:
        if running.unreadable:
            staged.append(_stage_unreadable(root, running.batch, running.unreadable, settings))
            if progress:
                progress.read(len(running.unreadable), len(running.unreadable))
        for done in running.portions:
            staged += done
            if progress:
                files = sum(portion.files.num_rows for portion in done)
                progress.read(files, sum(_rejected(portion) for portion in done))
    except losses() as error:
        running.cancel()
        discard(root, staged)
        raise WorkersLost(running.batch, how_lost(error)) from error
    except BaseException:
        running.cancel()
        discard(root, staged)
        raise
    return commit_batch(connection, root, running.batch, staged, read_anew=read_anew)


def staged_anew(
    root: Path,
    batch: str,
    items: list[SourceFile | Unreadable],
    settings: IngestSettings,
    first: int,
) -> list[Staged]:
    """Read some files in this process and leave their rows where a commit can take them over."""
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


def _rejected(portion: Staged) -> int:
    return list(portion.files["status"].to_pylist()).count("rejected")


def settle(root: Path, settings: IngestSettings) -> list[str]:
    """Read duplicates again whose instance no file holds any more; return the batches it took."""
    with delta.writing(root), lent() as connection:
        return _settle(connection, root, settings, None)


def _settle(
    connection: duckdb.DuckDBPyConnection, root: Path, settings: IngestSettings,
    pool: Executor | None,
) -> list[str]:  # fmt: skip
    """Read duplicates again whose instance no file holds any more, or one that comes later."""
    batches: list[str] = []
    tried: set[str] = set()
    while True:
        view_ledger(connection, delta.newest_files(root)[1])
        rows = connection.execute(statement("unsettled")).fetchall()
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
                batch = delta.claim_batch(root)
                _read_batch(connection, root, batch, part, as_before, pool, None)
                batches.append(batch)
