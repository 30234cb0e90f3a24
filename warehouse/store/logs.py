"""Read the logs of the Delta tables, cached and checked for gaps.

In: the folder of a warehouse, a table, a version. Out: ``Log``, the parts of that version; or
``StoreDamaged`` if a log is missing or has a gap or an empty entry. Results are cached as long as
the files they were read from are unchanged, so a process that commits small batches, such as a
listener, opens no table twice.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from warehouse.errors import StoreDamaged, StoreUnreadable, WriteFailed
from warehouse.store import layout
from warehouse.store.making import reach_disk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOTALS = "dicomWarehouseTotals"
"""Key in the log of ``files``: table → parts, rows and bytes of the version."""

Totals = dict[str, list[int]]

_PART = re.compile(r"batch=[0-9]+/[^/\\]+\.parquet")
_NOTES_KEPT = 100
_LOGS_KEPT = 128
"""A warehouse has some twenty: those of a few versions of two are not read again in between."""

_CHECKPOINT_EVERY = 20
"""Versions between checkpoints. Delta's default is 100; reading that many entries takes longer
than a commit."""

_Found = tuple[tuple[str, int, int, int], ...]
_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class Log:
    """State of a table at a version, from its log."""

    version: int
    parts: dict[str, tuple[int, int]]
    """Path of a part → its size in bytes and its number of rows."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """The files of a log from which a version is read, to detect changes."""

    version: int
    """The version; -1 if there is none."""
    newest_noted: int
    """Newest version that has a commit marker (``note_commit``); -1 without any."""
    checkpoint: int
    """Version of the checkpoint that the entries begin with; -1 without one."""
    found: _Found
    """Name, size and modification times of each file."""


_read: OrderedDict[tuple[str, str, int], tuple[_Found, Log]] = OrderedDict()
"""Cache of logs read by this process, each with the files it was read from; valid while these are
unchanged. Without it a process would read the logs of all tables several times per commit."""
_open: OrderedDict[tuple[str, str, int], tuple[_Found, DeltaTable]] = OrderedDict()
"""Cache of tables that this process has written to, each in its state before the write. The next
write takes the table out and updates it from its log, which is faster than opening it again."""
_reading = threading.Lock()


def read_log(
    root: Path, table: str, version: int | None = None, *, empty_at: int | None = None
) -> Log:
    """Return the state of a table at its newest version, or at an older one.

    Parameters
    ----------
    empty_at
        Version at which the table is known to have no parts. For that version, only check that its
        log entry exists and is complete.

    Raises
    ------
    StoreDamaged
        As ``open_log``.
    """
    entries = _stat_entries(root, table, version)
    key = (str(root), table, entries.version)
    with _reading:
        kept = _read.get(key)
    is_asked_for = (
        entries.newest_noted <= entries.version if version is None else entries.version == version
    )
    if kept is not None and kept[0] == entries.found and is_asked_for:
        return kept[1]
    # A new table has no checkpoint.
    known = entries.version in {0, empty_at}
    if is_asked_for and known and _is_empty(root, table, entries.version):
        log = Log(entries.version, {})
    else:
        found = open_log(root, table, version)
        log = Log(found.version(), listed_parts(root, table, found))
    if log.version == entries.version:
        with _reading:
            _keep(_read, key, (entries.found, log))
    return log


def writable(root: Path, table: str) -> DeltaTable:
    """Return a Delta table at its newest version, for writing; the caller holds the lock.

    Raises
    ------
    StoreDamaged
        As ``open_log``.
    """
    entries = _stat_entries(root, table)
    with _reading:
        kept = _open.pop((str(root), table, entries.version), None)
    if kept is not None and kept[0] == entries.found and entries.newest_noted <= entries.version:
        with suppress(DeltaError, OSError, ValueError):
            kept[1].update_incremental()
            if kept[1].version() == entries.version:
                return kept[1]
    return open_log(root, table)


def written(root: Path, table: str, opened: DeltaTable, log: Log) -> None:
    """Cache the state that was just committed to a table, so that it need not be read again.

    Also writes a checkpoint every few versions, because the cost of reading and writing an entry
    grows with the number of entries since the last checkpoint.

    Parameters
    ----------
    opened
        The table in its state before the commit.
    log
        The new state; it is known without reading, because the writer holds the lock.
    """
    try:
        if log.version % _CHECKPOINT_EVERY == 0:
            opened.update_incremental()
            opened.create_checkpoint()
        entries = _stat_entries(root, table)
        if entries.checkpoint == log.version:
            # Delta also writes checkpoints itself, without fsync.
            folder = layout.table_folder(root, table) / "_delta_log"
            name = f"{log.version:020}.checkpoint.parquet"
            reach_disk([folder / name, folder / "_last_checkpoint"])
    except (DeltaError, OSError, StoreDamaged):
        # The checkpoint was written; the next reader will report any error in reading it.
        return
    key = (str(root), table, log.version)
    if log.version == entries.version:
        with _reading:
            _keep(_read, key, (entries.found, log))
            # A table opened before a checkpoint keeps every later entry in memory.
            if entries.checkpoint < log.version:
                _keep(_open, key, (entries.found, opened))


def _keep(among: OrderedDict[_Key, _Kept], key: _Key, value: _Kept) -> None:
    among[key] = value
    among.move_to_end(key)
    while len(among) > _LOGS_KEPT:
        among.popitem(last=False)


def _is_empty(root: Path, table: str, version: int) -> bool:
    """Return whether an entry exists and adds no part; the first entry must have a schema."""
    try:
        actions = log_entry(root, table, version)
    except FileNotFoundError:
        return False
    kinds = {kind for action in actions for kind in action}
    return "add" not in kinds and (version > 0 or {"protocol", "metaData"} <= kinds)


def open_log(root: Path, table: str, version: int | None = None) -> DeltaTable:
    """Open a Delta table.

    Raises
    ------
    StoreDamaged
        The log is missing, has a gap or an empty entry, cannot be read, or ends before the newest
        committed version.
    """
    # List before opening the log; the next call will read a commit made in between.
    newest = _stat_entries(root, table, version).newest_noted
    try:
        found = DeltaTable(str(layout.table_folder(root, table)), version=version)
    except (DeltaError, OSError, ValueError) as error:
        # Do not quote the parser's error: it contains the damaged text.
        why = "has a gap" if "contiguous" in str(error) else "cannot be read"
        raise StoreDamaged(root, f"the log {table}/_delta_log {why}") from error
    if version is None and newest > found.version():
        raise StoreDamaged(
            root, f"entry {newest} of the log {table}/_delta_log, which was committed, is missing"
        )
    return found


def _stat_entries(root: Path, table: str, version: int | None = None) -> _Entries:
    """Stat the entries from which a version is read: those since the preceding checkpoint.

    Raises
    ------
    StoreDamaged
        An entry is empty, or there is no log.
    StoreUnreadable
    """
    log = f"{layout.table_folder(root, table)}/_delta_log"
    newest_noted = -1
    try:
        # Do not sort: there may be thousands of names, listed several times per commit.
        names = os.listdir(log)
        notes = [name for name in names if name.endswith(".committed")]
        if notes:
            newest_noted = int(max(notes)[:20])
        entries = [name for name in names if name.endswith(".json") and name[:20].isdecimal()]
        if version is not None:
            entries = [name for name in entries if name <= f"{version:020}.json"]
        newest = int(max(entries)[:20]) if entries else -1
        checkpoints = [name for name in names if name.endswith(".checkpoint.parquet")]
        checkpoint = max((n for n in checkpoints if n < f"{newest + 1:020}"), default="")
        entries = sorted(name for name in entries if name > checkpoint)
        if f"{checkpoint[:20]}.json" in entries:
            entries = entries[1:]
        found = []
        for name in filter(None, (checkpoint, *entries)):
            status = os.stat(f"{log}/{name}")
            if not status.st_size:
                raise _emptied(root, table, name)
            found.append((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except PermissionError as error:
        raise StoreUnreadable(root, f"the log {table}/_delta_log") from error
    except OSError as error:
        raise StoreDamaged(
            root, f"the log {table}/_delta_log cannot be read ({error.strerror})"
        ) from error
    return _Entries(newest, newest_noted, int(checkpoint[:20] or -1), tuple(found))


def _emptied(root: Path, table: str, entry: str) -> StoreDamaged:
    return StoreDamaged(root, f"entry {int(entry[:20])} of the log {table}/_delta_log is empty")


def require_every_entry(root: Path, table: str) -> None:
    """Check that no entry of a log is empty, including those that only old versions need.

    Raises
    ------
    StoreDamaged
    """
    folder = layout.table_folder(root, table) / "_delta_log"
    for path in sorted(folder.glob("*.json")):
        if path.stem.isdecimal() and not path.stat().st_size:
            raise _emptied(root, table, path.name)


def note_commit(root: Path, version: int) -> None:
    """Create the marker of a committed version beside the log, so that a lost entry is detected."""
    log = layout.table_folder(root, "files") / "_delta_log"
    try:
        (log / f"{version:020}.committed").touch()
        (log / f"{version - _NOTES_KEPT:020}.committed").unlink(missing_ok=True)
    except OSError as error:
        raise WriteFailed("the note of a commit", error) from error


def log_entry(root: Path, table: str, version: int) -> list[dict[str, Any]]:
    """Return the actions of a log entry.

    Raises
    ------
    FileNotFoundError
        There is no such entry, which is possible for old versions.
    StoreDamaged
    """
    path = layout.table_folder(root, table) / "_delta_log" / f"{version:020d}.json"
    try:
        actions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise StoreDamaged(root, f"{path.relative_to(root)} cannot be read") from error
    if not actions or not all(isinstance(action, dict) for action in actions):
        raise StoreDamaged(root, f"{path.relative_to(root)} is not a log entry")
    return actions


def operation(root: Path, table: str, version: int) -> str:
    """Return the operation that made a version of a table; empty if another tool made it.

    Raises
    ------
    FileNotFoundError, StoreDamaged
        See ``log_entry``.
    """
    infos = (action.get("commitInfo") or {} for action in log_entry(root, table, version))
    return next((str(info["operationName"]) for info in infos if "operationName" in info), "")


def listed_parts(root: Path, table: str, delta: DeltaTable) -> dict[str, tuple[int, int]]:
    """Return the parts that a log lists: path → bytes and rows.

    Raises
    ------
    StoreDamaged
        It lists a file outside of the folder of its table.
    """
    # Avoid `pa.table`: to recognize pandas frames it imports pandas, if installed, which takes as
    # long as the rest of a query.
    actions = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()
    columns = (actions.column(name).to_pylist() for name in ("path", "size_bytes", "num_records"))
    parts = {path: (size, rows or 0) for path, size, rows in zip(*columns, strict=True)}
    for path in parts:
        if not _PART.fullmatch(path):
            raise StoreDamaged(
                root, f"the log {table}/_delta_log names a file that is not a part of {table}"
            )
    return parts


def totals(parts: Mapping[str, tuple[int, int]]) -> list[int]:
    """Return the numbers of parts, rows and bytes."""
    return [
        len(parts), sum(rows for _, rows in parts.values()), sum(size for size, _ in parts.values())
    ]  # fmt: skip
