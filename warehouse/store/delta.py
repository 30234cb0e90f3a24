"""The Delta tables: create them, read one version of all, change all in one commit.

The version of a warehouse is that of its table ``files``. Each commit of ``files`` records the
versions of the other tables that belong to it (its pins), and readers use these versions. ``files``
is committed last, so a reader sees a whole batch or none of it. Commits that a killed writer left
in other tables are rolled back by the next writer.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from warehouse.errors import (
    LockIgnored,
    NotAWarehouse,
    StoreDamaged,
    UnknownVersion,
    WriteFailed,
)
from warehouse.store import layout, locks, tables
from warehouse.store.damage import require_parts, require_totals
from warehouse.store.logs import (
    TOTALS,
    Log,
    Totals,
    log_entry,
    note_commit,
    open_log,
    read_log,
    totals,
    writable,
    written,
)
from warehouse.store.making import (
    DRAFT,
    empty_part,
    log_path,
    make_tables,
    name_tables,
    reach_disk,
    tables_there,
    write_empty_parts,
    write_marker,
)
from warehouse.store.marker import require, require_plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from warehouse.store.layout import Part

_PINS = "dicomWarehousePins"
_NAMED = "dicomWarehouseTables"
"""Key in the log of ``files``: all tables of the version. An entry without it was written by the
first versions of this software, which had six tables and did not change any others."""


_NOTHING = [0, 0, 0]
"""Totals (parts, rows, bytes) of an empty table."""


@dataclass(frozen=True, slots=True)
class Change:
    """Parts that a commit adds to and removes from a table."""

    add: list[Part] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    """Paths of parts, relative to the folder of the table."""
    is_rearranged: bool = False
    """Whether the rows are unchanged and only moved to other parts."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the warehouse: the Parquet files of every table."""

    root: Path
    version: int
    """Version of the table ``files``, which is the version of the warehouse."""
    versions: dict[str, int]
    """Version of every table, including tables that only newer software knows. A table that did not
    exist yet is missing."""
    parts: dict[str, tuple[str, ...]]
    """Table → paths of its parts, relative to the folder of the table; the largest part first."""

    def paths(self, table: str) -> list[str]:
        """Return the absolute paths of the parts of a table, then that of its part without rows.

        The largest part is first, because DuckDB estimates the size of the table as the rows of the
        first file times the number of files, and so chooses which side of a join to keep in memory.
        """
        # Use strings instead of pathlib, whose objects are too slow for thousands of parts.
        folder = str(layout.table_folder(self.root, table))
        return [*(f"{folder}/{part}" for part in self.parts[table]), self.empty(table)]

    def without(self, damaged: Mapping[str, set[str]]) -> Snapshot:
        """Return a snapshot without some parts of some tables."""
        parts = {
            table: tuple(part for part in some if part not in damaged.get(table, ()))
            for table, some in self.parts.items()
        }
        return replace(self, parts=parts)

    def empty(self, table: str) -> str:
        """Return the absolute path of the part without rows, which has the schema of a table."""
        return str(empty_part(self.root, table))


def create(root: Path) -> None:
    """Create an empty warehouse; the call may be repeated after a kill.

    Raises
    ------
    NotAWarehouse
        The path is a file, or a folder with other content.
    UsageError
        The path contains a character that one of the engines interprets.
    """
    require_plain(root)
    marker = root / layout.MARKER
    if os.path.exists(root) and not os.path.isdir(root):
        raise NotAWarehouse(root, "it is a file")
    ours = {
        *tables.names(), "_audit", "_cache", "_empty", "_batches", "_forgotten", "_lock",
        "_writers", DRAFT,
    }  # fmt: skip
    if (
        os.path.isdir(root)
        and not marker.exists()
        and {entry.name for entry in root.iterdir()} - ours
    ):
        raise NotAWarehouse(root, "the folder exists and holds other files; name a new folder")
    try:
        layout.claims_folder(root).mkdir(parents=True, exist_ok=True)
        with locks.locked(root):
            if marker.exists():
                require(root)
                write_empty_parts(root)
                return
            write_empty_parts(root)
            make_tables(root, tables.REGISTRY)
            reach_disk(layout.empty_part(root, table) for table in tables.names())
            # Written last, because it marks the folder as a warehouse.
            about = {"layout": layout.LAYOUT_VERSION, "id": uuid.uuid4().hex}
            write_marker(root, about | {"tables": list(tables.names())})
    except WriteFailed:
        raise
    except OSError as error:
        raise WriteFailed(f"a new warehouse at {root}", error) from error


def snapshot(root: Path, version: int | None = None, *, parts_are_here: bool = True) -> Snapshot:
    """Return the newest complete version of the warehouse, or an older one.

    Checks that the parts exist, except for an older version, whose parts may be vacuumed, and
    except if ``parts_are_here`` is false.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    UnknownVersion
        There is no such version, or its log was cleaned up.
    StoreDamaged
        The logs do not list what was committed.
    """
    require(root)
    # Version numbers in Delta logs have at most 64 bits.
    if version is not None and not 0 <= version < 1 << 63:
        raise UnknownVersion(root, version)
    try:
        files = read_log(root, "files", version)
    except StoreDamaged:
        if version is None:
            raise
        if log_path(root, "files", version).exists():
            read_log(root, "files")
        raise UnknownVersion(root, version) from None
    pins, noted = _pins(root, files.version)
    versions = pins | {"files": files.version}
    parts = {"files": files.parts}
    for table in (name for name in tables.names() if name in pins and name != "files"):
        empty_at = pins[table] if noted.get(table) == _NOTHING else None
        parts[table] = read_log(root, table, pins[table], empty_at=empty_at).parts
    require_totals(root, noted, parts)
    if parts_are_here and version is None:
        for table, listed in parts.items():
            require_parts(root, table, listed)
    return Snapshot(
        root,
        files.version,
        versions,
        {table: tuple(_in_order(parts.get(table, {}))) for table in tables.names()},
    )


def stored_rows(root: Path, table: str) -> int:
    """Return the number of rows of a table, from its log."""
    return totals(read_log(root, table).parts)[1]


def newest_version(root: Path) -> int:
    """Return the newest version of the warehouse."""
    require(root)
    return read_log(root, "files").version


def newest_files(root: Path) -> tuple[int, list[str]]:
    """Return the version of the warehouse and, like ``Snapshot.paths``, the parts of ``files``."""
    require(root)
    folder = layout.table_folder(root, "files")
    files = read_log(root, "files")
    noted = _pins(root, files.version)[1]
    require_totals(root, noted, {"files": files.parts})
    require_parts(root, "files", files.parts)
    parts = [f"{folder}/{part}" for part in _in_order(files.parts)]
    return files.version, [*parts, str(empty_part(root, "files"))]


def newest_parts(root: Path, table: str) -> list[str]:
    """Return the parts of a table at its newest version, which ``files`` may not pin yet."""
    return _in_order(read_log(root, table).parts)


def commit(root: Path, changes: dict[str, Change], base: Snapshot, operation: str) -> None:
    """Commit changes to all tables; the caller holds the lock and has read version ``base``.

    Raises
    ------
    WriteFailed
        A log entry could not be written; readers still see the previous version.
    LockIgnored
        Another writer has committed since ``base``: the file system ignores locks.
    """
    try:
        # Tables that only newer software knows keep their versions.
        held, totals_held = _pins(root, base.version)
        pins = {table: pin for table, pin in held.items() if table not in tables.names()}
        noted = {table: totals_held[table] for table in pins if table in totals_held}
        make_tables(root, (t for t in tables.REGISTRY if t.name not in base.versions))
        write_empty_parts(root)
        name_tables(root)
        reach_disk(
            layout.table_folder(root, table) / part.path
            for table, change in changes.items() for part in change.add
        )  # fmt: skip
        for table in tables.names():
            log = _rolled_back(root, table, base)
            # A killed writer leaves no version of `files`, which is committed last. So this is
            # the commit of another writer, which must not be rolled back.
            if table == "files" and log.version != base.version:
                raise LockIgnored(root)
            change = changes.get(table, Change())
            pins[table] = log.version
            parts = _changed(log.parts, change)
            noted[table] = totals(parts)
            if table == "files" or change.add or change.remove:
                metadata = {
                    "operationName": operation, _PINS: dict(pins), TOTALS: dict(noted),
                    _NAMED: sorted({*pins, "files"}),
                }  # fmt: skip
                opened = writable(root, table)
                if opened.version() != log.version:
                    raise LockIgnored(root)
                pins[table] = _apply(opened, change, metadata)
                reach_disk([log_path(root, table, pins[table])])
                written(root, table, opened, Log(pins[table], parts))
        note_commit(root, pins["files"])
    except CommitFailedError as error:
        # The log accepts each version once, with or without a lock.
        raise LockIgnored(root) from error
    except (OSError, DeltaError) as error:
        raise WriteFailed("the transaction log", error) from error


def _changed(listed: dict[str, tuple[int, int]], change: Change) -> dict[str, tuple[int, int]]:
    """Return path → (bytes, rows) of the parts of a table after a change."""
    kept = {path: facts for path, facts in listed.items() if path not in change.remove}
    return kept | {part.path: (part.size_bytes, part.rows) for part in change.add}


def _pins(root: Path, version: int) -> tuple[dict[str, int], Totals]:
    """Return the pins of a version of ``files``, and the totals of each table recorded with them.

    Early versions of this software, and other tools, recorded no totals. The earliest versions also
    did not pin tables that they did not know; for these tables the preceding pins are valid.

    This reads the log entry itself: ``DeltaTable.history`` reads the newest log for any version,
    and so would mix two versions while another writer commits.
    """
    pins: dict[str, int] = {}
    noted: Totals = {}
    missing: set[str] | None = None
    for number in range(version, 0, -1):
        try:
            actions = log_entry(root, "files", number)
        except FileNotFoundError:
            if missing is None:
                raise UnknownVersion(root, version) from None
            raise StoreDamaged(
                root, f"no remaining version records which rows of {', '.join(missing)} it has"
            ) from None
        for action in actions:
            info = action.get("commitInfo", {})
            # A commit without pins comes from another tool, which left the other tables unchanged.
            if not isinstance(named := info.get(_PINS), dict):
                continue
            found: Totals = dict(info.get(TOTALS) or {})
            if number != version:
                found.pop("files", None)
            pins = named | pins
            noted = found | noted
            if _NAMED in info:
                return pins, noted
            if missing is None:
                missing = tables_there(root) - pins.keys() - {"files"}
            missing -= pins.keys()
            if not missing:
                return pins, noted
    return dict.fromkeys(tables.FIRST, 0) | pins, noted


def _in_order(parts: dict[str, tuple[int, int]]) -> list[str]:
    """Return the parts of a table, the largest first, then the others by name."""
    largest = min(parts, key=lambda part: (-parts[part][0], part), default=None)
    return sorted(parts, key=lambda part: (part != largest, part))


def _rolled_back(root: Path, table: str, base: Snapshot) -> Log:
    """Roll back commits that a killed writer made to a table; return its newest log.

    ``files`` is never rolled back: every commit of it is a version of the warehouse.
    """
    pinned = base.versions.get(table, 0)
    log = read_log(root, table, empty_at=None if base.parts[table] else pinned)
    if table == "files" or set(log.parts) == set(base.parts[table]):
        return log
    open_log(root, table).restore(pinned)
    log = read_log(root, table)
    reach_disk([log_path(root, table, log.version)])
    return log


def _apply(delta: DeltaTable, change: Change, metadata: dict[str, Any]) -> int:
    """Commit a change to one table; return its new version."""
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
    # Without retries the commit is the next version, or fails.
    return delta.version() + 1
