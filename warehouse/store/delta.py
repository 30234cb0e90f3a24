"""The Delta tables: created, read at a version, changed in one commit.

A warehouse has one version, that of its table ``files``: each of its commits names the versions
of the other tables that belong to it, and readers follow these pins. Tables are committed first
and ``files`` last, so a reader sees a whole batch or none of it, and what a killed writer left
behind is taken back by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from warehouse.errors import (
    LockIgnored,
    NotAWarehouse,
    UnknownVersion,
    WriteFailed,
)
from warehouse.store import layout
from warehouse.store.marker import require, require_plain
from warehouse.store.schema import stored_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.store.layout import Part

_PINS = "dicomWarehousePins"
_PARTITION = pa.field("batch", pa.string())


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit does to one table."""

    add: list[Part] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    """Paths of parts, relative to the folder of the table."""
    is_rearranged: bool = False
    """The rows are the same as before, in other parts."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the warehouse: the Parquet files of every table."""

    root: Path
    version: int
    """Version of the table ``files``, which is the version of the warehouse."""
    versions: dict[str, int]
    parts: dict[str, tuple[str, ...]]
    """Table → paths of its parts, relative to the folder of the table; the largest first."""

    def paths(self, table: str) -> list[str]:
        """Return absolute paths of the parts of a table, then that of the one without rows.

        DuckDB takes the rows of the first file, times the number of files, for the size of the
        table, and so decides which side of a join it holds in memory.
        """
        # Not by pathlib: there are thousands of parts, and each would cost more than its name.
        folder = str(layout.table_folder(self.root, table))
        return [*(f"{folder}/{part}" for part in self.parts[table]), self.empty(table)]

    def empty(self, table: str) -> str:
        """Return the absolute path of the part without rows, which has the schema of a table."""
        return str(layout.empty_part(self.root, table))


def create(root: Path) -> None:
    """Make an empty warehouse; safe to repeat if an earlier attempt was killed.

    Raises
    ------
    NotAWarehouse
        The path is a file, or a folder that holds something else.
    UsageError
        The path holds a character that has a meaning for one of the engines.
    """
    require_plain(root)
    marker = root / layout.MARKER
    if root.exists() and not root.is_dir():
        raise NotAWarehouse(root, "it is a file")
    draft = root / f"_{layout.MARKER}"
    ours = {*layout.TABLES, "_cache", "_empty", "_batches", "_lock", "_writers", draft.name}
    if root.is_dir() and not marker.exists() and {entry.name for entry in root.iterdir()} - ours:
        raise NotAWarehouse(root, "the folder exists and holds other files; name a new folder")
    try:
        layout.claims_folder(root).mkdir(parents=True, exist_ok=True)
        with locked(root):
            if marker.exists():
                return
            for table, schema in stored_schemas().items():
                empty = layout.empty_part(root, table)
                empty.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(schema.empty_table(), empty)
                DeltaTable.create(
                    str(layout.table_folder(root, table)),
                    schema.append(_PARTITION),
                    mode="ignore",
                    partition_by=["batch"],
                    name=table,
                    description=f"dicom-warehouse, storage layout {layout.LAYOUT_VERSION}",
                )
            # Renamed, so that a full disk leaves no marker rather than an empty one.
            about = {"layout": layout.LAYOUT_VERSION, "id": uuid.uuid4().hex}
            draft.write_text(json.dumps(about) + "\n")
            draft.replace(marker)
    except OSError as error:
        raise WriteFailed(f"a new warehouse at {root}", error) from error


def snapshot(root: Path, version: int | None = None) -> Snapshot:
    """Return the newest complete version of the warehouse, or an older one.

    Parts that only an older version names may be vacuumed.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    UnknownVersion
        There is no such version, or its log was cleaned away.
    """
    require(root)
    folder = str(layout.table_folder(root, "files"))
    try:
        files = DeltaTable(folder, version=version)
    except DeltaError:
        if version is None:
            raise
        raise UnknownVersion(root, version) from None
    versions = _pins(root, files.version()) | {"files": files.version()}
    tables = {
        table: files if table == "files" else _at(root, table, versions[table])
        for table in layout.TABLES
    }
    return Snapshot(
        root,
        files.version(),
        versions,
        {table: tuple(_part_paths(delta)) for table, delta in tables.items()},
    )


def stored_rows(root: Path, table: str) -> int:
    """Return how many rows a table has, as its log says."""
    delta = DeltaTable(str(layout.table_folder(root, table)))
    return sum(pa.table(delta.get_add_actions(flatten=True)).column("num_records").to_pylist())


def newest_files(root: Path) -> tuple[int, list[str]]:
    """Return the version of the warehouse and, like ``Snapshot.paths``, the parts of ``files``."""
    require(root)
    folder = layout.table_folder(root, "files")
    files = DeltaTable(str(folder))
    parts = [str(folder / part) for part in _part_paths(files)]
    return files.version(), [*parts, str(layout.empty_part(root, "files"))]


def newest_parts(root: Path, table: str) -> list[str]:
    """Return the parts of a table at its own newest version, committed as a whole or not."""
    return _part_paths(DeltaTable(str(layout.table_folder(root, table))))


def commit(root: Path, changes: dict[str, Change], base: Snapshot, operation: str) -> None:
    """Apply changes to all tables; the caller holds the lock and worked from ``base``.

    Raises
    ------
    WriteFailed
        A log entry could not be written; the version before stays what readers see.
    LockIgnored
        Another writer has committed since ``base``, which the lock should have kept from it.
    """
    pins = {}
    try:
        for table in layout.TABLES:
            delta = _taken_back(root, table, base)
            # Whatever a killed writer left, it is not a version: `files` comes last. So this is
            # the work of someone, and taking it back would lose it.
            if table == "files" and delta.version() != base.version:
                raise LockIgnored(root)
            change = changes.get(table, Change())
            pins[table] = delta.version()
            if table == "files" or change.add or change.remove:
                metadata = {"operationName": operation, _PINS: dict(pins)}
                _apply(delta, change, metadata)
                pins[table] = delta.version()
    except CommitFailedError as error:
        # The log takes each version once, with or without a lock.
        raise LockIgnored(root) from error
    except (OSError, DeltaError) as error:
        raise WriteFailed("the transaction log", error) from error


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the writer's lock of a warehouse; waits for another writer on this machine."""
    descriptor = os.open(root / "_lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Tell that parts without a commit belong to someone; any number of writers may do so at once.

    The system takes the lock from a process that was killed, so what is left over has no owner.
    """
    descriptor = os.open(root / "_writers", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def no_writers(root: Path) -> Iterator[bool]:
    """Keep new writers waiting and give True; give False at once if one is running."""
    descriptor = os.open(root / "_writers", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def claim_batch(root: Path, plan: bytes = b"") -> str:
    """Take the next batch number, with what is planned for it; no other writer gets the same one.

    The claim appears whole or not at all: it is linked, not written, under its name.
    """
    folder = layout.claims_folder(root)
    number = max((int(name) for name in os.listdir(folder) if name.isdecimal()), default=0)
    draft = folder / f".{uuid.uuid4().hex}"
    try:
        draft.write_bytes(plan)
        while True:
            number += 1
            try:
                os.link(draft, folder / layout.batch_name(number))
            except FileExistsError:
                continue
            return layout.batch_name(number)
    except OSError as error:
        raise WriteFailed("a batch number", error) from error
    finally:
        draft.unlink(missing_ok=True)


def _at(root: Path, table: str, version: int) -> DeltaTable:
    return DeltaTable(str(layout.table_folder(root, table)), version=version)


def _pins(root: Path, version: int) -> dict[str, int]:
    """Return the versions of the other tables that a version of ``files`` names.

    From the entry of the log itself: ``DeltaTable.history`` reads the newest log whatever the
    version, and so would mix two versions while another writer commits.
    """
    log = layout.table_folder(root, "files") / "_delta_log"
    for number in range(version, 0, -1):
        try:
            entry = (log / f"{number:020d}.json").read_text(encoding="utf-8")
        except OSError:
            raise UnknownVersion(root, version) from None
        for line in entry.splitlines():
            pins: dict[str, int] | None = json.loads(line).get("commitInfo", {}).get(_PINS)
            if pins is not None:
                return pins
        # A commit of another tool, which left the other tables as they were.
    return dict.fromkeys(layout.TABLES, 0)


def _part_paths(delta: DeltaTable) -> list[str]:
    """Return the parts of a table, the largest first, the others in the order of their names."""
    actions = pa.table(delta.get_add_actions())
    sizes = dict(
        zip(*(actions.column(name).to_pylist() for name in ("path", "size_bytes")), strict=True)
    )
    largest = min(sizes, key=lambda part: (-sizes[part], part), default=None)
    return sorted(sizes, key=lambda part: (part != largest, part))


def _taken_back(root: Path, table: str, base: Snapshot) -> DeltaTable:
    """Open a table at its newest version, without what a killed writer committed to it alone.

    Of ``files`` nothing is taken back: what is committed to it is a version, and not left over.
    """
    delta = DeltaTable(str(layout.table_folder(root, table)))
    if table == "files":
        return delta
    if set(_part_paths(delta)) != set(base.parts[table]):
        delta.restore(base.versions[table])
        delta = DeltaTable(str(layout.table_folder(root, table)))
    return delta


def _apply(delta: DeltaTable, change: Change, metadata: dict[str, Any]) -> None:
    now = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        AddAction(
            path=part.path,
            size=part.size_bytes,
            partition_values={"batch": layout.batch_of_part(part.path)},
            modification_time=now,
            data_change=not change.is_rearranged,
            stats=json.dumps({"numRecords": part.rows}),
        )
        for part in change.add
    ]
    actions += [
        RemoveAction(
            path,
            not change.is_rearranged,
            now,
            partition_values={"batch": layout.batch_of_part(path)},
        )
        for path in change.remove
    ]
    delta.create_write_transaction(
        actions,
        "append",
        delta.schema(),
        partition_by=["batch"],
        commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
    )
    delta.update_incremental()
