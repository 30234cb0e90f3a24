"""Verify a warehouse: find damaged files, the source files affected, and how to repair them.

In: the folder of a warehouse. Out: ``Verified``. Nothing is written. Sizes, footers and row counts
are compared with the logs. With ``deep``, the bytes of each part are also compared with the digest
in its name, every page is decoded, and every long value is compared with its digest. Parts of older
versions are checked if they still exist: a vacuum may have deleted them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.counted import counted
from warehouse.elements.schema import INLINE_BYTES
from warehouse.errors import StoreDamaged, UnknownVersion
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, tables
from warehouse.store.duck import bound, connect, view_files
from warehouse.store.logs import listed_parts, open_log, read_log, require_every_entry
from warehouse.store.marker import require
from warehouse.store.merge import readable_as_dictionary

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from warehouse.store.delta import Snapshot
    from warehouse.store.tables import StoredTable

THREADS = 2
"""Number of parts read at a time."""

REPAIR = "dicom-warehouse verify --repair reads the files again"
BACKUP = "restore it from a backup"
ANEW = "restore it from a backup, or ingest the sources into a new warehouse"
VACUUM = "no newer version needs it; verify --repair deletes it"
DELETE = "verify --repair deletes it; it is created again"


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged file of a warehouse."""

    what: str
    """Path of the file, relative to the warehouse."""
    why: str
    mends: str
    table: str | None = None
    """Table to which the file belongs, if it is a part of the newest version."""
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Touched:
    """A source file with damaged rows."""

    path: str
    mode: str
    series: str | None


@dataclass(frozen=True, slots=True)
class Verified:
    """Result of a verification."""

    version: int = 0
    is_deep: bool = False
    parts: int = 0
    """Number of parts of the newest version."""
    rows: int = 0
    size_bytes: int = 0
    older_parts: int = 0
    """Number of existing parts that only older versions reference."""
    without_digest: int = 0
    """Number of parts without a digest, written by older software; their bytes are not compared."""
    versions: int = 0
    """Number of versions whose parts all exist, including the newest."""
    cleaned: list[int] = field(default_factory=list)
    """Older versions with missing parts, as after a vacuum."""
    runs: int = 0
    """Number of cohort runs whose members were compared with their digest."""
    runs_forgotten: int = 0
    """Number of runs with forgotten members, whose digest cannot be compared any more."""
    damaged: list[Damage] = field(default_factory=list)
    touched: list[Touched] = field(default_factory=list)
    """Source files whose rows are damaged."""
    unclear: list[str] = field(default_factory=list)
    """Damaged parts whose source files cannot be determined."""
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    @property
    def series(self) -> list[str]:
        """Series affected by the damage."""
        return sorted({file.series for file in self.touched if file.series})

    def __repr__(self) -> str:
        """Return the result as one line."""
        state = "whole" if self.is_whole else f"{len(self.damaged)} damaged"
        return f"<Verified version {self.version}, {counted(self.parts, 'part')}: {state}>"


def verify(root: Path, *, deep: bool = False) -> Verified:
    """Check that a warehouse has everything that was committed, undamaged.

    Parameters
    ----------
    root
        Folder of the warehouse.
    deep
        Read every byte and decode every page; otherwise check only sizes, footers and row counts.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    """
    require(root)
    started = time.monotonic()
    try:
        for table in tables.names():
            require_every_entry(root, table)
        snapshot = delta.snapshot(root, parts_are_here=False)
        # Read the logs again, even if this process has cached them.
        facts = {
            table: listed_parts(root, table, open_log(root, table, version))
            for table, version in snapshot.versions.items() if table in tables.names()
        }  # fmt: skip
    except StoreDamaged as error:
        found = [Damage(error.what, "what the logs name is not what was committed", ANEW)]
        return Verified(is_deep=deep, damaged=found, seconds=_since(started))
    damaged = _damaged_parts(root, facts, deep=deep)
    damaged += [
        Damage(str(empty.relative_to(root)), why, "any ingest creates it again")
        for empty in (layout.empty_part(root, table) for table in facts)
        if (why := _why_unreadable(empty, None, deep=False))
    ]
    versions, cleaned, older = _older(root, snapshot, facts)
    damaged += _damaged_older(root, older, deep=deep)
    damaged += _damaged_answers(root, deep=deep)
    bad: dict[str, set[str]] = {}
    for damage in damaged:
        if damage.table and damage.part:
            bad.setdefault(damage.table, set()).add(damage.part)
    touched, unclear = _touched(snapshot, bad)
    every = [(part, fact) for parts in facts.values() for part, fact in parts.items()]
    return Verified(
        version=snapshot.version, is_deep=deep, parts=len(every),
        rows=sum(rows for _, (_, rows) in every), size_bytes=sum(size for _, (size, _) in every),
        older_parts=len(older),
        without_digest=sum(layout.digest_of_part(part) is None for part, _ in every),
        versions=versions, cleaned=cleaned, damaged=damaged, touched=touched, unclear=unclear,
        seconds=_since(started),
    )  # fmt: skip


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _damaged_parts(
    root: Path, facts: dict[str, dict[str, tuple[int, int]]], *, deep: bool
) -> list[Damage]:
    asked = [(table, part, fact) for table, parts in facts.items() for part, fact in parts.items()]
    # Largest parts first, so that all threads end at about the same time.
    asked.sort(key=lambda one: -one[2][0])

    def look(one: tuple[str, str, tuple[int, int]]) -> Damage | None:
        table, part, fact = one
        path = layout.table_folder(root, table) / part
        why = _why_unreadable(path, fact, deep=deep, table=tables.named(table))
        mends = REPAIR if table != "files" and not tables.named(table).is_appended else ANEW
        return Damage(f"{table}/{part}", why, mends, table, part) if why else None

    with ThreadPoolExecutor(THREADS) as threads:
        return sorted(filter(None, threads.map(look, asked)), key=lambda damage: damage.what)


def _why_unreadable(
    path: Path, fact: tuple[int, int] | None, *, deep: bool, table: StoredTable | None = None
) -> str | None:
    """Return what is wrong with a part, or None; ``fact`` is its committed (bytes, rows)."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or path.parent.is_symlink():
            return "it is a link or not a regular file"
        if fact is not None and status.st_size != fact[0]:
            return f"it has {status.st_size:,} bytes, {fact[0]:,} were committed"
        rows = pq.read_metadata(path).num_rows
        if fact is not None and rows != fact[1]:
            return f"it has {rows:,} rows, {fact[1]:,} were committed"
        if deep:
            return _why_not_as_written(path) or _why_undecodable(path, table)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        # Arrow raises OSError for files that are not Parquet.
        return f"it cannot be read{f' ({os.strerror(error.errno)})' if error.errno else ''}"
    except (pa.ArrowException, ValueError):
        return "it cannot be read"
    return None


def _why_not_as_written(path: Path) -> str | None:
    digest = layout.digest_of_part(path.name)
    if digest is None:
        return None
    with path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == digest
    return None if same else "its bytes are not those that were written (sha256)"


def _why_undecodable(path: Path, table: StoredTable | None) -> str | None:
    """Decode every page, and compare each long value with its digest."""
    metadata = pq.read_metadata(path)
    coded = readable_as_dictionary(metadata, table.schema) if table else []
    has_long = table is not None and table.has_long_values
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=coded) as parquet:
        for batch in parquet.iter_batches(512 if has_long else 122_880, use_threads=False):
            if not has_long:
                continue
            for digest, value in zip(batch["sha256"], batch["bytes"], strict=True):
                if hashlib.sha256(value.as_buffer()).hexdigest() != digest.as_py():
                    return "a long value in it is not that of its digest"
    return None


def _older(
    root: Path, newest: Snapshot, facts: dict[str, dict[str, tuple[int, int]]]
) -> tuple[int, list[int], dict[str, int]]:
    """Return the number of complete versions, the incomplete ones, and older parts → bytes."""
    log = layout.table_folder(root, "files") / "_delta_log"
    numbers = sorted(int(path.stem) for path in log.glob("*.json") if path.stem.isdecimal())
    here = {
        f"{table}/{path.parent.name}/{path.name}"
        for table in facts
        for path in layout.table_folder(root, table).glob("batch=*/*.parquet")
    }
    named = {f"{table}/{part}" for table, parts in facts.items() for part in parts}
    older: dict[str, int] = {}
    whole, cleaned = 1, list[int]()
    known: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for number in numbers:
        if number >= newest.version:
            continue
        try:
            version = delta.snapshot(root, number, parts_are_here=False)
            for table, pin in version.versions.items():
                if table in facts and (table, pin) not in known:
                    # Use the log that the snapshot has read; opening it again takes as long.
                    known[table, pin] = read_log(root, table, pin).parts
        except (StoreDamaged, UnknownVersion):
            cleaned.append(number)
            continue
        is_whole = True
        for table, pin in version.versions.items():
            for part, (size, _) in known.get((table, pin), {}).items():
                key = f"{table}/{part}"
                if key not in here:
                    is_whole = False
                elif key not in named:
                    older[key] = size
        whole += is_whole
        if not is_whole:
            cleaned.append(number)
    return whole, cleaned, older


def _damaged_older(root: Path, older: dict[str, int], *, deep: bool) -> list[Damage]:
    found = []
    for part, size in sorted(older.items()):
        path = root / part
        try:
            why = (
                f"it has {path.stat().st_size:,} bytes, {size:,} were committed"
                if path.stat().st_size != size
                else (_why_not_as_written(path) if deep else None)
            )
        except FileNotFoundError:
            continue
        if why:
            found.append(Damage(part, why, VACUUM))
    return found


def _damaged_answers(root: Path, *, deep: bool) -> list[Damage]:
    return [
        Damage(str(path.relative_to(root)), why, DELETE)
        for path in sorted(layout.cache_folder(root).glob("[!.]*/*.parquet"))
        if (why := _why_unreadable(path, None, deep=deep))
    ]


def _touched(snapshot: Snapshot, bad: dict[str, set[str]]) -> tuple[list[Touched], list[str]]:
    """Return the source files with rows in damaged parts, and the parts whose files are unknown."""
    unclear = sorted(
        f"{table}/{part}"
        for table, parts in bad.items() for part in parts
        if "files" in bad or tables.named(table).is_appended
    )  # fmt: skip
    if not bad or "files" in bad:
        return [], unclear
    left = snapshot.without(bad)
    with connect() as connection:
        bound(connection)
        view_files(connection, left.paths("files"))
        connection.execute("create temp table harmed (instance_id bigint)")
        for table, parts in bad.items():
            _note_harmed(connection, left, tables.named(table), parts)
        connection.execute("set variable instances = $1", [left.paths("instances")])
        rows = connection.execute(statement("touched_by_damage")).fetchall()
    return [Touched(*row) for row in rows], unclear


def _note_harmed(
    connection: duckdb.DuckDBPyConnection, left: Snapshot, table: StoredTable, bad: set[str]
) -> None:  # fmt: skip
    connection.execute("set variable left_parts = $1", [left.paths(table.name)])
    connection.execute("set variable inline_bytes = $1", [INLINE_BYTES])
    connection.execute("set variable elements = $1", [left.paths("elements")])
    connection.execute("set variable payloads = $1", [left.paths("vendor_payloads")])
    connection.execute("set variable is_kept_in_minimal = $1", [table.name == "instances"])
    if table.name in {"elements", "instances"}:
        select = statement("lost_rows")
    elif table.has_long_values:
        select = statement("lost_blobs")
    elif table.goes_with == "payload":
        select = statement("lost_values")
    elif table.goes_with == "instance_id":
        # Not every instance has rows in a part: accept all batches that a merged part may contain.
        first = min(layout.first_id(layout.batch_of_part(part)) for part in bad)
        select = (
            f"select instance_id from files where status = 'ingested' and instance_id >= {first}"
        )
    else:
        return
    connection.execute(f"insert into harmed {select}")
