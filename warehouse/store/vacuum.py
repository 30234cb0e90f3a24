"""Vacuum: delete the parts that no recent version needs.

In: the folder of a warehouse, and the retention of versions. Out: ``Vacuumed``. Two kinds of parts
are not needed: parts that a commit removed, as soon as no reader uses an earlier version, and parts
of a writer that was killed before its commit. Materialized views of older versions are deleted,
too.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING
from urllib.parse import unquote

from warehouse.errors import UsageError, WriteFailed
from warehouse.store import delta, layout, locks, tables
from warehouse.store.logs import require_every_entry
from warehouse.store.marker import require
from warehouse.store.value_names import named_values

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.store.delta import Snapshot

RETENTION = dt.timedelta(days=7)
"""Time for which a version stays readable after the next one; no query or ingest takes longer."""

LONGEST = dt.timedelta(days=30)
"""Time for which the tables keep their logs; the parts of older versions are unknown."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A part that no recent version references."""

    table: str
    part: str
    """Relative to the folder of the table."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Parts that a vacuum deleted, or would delete."""

    spare: list[Spare] = field(default_factory=list)
    in_use: int = 0
    """Number of unreferenced parts that are kept because they may belong to a running writer."""
    is_done: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of all spare parts."""
        return sum(part.size_bytes for part in self.spare)


def vacuum(root: Path, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
    """Find the parts that no recent version references; with ``delete`` delete them.

    A part is kept if any of these conditions holds:

    - The newest version of the warehouse, or of the part's table, references it.
    - A commit within ``retention`` added or removed it, so a reader may have a version open that
      references it. A commit counts as at least as recent as every earlier one, so setting the
      clock back makes no commit older.
    - The file itself is younger than ``retention``, or has a time in the future.
    - A writer is running, and no commit in the logs references the part, so the writer may be about
      to commit it. Writers hold a lock while they have uncommitted parts; the operating system
      releases it if a writer is killed, and no writer can start while parts are deleted.

    A reader that still queries a version older than the retention gets an error that names a
    missing file, never wrong rows. After reopening it sees the newest version.

    Parameters
    ----------
    root
        Folder of the warehouse.
    retention
        Time for which a version stays readable after the next one was committed.
    delete
        Delete the parts; otherwise they are only listed.

    Raises
    ------
    UsageError
        The retention is negative, or longer than the logs are kept.
    WriteFailed
        A part could not be deleted. Parts deleted before were not needed.
    """
    if not dt.timedelta(0) <= retention <= LONGEST:
        raise UsageError(f"the retention must be 0 to {LONGEST.days} days, for which logs are kept")
    require(root)
    cutoff = time.time() - retention.total_seconds()
    with locks.no_writers(root) as alone, locks.locked(root):
        snapshot = delta.snapshot(root)
        spare: list[Spare] = []
        in_use = 0
        for table in (name for name in tables.names() if name in snapshot.versions):
            require_every_entry(root, table)
            found, owned = _spare(snapshot, table, cutoff, alone=alone)
            spare += found
            in_use += owned
        spare += _old_answers(snapshot, cutoff)
        spare += _values_of_none(snapshot, cutoff, alone=alone)
        if delete:
            _delete(root, spare, alone=alone)
            _drop_empty_drafts(root, cutoff)
    return Vacuumed(spare, in_use, is_done=delete)


def _spare(
    snapshot: Snapshot, table: str, cutoff: float, *, alone: bool
) -> tuple[list[Spare], int]:
    """Return the spare parts of a table, and the number of others that a running writer may own."""
    folder = layout.table_folder(snapshot.root, table)
    named = set(snapshot.parts[table]) | set(delta.newest_parts(snapshot.root, table))
    recent, ever = _logged(folder, cutoff)
    spare, in_use = [], 0
    for part, status in _parts(folder):
        if part in named or part in recent or status.st_mtime > cutoff:
            continue
        if alone or part in ever:
            spare.append(Spare(table, part, status.st_size))
        else:
            in_use += 1
    return spare, in_use


def _parts(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return the Parquet files in the folder of a table."""
    return [
        (f"{batch.name}/{entry.name}", entry.stat(follow_symlinks=False))
        for batch in os.scandir(folder)
        if batch.name.startswith("batch=") and batch.is_dir(follow_symlinks=False)
        for entry in os.scandir(batch)
        if entry.name.endswith(".parquet") and entry.is_file(follow_symlinks=False)
    ]


def _old_answers(snapshot: Snapshot, cutoff: float) -> list[Spare]:
    """Return caches of other versions, and partial ones left by killed processes.

    The age of a cache is the time since the next one was written; until then its version was the
    newest. File times cannot be used, because a file may be linked into caches of many versions.
    """
    folder = layout.cache_folder(snapshot.root)
    newest = f"{snapshot.versions['instances']:012d}"
    answers = sorted(
        (
            entry
            for entry in (os.scandir(folder) if folder.exists() else ())
            if entry.is_dir(follow_symlinks=False)
        ),
        key=lambda entry: entry.name,
    )
    spare: list[Spare] = []
    for answer, following in zip_longest(answers, answers[1:]):
        if answer.name.partition("-")[0] == newest:
            continue
        ended = answer.stat(follow_symlinks=False).st_mtime
        if following is not None and not answer.name.startswith("."):
            ended = max(ended, following.stat(follow_symlinks=False).st_mtime)
        if ended <= cutoff:
            spare += [
                Spare(folder.name, f"{answer.name}/{entry.name}", entry.stat().st_size)
                for entry in os.scandir(answer)
            ]
    return spare


def _drop_empty_drafts(root: Path, cutoff: float) -> None:
    """Delete folders of caches whose process was killed before it wrote a file."""
    for draft in layout.cache_folder(root).glob(".*"):
        with suppress(OSError):
            if draft.stat(follow_symlinks=False).st_mtime <= cutoff:
                draft.rmdir()


def _values_of_none(snapshot: Snapshot, cutoff: float, *, alone: bool) -> list[Spare]:
    """Return value files that no row references, left by killed writers."""
    folder = snapshot.root / layout.VALUES
    if not alone or not folder.is_dir():
        return []
    named = named_values(snapshot)
    return [
        Spare(folder.name, os.path.relpath(entry.path, folder), status.st_size)
        for below in (folder, *(f for f in folder.iterdir() if f.is_dir() and not f.is_symlink()))
        for entry in os.scandir(below)
        if entry.is_file(follow_symlinks=False)
        and entry.name not in named
        and (status := entry.stat(follow_symlinks=False)).st_mtime <= cutoff
    ]


def _logged(folder: Path, cutoff: float) -> tuple[set[str], set[str]]:
    """Return the parts referenced by commits since the cutoff, and those by any commit."""
    recent: set[str] = set()
    ever: set[str] = set()
    youngest = 0.0
    entries = (folder / "_delta_log").glob("*.json")
    for entry in sorted(path for path in entries if path.stem.isdecimal()):
        actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
        names = {
            unquote(action[kind]["path"])
            for action in actions
            for kind in ("add", "remove")
            if kind in action
        }
        timestamps = [
            action["commitInfo"].get("timestamp", 0) for action in actions if "commitInfo" in action
        ]
        youngest = max(youngest, entry.stat().st_mtime, *(ms / 1000 for ms in timestamps))
        ever |= names
        if youngest > cutoff:
            recent |= names
    return recent, ever


def _delete(root: Path, spare: list[Spare], *, alone: bool) -> None:
    for part in spare:
        path = layout.table_folder(root, part.table) / part.part
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteFailed("the folders of the tables", error) from error
        # A running writer may have created the folder for a part that it is about to write.
        if alone and not os.listdir(path.parent):
            path.parent.rmdir()
