"""Folders, or what is known of them → the files that have to be read, in batches.

In: paths, settings, and what the warehouse holds. Out: ``SourceFile`` and ``Unreadable`` in order
of their paths, a chunk of a batch at a time. What is found is put into DuckDB, which can spill;
nothing is read here but folders.
"""

from __future__ import annotations

import os
import time
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.dicom.objects import is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import SourceFile, Unreadable, discover, list_again
from warehouse.dicom.source import holding_file
from warehouse.executors import starting_workers
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout
from warehouse.store.duck import cursor, lent
from warehouse.store.ledger import view_ledger
from warehouse.store.marker import require
from warehouse.store.tombstones import drop_forgotten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import duckdb

    from warehouse.settings import IngestSettings, S3Access


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

GONE = "no longer there"
"""Reason of a known file that has vanished when it is to be read again."""


FIRST_FILES = 1_000
"""Files of the first batches of an ingest, before it is known how fast they are read."""

LEAST_FILES = 100
"""Files of a batch even where these take longer than they should: each leaves parts of its own."""

BATCH_SECONDS = 30.0
"""How long a batch may take to read: what is not committed is lost when the ingest is stopped."""

LEAST_CHUNK = 250
"""Files of a chunk below which a batch is not divided among more workers."""

REMOTE_WORKERS = 16
"""Among so many workers a batch is divided that a scheduler hands out; it may have more."""

LISTING_SECONDS = 0.1
"""How often is told how many files were found."""


class Progress(Protocol):
    """Someone who watches an ingest; the command line draws a bar."""

    def listed(self, files: int) -> None:
        """Tell that so many files have been found so far."""

    def planned(self, files: int) -> None:
        """Tell how many files have to be read."""

    def read(self, files: int, rejected: int) -> None:
        """Tell that so many more files have been read, so many of them rejected."""


@runtime_checkable
class BatchProgress(Progress, Protocol):
    """Someone who is told about batches too."""

    def committed(self, batch: str, outcomes: Mapping[str, int]) -> None:
        """Tell that a batch was committed, and what became of its files."""


class Pace:
    """How many files the next batch has: what can be read in ``BATCH_SECONDS``, within limits."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._workers = REMOTE_WORKERS if settings.scheduler else settings.worker_count
        self._since = time.monotonic()
        self.files = min(settings.batch_files, FIRST_FILES)

    @property
    def chunk(self) -> int:
        """Files of a chunk, so that every worker has one."""
        return min(self._settings.chunk_files, max(LEAST_CHUNK, -(-self.files // self._workers)))

    def read(self, files: int) -> None:
        """Tell that so many files have been read since the last time."""
        now = time.monotonic()
        rate = files / max(now - self._since, 1e-3)
        self._since = now
        wanted = max(LEAST_FILES, int(rate * BATCH_SECONDS))
        # At most twice as many as before: nothing is read while the last batch is committed.
        self.files = min(self._settings.batch_files, wanted, 2 * self.files)


def survey(
    listing: duckdb.DuckDBPyConnection, root: Path,
    sources: Iterable[str | os.PathLike[str]], settings: IngestSettings, progress: Progress | None,
    *, starting: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """List the sources and compare them with ``files``; return found and unseen files.

    Makes the tables ``listed`` and ``unseen``, and the warehouse if there is none. With
    ``starting``, worker processes begin to start as soon as there is work for several.
    """
    found = discover(sources, patterns=settings.patterns, exclude=str(root), s3=settings.s3)
    if starting and settings.worker_count > 1 and not settings.scheduler:
        found = starting_workers(found, settings.chunk_files)
    delta.create(root)
    require(root)
    total = _list(listing, found, progress)
    view_ledger(listing, delta.newest_files(root)[1])
    listing.execute("set variable mode = $1", [settings.mode.value])
    listing.execute("set variable first_path = (select min(path) from listed)")
    listing.execute("set variable last_path = (select max(path) from listed)")
    allowed = settings.limits.by_unit()
    listing.execute("set variable limits = map($1, $2)", [list(allowed), list(allowed.values())])
    listing.execute(f"create table unseen as {statement('unseen')}")
    drop_forgotten(listing, root)
    return total, listing.execute("select count(*) from unseen").fetchall()[0][0]


def was_rejected(listing: duckdb.DuckDBPyConnection, reason: str) -> bool:
    """Tell whether a file that is to be read was rejected for this reason before."""
    query = "select 1 from unseen where reason_before = $1 limit 1"
    return bool(listing.execute(query, [reason]).fetchall())


def seen_files(listing: duckdb.DuckDBPyConnection, seen: int) -> dict[str, int]:
    """Count the listed files that need not be read, by what is known of them, if there are any."""
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
    listing: duckdb.DuckDBPyConnection, settings: IngestSettings, pace: Pace | None = None
) -> Iterator[Iterator[list[SourceFile | Unreadable]]]:
    """Hand out the unseen files in order of their paths: of each batch, a chunk at a time.

    A batch has to be taken to its end before the next one. How many files it has is asked when its
    turn comes: of ``pace``, else it is ``batch_files``.
    """
    reader = cursor(listing)
    reader.execute(f"select {', '.join(LISTING.names)} from unseen order by path")

    def fetch(count: int) -> list[SourceFile | Unreadable]:
        return [_source(*row, s3=settings.s3) for row in reader.fetchmany(count)]

    while True:
        whole, size = settings.batch_files, settings.chunk_files
        if pace is not None:
            whole, size = pace.files, pace.chunk
        first, *others = (min(size, whole - start) for start in range(0, whole, size))
        if not (chunk := fetch(first)):
            break
        yield chain([chunk], takewhile(bool, map(fetch, others)))
    reader.close()


def write_plan(items: list[SourceFile | Unreadable]) -> bytes:
    """Put the files of a batch down, for ``read_plan``; keys to a bucket are left out."""
    sink = pa.BufferOutputStream()
    pq.write_table(_listing([_listing_row(item) for item in items]), sink, compression="zstd")
    return bytes(sink.getvalue())


def read_plan(root: Path, batch: str, settings: IngestSettings) -> list[SourceFile | Unreadable]:
    """Return the files that are planned for a batch."""
    return [_source(*row.values(), s3=settings.s3) for row in _plan(root, batch).to_pylist()]


def forget_planned(listing: duckdb.DuckDBPyConnection, root: Path, batch: str) -> None:
    """Take out of ``unseen`` what is planned for a batch as it is now."""
    listing.register("planned", _plan(root, batch))
    listing.execute(statement("forget_planned"))


def _plan(root: Path, batch: str) -> pa.Table:
    return pq.read_table(pa.BufferReader((layout.claims_folder(root) / batch).read_bytes()))


def name_unseen(
    connection: duckdb.DuckDBPyConnection, root: Path, items: list[SourceFile | Unreadable]
) -> None:
    """Make ``files`` and ``unseen``, as a survey does, for the files of one batch."""
    view_ledger(connection, delta.newest_files(root)[1])
    paths = pa.array([item.path for item in items], pa.string())
    connection.register("named", pa.table({"path": paths}))
    connection.execute(
        "create table unseen as select named.path, files.reason as reason_before "
        "from named left join files using (path)"
    )


def files_of_batch(
    root: Path, batch: str, settings: IngestSettings
) -> tuple[list[SourceFile | Unreadable], int]:
    """Return the files that a finished batch holds and that still exist, and a free first id."""
    with lent() as connection:
        view_ledger(connection, delta.newest_files(root)[1])
        connection.execute("set variable batch = $1", [batch])
        rows = connection.execute(statement("files_of_batch")).fetchall()
    items = listed_again([path for path, _ in rows], settings)
    there = [item for item in items if not (isinstance(item, Unreadable) and item.reason == GONE)]
    # The same ids again, unless rows of files that are gone keep theirs.
    last = max((instance_id for _, instance_id in rows if instance_id is not None), default=None)
    if len(there) == len(rows) or last is None:
        return there, layout.first_id(batch)
    return there, last + 1


def listed_again(paths: list[str], settings: IngestSettings) -> list[SourceFile | Unreadable]:
    """List files that are known already, in their order; archives by their member."""
    objects = [path for path in paths if is_object(path)]
    known = dict(zip(objects, list_again(objects, settings.s3) if objects else (), strict=True))
    items: list[SourceFile | Unreadable] = []
    archive, members = "", dict[str, SourceFile | Unreadable]()
    for path in paths:
        if path in known:
            items.append(known[path] or Unreadable(path, GONE))
            continue
        holding = holding_file(path)
        # Paths come sorted: the members of one archive follow one another.
        if holding == path or holding != archive:
            archive, members = holding, _found_in(holding)
        items.append(members.get(path) or Unreadable(path, GONE))
    return items


def _found_in(path: str) -> dict[str, SourceFile | Unreadable]:
    """List a file or the members of an archive, by their paths."""
    try:
        return {item.path: item for item in discover([os.fsdecode(local_path(path))])}
    except FileNotFoundError:
        return {}


# -- listing ------------------------------------------------------------------------------------


def _list(
    listing: duckdb.DuckDBPyConnection,
    found: Iterator[SourceFile | Unreadable],
    progress: Progress | None,
) -> int:
    """Put every found file into the table ``listed``, once; return how many there are."""
    listing.register("listing_rows", LISTING.empty_table())
    listing.execute("create table listed_often as from listing_rows")
    rows: list[tuple[Any, ...]] = []

    def flush() -> None:
        listing.register("listing_rows", _listing(rows))
        listing.execute("insert into listed_often from listing_rows")
        rows.clear()

    told = time.monotonic()
    for total, item in enumerate(found, 1):
        rows.append(_listing_row(item))
        if progress and total % 16 == 1 and (now := time.monotonic()) - told >= LISTING_SECONDS:
            told = now
            progress.listed(total)
        if len(rows) >= LISTING_ROWS:
            flush()
    flush()
    # Sources may overlap: a file counts once.
    listing.execute("create table listed as select distinct on (path) * from listed_often")
    listing.execute("drop table listed_often")
    count: int = listing.execute("select count(*) from listed").fetchall()[0][0]
    if progress:
        progress.listed(count)
    return count


def _listing_row(item: SourceFile | Unreadable) -> tuple[Any, ...]:
    if isinstance(item, Unreadable):
        return item.path, None, None, None, None, item.reason
    return item.path, item.size_bytes, item.modified_us, item.archive, item.member, None


def _listing(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(LISTING)
    arrays = [pa.array(cells, kind) for cells, kind in zip(columns, LISTING.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LISTING)


def _source(
    path: str, size: int | None, modified: int | None, archive: str | None, member: str | None,
    reason: str | None, *, s3: S3Access,
) -> SourceFile | Unreadable:  # fmt: skip
    if reason is not None or size is None or modified is None:
        return Unreadable(path, reason or "cannot be opened")
    # Keys to a bucket stand in no plan and in no table.
    access = s3 if is_object(path) else None
    return SourceFile(path, size, modified, archive, member, access)
