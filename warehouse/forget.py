"""Erase a patient, study, series or instance from a warehouse, and store a receipt.

In: an identifier. Out: ``Receipt``. There are four idempotent steps: write the tombstone, so that
no ingest stores the entity again; remove its rows from every table in one commit; delete all files
that the newest version does not reference, and clean caches and runs; complete the receipt. If the
process is killed, the same call continues the work. Source files are not changed.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts.erased import erase_in_runs
from warehouse.errors import NothingToForget, RebuildNeeded, UsageError, WriteFailed, WritersRunning
from warehouse.ingest import planned_batches
from warehouse.listing import listing_row, listing_table
from warehouse.planned import read_plan, replace_plan
from warehouse.settings import IngestSettings
from warehouse.store import delta, layout, locks
from warehouse.store.duck import lent
from warehouse.store.erase import Found, erase, find, unnamed_files
from warehouse.store.marker import require
from warehouse.store.tombstones import (
    LEVELS,
    Receipt,
    Tombstone,
    Tombstones,
    digest,
    digests,
    file_digest,
    next_number,
    read_all,
    tombstones,
    warehouse_key,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def forget(root: str | os.PathLike[str], level: str, name: str, *, delete: bool = False) -> Receipt:
    """Erase an entity and refuse to ingest it again; without ``delete``, only count its rows.

    Older versions can no longer be opened afterwards, because their parts are deleted. A reader
    that has one open gets an error that names a missing file.

    Parameters
    ----------
    root
        Folder of the warehouse.
    level
        patient, study, series or instance.
    name
        PatientID or UID; for an entity that has none, its key.
    delete
        Erase it; otherwise rows and files are only counted.

    Raises
    ------
    NothingToForget
        The warehouse has no such entity.
    RebuildNeeded
        An earlier version stored only the first value of its identifier, which others may share.
    WritersRunning
        An ingest or another writer is still running.
    UsageError, NotAWarehouse, LayoutMismatch, WriteFailed
    """
    root = Path(os.path.abspath(root))
    require(root)
    name = _valid(level, name)
    if not delete:
        with lent() as connection:
            found = find(connection, delta.snapshot(root), level, name)
        if found.is_nothing:
            raise NothingToForget(level)
        if found.has_first_values:
            raise RebuildNeeded(level)
        return _receipt("", level, found)
    with locks.no_writers(root) as alone, ExitStack() as stack:
        if not alone or not all(_held(lock, stack) for lock in _locks_of_jobs(root)):
            raise WritersRunning(root)
        return _forget(root, level, name)


def _locks_of_jobs(root: Path) -> list[Path]:
    return sorted((root / layout.JOBS).glob(".*.lock"))


def _held(lock: Path, stack: ExitStack) -> bool:
    """Hold a lock until the stack is closed; return False if another process holds it."""
    file = stack.enter_context(lock.open("rb"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget(root: Path, level: str, name: str) -> Receipt:
    key = warehouse_key(root)
    asked = digest(key, level, name)
    known = next((s for s in read_all(root) if s.asked == asked and _is_active(s)), None)
    with locks.locked(root), lent() as connection:
        base = delta.snapshot(root)
        found = find(connection, base, level, name)
        if found.has_first_values:
            raise RebuildNeeded(level)
        if found.is_nothing:
            if known is None:
                raise NothingToForget(level)
            if known.receipt.state == "done":
                return known.receipt
        stone = known or Tombstone(_receipt(next_number(root), level, found), asked, [], [])
        stone = _with(stone, key, found)
        write(root, stone)
        rows = {} if found.is_nothing else erase(connection, base)
    stone = replace(
        stone,
        receipt=replace(
            stone.receipt, rows=_sum(stone.receipt.rows, rows), version=delta.snapshot(root).version
        ),
    )
    write(root, stone)
    return _finish(root, key, stone)


def _is_active(stone: Tombstone) -> bool:
    return stone.receipt.state != "allowed"


def _valid(level: str, name: str) -> str:
    if level not in LEVELS:
        raise UsageError(f"level must be one of {', '.join(LEVELS)}")
    if not name.strip():
        raise UsageError(f"name the {level}: the identifier is empty")
    return name.strip()


def _receipt(number: str, level: str, found: Found) -> Receipt:
    return Receipt(
        number, level, "begun", _now(), entities=found.counts, files=len(found.files),
        still_named=found.still_named,
    )  # fmt: skip


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _with(stone: Tombstone, key: bytes, found: Found) -> Tombstone:
    """Add the digests of the found entities to a tombstone that an earlier call may have begun."""
    files = {*stone.files, *(file_digest(key, *file) for file in found.files)}
    names = {*stone.names, *digests(key, found.entities)}
    started = replace(stone.receipt, state="begun")
    return Tombstone(started, stone.asked, sorted(files), sorted(names))


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {table: first.get(table, 0) + second.get(table, 0) for table in {**first, **second}}


def _finish(root: Path, key: bytes, stone: Tombstone) -> Receipt:
    """Clean runs and plans, delete unreferenced files and complete the receipt, after the rows."""
    names = {stone.asked, *stone.names}
    lost, questions = erase_in_runs(root, lambda level, name: digest(key, level, name) in names)
    _clean_plans(root, tombstones(root))
    deleted, size = _delete_unnamed(root)
    receipt = stone.receipt
    receipt = replace(
        receipt, state="done", done_at=_now(), runs=_sum(receipt.runs, lost),
        questions=receipt.questions + questions,
        deleted=sorted({*receipt.deleted, *deleted}), deleted_bytes=receipt.deleted_bytes + size,
    )  # fmt: skip
    write(root, replace(stone, receipt=receipt, names=[]))
    return receipt


def _delete_unnamed(root: Path) -> tuple[list[str], int]:
    deleted, size = [], 0
    try:
        # Left over from killed algorithm runs. Images and models contain no patient data.
        for folder in (root / layout.JOBS).glob("[!.]*"):
            if folder.is_dir() and folder.name not in {"images", "models"}:
                size += sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir())
                shutil.rmtree(folder)
                deleted.append(str(folder.relative_to(root)))
        for path in unnamed_files(delta.snapshot(root)):
            size += path.stat().st_size
            path.unlink()
            deleted.append(str(path.relative_to(root)))
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    except OSError as error:
        raise WriteFailed("the folders of the warehouse", error) from error
    return deleted, size


def _clean_plans(root: Path, stones: Tombstones | None) -> None:
    """Remove forgotten files from planned batches that are not yet read."""
    settings = IngestSettings(workers=1)
    for batch in planned_batches(root):
        items = read_plan(root, batch, settings)
        kept = [
            item for item in items
            if stones is None
            or not stones.has_file(
                item.path, getattr(item, "size_bytes", None), getattr(item, "modified_us", None)
            )
        ]  # fmt: skip
        if len(kept) < len(items):
            replace_plan(root, batch, listing_table([listing_row(item) for item in kept]))


def allow(root: str | os.PathLike[str], level: str, name: str) -> Receipt:
    """Allow a forgotten entity again; the next ingest of its source reads it.

    Raises
    ------
    NothingToForget
        It was not forgotten by this identifier. A study that was forgotten with its patient can
        only be allowed with the patient.
    """
    root = Path(os.path.abspath(root))
    require(root)
    asked = digest(warehouse_key(root), level, _valid(level, name))
    found = next((s for s in read_all(root) if s.asked == asked and _is_active(s)), None)
    if found is None:
        raise NothingToForget(level, is_to_allow=True)
    receipt = replace(found.receipt, state="allowed")
    write(root, Tombstone(receipt, "", [], []))
    return receipt


def receipts(root: str | os.PathLike[str]) -> list[Receipt]:
    """Return all receipts, oldest first."""
    require(Path(root))
    return [stone.receipt for stone in read_all(Path(root))]
