"""Folders → a new version of the warehouse. The one place where stations 1 to 3 are joined.

In: paths, settings. Out: ``IngestReport``. The command line, notebooks and Dagster all call this;
none of them repeats the sequence: list → compare with ``files`` → batches → read in parallel →
commit, one transaction a batch.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from warehouse.dicom.scan import ARCHIVE_SEPARATOR, SourceFile, Unreadable, discover
from warehouse.elements.extract import Outcome, Portion, extract, no_rows
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import by_name, statement
from warehouse.store import delta, layout
from warehouse.store.commit import commit_batch, discard
from warehouse.store.duck import connect
from warehouse.store.stage import Staged, stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_us", pa.int64()),
        ("archive", pa.string()),
        ("member", pa.string()),
        ("reason", pa.string()),
    ]
)
"""What the walk found, a row per file; ``reason`` only for what could not be looked at."""

LISTING_ROWS = 50_000
"""Files listed before they are handed to DuckDB, which can spill."""


class Progress(Protocol):
    """Someone who watches an ingest; the command line draws a bar."""

    def listed(self, files: int) -> None:
        """Tell that so many files have been found so far."""

    def planned(self, files: int) -> None:
        """Tell how many files have to be read."""

    def read(self, files: int, rejected: int) -> None:
        """Tell that so many more files have been read, so many of them rejected."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest did. The first five add up to ``files``."""

    created: int = 0
    """Instances that are new in the warehouse."""
    replaced: int = 0
    """Files known before with other content, read anew."""
    existing: int = 0
    """Files known and unchanged; not read."""
    duplicate: int = 0
    """Files whose instance another file holds."""
    rejected: int = 0
    """Files that are no DICOM or broken; ``files`` says why."""
    files: int = 0
    """Files found."""
    readers: dict[str, int] = field(default_factory=dict)
    """Which reader took how many of the files that were read."""
    batches: list[str] = field(default_factory=list)
    """Batches committed."""
    version: int = 0
    """Version of the warehouse afterwards."""
    seconds: float = 0.0
    rejects: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of the first rejected files among those found."""


def ingest(
    root: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    settings: IngestSettings | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
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
        ``settings.workers`` says.

    Raises
    ------
    SourceNotFound, NotAWarehouse, LayoutMismatch, WriteFailed
        Files that cannot be read never raise: they become rows of ``files`` with a reason.
    """
    settings = settings or IngestSettings()
    root = Path(os.path.abspath(root))
    started = time.monotonic()
    found = discover(sources, patterns=settings.patterns, exclude=str(root))
    delta.create(root)
    delta.require(root)
    with connect() as listing:
        total = _list(listing, found, progress)
        _compare(listing, root, settings)
        counts = Counter(_seen(listing))
        readers: Counter[str] = Counter()
        batches: list[str] = []
        unseen = listing.execute("select count(*) from unseen").fetchall()[0][0]
        if progress:
            progress.planned(unseen)
        with _executor(executor, settings, unseen) as pool:
            for portion in _groups(listing, settings.batch_files):
                batch, outcome = _ingest_batch(root, portion, settings, pool, progress)
                counts += outcome.outcomes
                readers += outcome.readers
                batches.append(batch)
            batches += _settle(root, settings, pool)
        rejects = _rejects(listing, root)
    return IngestReport(
        **{name: counts[name] for name in ("created", "replaced", "existing", "duplicate", "rejected")},
        files=total,
        readers=dict(readers),
        batches=batches,
        version=delta.snapshot(root).version,
        seconds=round(time.monotonic() - started, 3),
        rejects=rejects,
    )


# -- listing ------------------------------------------------------------------------------------


def _list(
    listing: duckdb.DuckDBPyConnection,
    found: Iterator[SourceFile | Unreadable],
    progress: Progress | None,
) -> int:
    """Put every found file into the table ``listed``, once; return how many there are."""
    listing.register("listing_rows", LISTING.empty_table())
    listing.execute("create table listed_often as from listing_rows")
    rows: list[dict[str, Any]] = []
    total = 0

    def flush() -> None:
        listing.register("listing_rows", pa.Table.from_pylist(rows, schema=LISTING))
        listing.execute("insert into listed_often from listing_rows")
        rows.clear()

    for item in found:
        total += 1
        if isinstance(item, Unreadable):
            rows.append({"path": item.path, "reason": item.reason})
        else:
            rows.append(
                {
                    "path": item.path, "size_bytes": item.size_bytes,
                    "modified_us": item.modified_us, "archive": item.archive,
                    "member": item.member,
                }
            )  # fmt: skip
        if len(rows) >= LISTING_ROWS:
            flush()
            if progress:
                progress.listed(total)
    flush()
    # Sources may overlap: a file counts once.
    listing.execute("create table listed as select distinct on (path) * from listed_often")
    listing.execute("drop table listed_often")
    count: int = listing.execute("select count(*) from listed").fetchall()[0][0]
    if progress:
        progress.listed(count)
    return count


def _compare(listing: duckdb.DuckDBPyConnection, root: Path, settings: IngestSettings) -> None:
    """Make the table ``unseen``: what has to be read."""
    _open_files(listing, root)
    listing.execute("set variable mode = $1", [settings.mode.value])
    listing.execute(f"create table unseen as {statement('unseen')}")


def _open_files(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    connection.execute("set variable files_files = $1", [delta.snapshot(root).paths("files")])
    connection.execute(by_name("files").sql)


def _seen(listing: duckdb.DuckDBPyConnection) -> dict[str, int]:
    status = dict(listing.execute(statement("seen")).fetchall())
    return {
        "existing": status.get("ingested", 0),
        "duplicate": status.get("duplicate", 0),
        "rejected": status.get("rejected", 0),
    }


def _rejects(listing: duckdb.DuckDBPyConnection, root: Path) -> list[tuple[str, str]]:
    _open_files(listing, root)
    return listing.execute(statement("rejects")).fetchall()


def _groups(
    listing: duckdb.DuckDBPyConnection, size: int
) -> Iterator[list[SourceFile | Unreadable]]:
    """Hand out the unseen files in order of their paths, one batch at a time."""
    reader = listing.cursor()
    reader.execute("select * from unseen order by path")
    while rows := reader.fetchmany(size):
        yield [_source(*row) for row in rows]
    reader.close()


def _source(
    path: str, size: int | None, modified: int | None, archive: str | None, member: str | None,
    reason: str | None,
) -> SourceFile | Unreadable:  # fmt: skip
    if reason is not None or size is None or modified is None:
        return Unreadable(path, reason or "cannot be opened")
    return SourceFile(path, size, modified, archive, member)


# -- reading and committing ---------------------------------------------------------------------


def _executor(executor: Executor | None, settings: IngestSettings, files: int) -> Any:
    """Return the executor to read in; None reads in this process."""
    if executor is not None:
        return nullcontext(executor)
    workers = min(settings.worker_count, -(-files // settings.chunk_files))
    if workers <= 1:
        return nullcontext(None)
    return ProcessPoolExecutor(workers, mp_context=get_context("forkserver"))


def _ingest_batch(
    root: Path, items: list[SourceFile | Unreadable], settings: IngestSettings,
    pool: Executor | None, progress: Progress | None,
) -> tuple[str, Any]:  # fmt: skip
    """Read one batch in chunks, commit it in one transaction."""
    number = delta.claim_batch(root)
    batch = layout.batch_name(number)
    sources = [item for item in items if isinstance(item, SourceFile)]
    staged: list[Staged] = []
    try:
        unreadable = [item for item in items if isinstance(item, Unreadable)]
        if unreadable:
            staged.append(_stage_unreadable(root, batch, unreadable, settings))
            if progress:
                progress.read(len(unreadable), len(unreadable))
        chunks = [
            sources[start : start + settings.chunk_files]
            for start in range(0, len(sources), settings.chunk_files)
        ]
        threads = 1 if pool is not None else None
        calls = [
            (root, batch, place, chunk, layout.first_id(number) + place * settings.chunk_files,
             settings, threads)
            for place, chunk in enumerate(chunks)
        ]  # fmt: skip
        for done in _run(pool, calls):
            staged += done
            if progress:
                files = sum(portion.files.num_rows for portion in done)
                progress.read(files, sum(_rejected(portion) for portion in done))
        return batch, commit_batch(root, batch, staged, f"ingest {batch}")
    except BaseException:
        discard(root, staged)
        raise


def _run(pool: Executor | None, calls: list[tuple[Any, ...]]) -> Iterator[list[Staged]]:
    """Stage chunks here or in the pool; yield what is done, in order."""
    if pool is None:
        for call in calls:
            yield stage_chunk(*call)
        return
    futures: list[Future[list[Staged]]] = [pool.submit(stage_chunk, *call) for call in calls]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def stage_chunk(
    root: Path, batch: str, place: int, sources: list[SourceFile], first_id: int,
    settings: IngestSettings, threads: int | None,
) -> list[Staged]:  # fmt: skip
    """Read some files and write their rows; what a worker process does."""
    return [
        stage(root, batch, place, portion, settings.mode,
              keep_blobs=settings.keep_blobs, threads=threads)
        for portion in extract(sources, first_id, settings.chunk_rows)
    ]  # fmt: skip


def _stage_unreadable(
    root: Path, batch: str, items: list[Unreadable], settings: IngestSettings
) -> Staged:
    outcomes = [
        Outcome(SourceFile(item.path, None, None), reason=item.reason) for item in items
    ]
    portion = Portion(*no_rows(), outcomes)
    return stage(root, batch, 0, portion, settings.mode, keep_blobs=False)


def _rejected(portion: Staged) -> int:
    return portion.files["status"].to_pylist().count("rejected")


def _settle(root: Path, settings: IngestSettings, pool: Executor | None) -> list[str]:
    """Read duplicates again whose instance no file holds any more, or one that comes later."""
    batches = []
    tried: set[str] = set()
    while True:
        with connect() as connection:
            _open_files(connection, root)
            rows = connection.execute(statement("unsettled")).fetchall()
        items = [_listed_again(path) for path, *_ in rows if path not in tried]
        if not items:
            return batches
        tried.update(item.path for item in items)
        for start in range(0, len(items), settings.batch_files):
            part = items[start : start + settings.batch_files]
            batches.append(_ingest_batch(root, part, settings, pool, None)[0])


def _listed_again(path: str) -> SourceFile | Unreadable:
    """List a file that is known already; archives by their member."""
    archive, separator, member = path.partition(ARCHIVE_SEPARATOR)
    source = archive if separator else path
    try:
        for item in discover([source]):
            if item.path == path:
                return item
    except FileNotFoundError:
        pass
    del member
    return Unreadable(path, "no longer there")
