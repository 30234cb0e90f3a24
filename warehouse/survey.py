"""List the sources, compare them with ``files``, and divide the files to read into batches.

In: paths, settings and the ledger ``files``. Out: ``SourceFile`` and ``Unreadable`` objects ordered
by path, one chunk of a batch at a time. The listing is a table in DuckDB, which can spill to disk.
Only folders and archive directories are read here, no DICOM files.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pyarrow as pa

from warehouse.dicom.objects import is_object
from warehouse.dicom.scan import walk
from warehouse.executors import starting_workers
from warehouse.listing import LISTING, FileRows
from warehouse.parallel_listing import ListingWorkers, list_files
from warehouse.sqlfiles import statement
from warehouse.store import delta
from warehouse.store.duck import cursor
from warehouse.store.ledger import view_ledger
from warehouse.store.marker import require
from warehouse.store.tombstones import drop_forgotten

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.dicom.scan import SourceFile, Unreadable
    from warehouse.settings import IngestSettings


LISTING_ROWS = 50_000
"""Files held in Python before they are inserted into DuckDB, which can spill to disk."""

HANDED_ROWS = 20_000
"""Rows of ``to_read`` fetched from DuckDB at a time."""

FIRST_FILES = 4_000
"""Files in the first batches of an ingest, while the reading rate is unknown."""

LAST_FILES = 2_000
"""Smallest size of the last batch; workers are idle while it is committed."""

LEAST_FILES = 100
"""Smallest batch, even if it takes longer than ``BATCH_SECONDS``: each batch adds new parts."""

BATCH_SECONDS = 30.0
"""Target time to read a batch; a stopped ingest loses the work that is not committed."""

LEAST_CHUNK = 250
"""Smallest chunk; small batches are divided among fewer workers."""

REMOTE_WORKERS = 16
"""Number of workers among which a batch is divided if there is a Dask scheduler."""

FIRST_PORTION = 4_000
"""Files in the first portion of a listing; workers read it while the next ones are listed."""

LARGE_PORTION = 320_000
"""Largest portion, unless one eighth of the known files is more."""

PORTION_SECONDS = 30.0
"""A portion ends after this time, even with few files, because a folder may be slow to list."""


class Progress(Protocol):
    """Observer of an ingest; the command line draws a progress bar."""

    def listed(self, files: int) -> None:
        """Receive the number of files found so far."""

    def planned(self, files: int) -> None:
        """Receive the number of files to read; called again while folders are still listed."""

    def read(self, files: int, rejected: int) -> None:
        """Receive how many more files have been read, and how many of them were rejected."""


@runtime_checkable
class BatchProgress(Progress, Protocol):
    """Observer that is also notified of commits."""

    def committed(self, batch: str, outcomes: Mapping[str, int]) -> None:
        """Receive the key of a committed batch and the number of its files by outcome."""


class Pace:
    """Sizes of batches and chunks: as many files as can be read in ``BATCH_SECONDS``, in limits."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._workers = REMOTE_WORKERS if settings.scheduler else settings.worker_count
        self._since = time.monotonic()
        self.files = min(settings.batch_files, FIRST_FILES)

    def batch(self, waiting: int, *, is_last: bool = True) -> int:
        """Return the size of the next batch.

        A small remainder is included. With several workers the last batches are smaller.

        Parameters
        ----------
        waiting
            Files in ``to_read``.
        is_last
            No more files will be listed.
        """
        most = min(self.files * 3 // 2, self._settings.batch_files)
        if waiting > most:
            return self.files
        if self._workers == 1 or not is_last or waiting < 2 * LAST_FILES:
            return waiting
        return waiting - max(LAST_FILES, waiting // 4)

    def chunk(self, batch: int) -> int:
        """Return the size of a chunk that gives every worker the same number of files."""
        share = -(-batch // self._workers)
        chunks = -(-share // self._settings.chunk_files)
        return max(-(-share // chunks), min(LEAST_CHUNK, self._settings.chunk_files))

    def read(self, files: int) -> None:
        """Adapt the batch size to the number of files read since the last call."""
        now = time.monotonic()
        rate = files / max(now - self._since, 1e-3)
        self._since = now
        wanted = max(LEAST_FILES, int(rate * BATCH_SECONDS))
        # At most twice as many as before: workers are idle while the last batch is committed.
        self.files = min(self._settings.batch_files, wanted, 2 * self.files)


@dataclass(frozen=True, slots=True)
class Listed:
    """One portion of the listing, compared with the warehouse."""

    files: int
    """Files in the portion."""
    unseen: int
    """Files that have to be read."""
    is_last: bool
    """The listing is complete."""


def survey(
    listing: duckdb.DuckDBPyConnection, root: Path,
    sources: Iterable[str | os.PathLike[str]], settings: IngestSettings, progress: Progress | None,
    listers: ListingWorkers, *, starting: bool = False, in_portions: bool = False,
) -> Generator[Listed]:  # fmt: skip
    """List the sources and compare them with ``files``, all at once or a portion at a time.

    Creates the warehouse if it does not exist. For each portion, creates the tables ``listed``,
    ``unseen`` and ``forgotten`` on the connection ``listing``; ``all_listed`` has the paths of all
    portions so far. With ``starting``, starts the fork server as soon as there is work for several
    workers.
    """
    roots = sorted(
        str(source) if is_object(source) else os.path.abspath(os.fsdecode(source))
        for source in sources
    )
    # A file listed twice counts once, so both rows must be in the same portion.
    in_portions = in_portions and not _overlap(roots)
    met = walk(roots, patterns=settings.patterns, exclude=str(root), s3=settings.s3)
    with closing(list_files(met, settings.patterns, listers)) as tables:
        several = starting and settings.worker_count > 1 and not settings.scheduler
        found = starting_workers(tables, settings.chunk_files) if several else tables
        # Workers list the following runs while the warehouse is created.
        first = list(islice(found, 1))
        delta.create(root)
        require(root)
        listing.execute("set variable mode = $1", [settings.mode.value])
        allowed = settings.limits.by_unit()
        listing.execute(
            "set variable limits = map($1, $2)", [list(allowed), list(allowed.values())]
        )
        sizes = _portion_sizes(listing, root) if in_portions else iter(())
        for files, is_last in _portions(listing, chain(first, found), sizes, progress):
            view_ledger(listing, delta.newest_files(root)[1])
            listing.execute("set variable first_path = (select min(path) from listed)")
            listing.execute("set variable last_path = (select max(path) from listed)")
            listing.execute(f"create or replace table unseen as {statement('unseen')}")
            drop_forgotten(listing, root)
            ((unseen,),) = listing.execute("select count(*) from unseen").fetchall()
            yield Listed(files, unseen, is_last)


def _overlap(roots: list[str]) -> bool:
    """Return whether one source may be equal to another one or be below it."""
    ordered = sorted(root.rstrip("/") for root in roots)
    return any(after.startswith(before) for before, after in pairwise(ordered))


def _portion_sizes(listing: duckdb.DuckDBPyConnection, root: Path) -> Iterator[int]:
    """Yield the size of each portion; the first ones are small, so that reading starts early.

    Every portion is compared with the whole ledger, so a larger ledger gets larger portions; this
    keeps the comparison cheaper than the listing.
    """
    yield (size := FIRST_PORTION)
    view_ledger(listing, delta.newest_files(root)[1])
    ((known,),) = listing.execute("select count(*) from files").fetchall()
    while True:
        yield (size := max(min(4 * size, LARGE_PORTION), known // 8))


def put_in_queue(listing: duckdb.DuckDBPyConnection) -> int:
    """Append ``unseen`` to ``to_read``, which is created if missing; return the number of rows."""
    listing.execute("create table if not exists to_read as from unseen limit 0")
    ((added,),) = listing.execute("insert into to_read from unseen").fetchall()
    listing.execute("drop table unseen")
    return int(added)


def was_rejected(listing: duckdb.DuckDBPyConnection, reason: str) -> bool:
    """Return whether any file in ``to_read`` was rejected for this reason before."""
    query = "select 1 from to_read where reason_before = $1 limit 1"
    return bool(listing.execute(query, [reason]).fetchall())


def seen_files(listing: duckdb.DuckDBPyConnection, seen: int) -> dict[str, int]:
    """Count the listed files that need not be read, by their status; empty if ``seen`` is 0."""
    if not seen:
        return {}
    status = dict(listing.execute(statement("seen")).fetchall())
    forgotten = listing.execute("select count(*) from forgotten").fetchall()[0][0]
    return {
        "forgotten": forgotten,
        "existing": status.get("ingested", 0),
        "duplicate": status.get("duplicate", 0),
        "rejected": status.get("rejected", 0),
    }


def unseen_batches(
    listing: duckdb.DuckDBPyConnection, settings: IngestSettings, pace: Pace | None = None,
    queued: Iterable[bool] = (True,),
) -> Iterator[Iterator[Sequence[SourceFile | Unreadable]]]:  # fmt: skip
    """Yield the batches of ``to_read``, ordered by path, each as an iterator of chunks.

    A batch must be consumed before the next one is requested. ``pace`` determines the size of a
    batch when it is requested; without it every batch has ``settings.batch_files``. Each step of
    ``queued`` fills ``to_read`` with files listed meanwhile, and is true if they are the last ones.
    """
    select = f"select {', '.join(LISTING.names)} from to_read order by path"
    for is_last in queued:
        ((waiting,),) = listing.execute("select count(*) from to_read").fetchall()
        with cursor(listing) as reader:
            rows = _Rows(reader.sql(select).to_arrow_reader(HANDED_ROWS))
            while waiting:
                files, size = min(settings.batch_files, waiting), settings.chunk_files
                if pace is not None:
                    files = pace.batch(waiting, is_last=is_last)
                    size = pace.chunk(files)
                sizes = (min(size, files - start) for start in range(0, files, size))
                yield (FileRows(rows.take(count), settings.s3) for count in sizes)
                waiting -= files
        listing.execute("drop table to_read")


class _Rows:
    """Re-chunks a stream of record batches."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._left = reader.schema.empty_table()

    def take(self, count: int) -> pa.Table:
        """Return the next ``count`` rows; fewer at the end of the stream."""
        parts = [self._left]
        while sum(part.num_rows for part in parts) < count:
            some = next(self._reader, None)
            if some is None:
                break
            parts.append(pa.Table.from_batches([some]))
        rows = pa.concat_tables(parts)
        self._left = rows.slice(count)
        return rows.slice(0, count)


def _portions(
    listing: duckdb.DuckDBPyConnection, found: Iterator[pa.Table], sizes: Iterator[int],
    progress: Progress | None,
) -> Iterator[tuple[int, bool]]:  # fmt: skip
    """Insert every found file once into the table ``listed``; yield the count and if it is final.

    A portion ends at the next size in ``sizes``, or after ``PORTION_SECONDS``; without sizes the
    whole listing is one portion.
    """
    listing.register("listing_rows", LISTING.empty_table())
    listing.execute("create table all_listed (path varchar)")
    gathered: list[pa.Table] = []
    left: pa.Table | None = LISTING.empty_table()

    def flush() -> None:
        listing.register("listing_rows", pa.concat_tables(gathered, promote_options="none"))
        listing.execute("insert into listed_often from listing_rows")
        gathered.clear()

    total = 0
    while left is not None:
        listing.execute("create or replace table listed_often as from listing_rows limit 0")
        size, began, count = next(sizes, None), time.monotonic(), 0
        first, left = left, None
        for rows in chain([first], found):
            some = rows.slice(0, None if size is None else size - count)
            gathered.append(some)
            count += some.num_rows
            if progress:
                progress.listed(total + count)
            if sum(table.num_rows for table in gathered) >= LISTING_ROWS:
                flush()
            if size and (count >= size or time.monotonic() - began >= PORTION_SECONDS):
                rest = rows.slice(some.num_rows)
                left = rest if rest.num_rows else next(found, None)
                break
        if gathered:
            flush()
        # Sources may overlap, but a file counts once.
        listing.execute(
            "create or replace table listed as select distinct on (path) * from listed_often"
        )
        listing.execute("drop table listed_often")
        ((files,),) = listing.execute("insert into all_listed select path from listed").fetchall()
        total += files
        if progress:
            progress.listed(total)
        yield files, left is None
