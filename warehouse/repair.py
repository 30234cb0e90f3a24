"""Repair a damaged warehouse by reading the source files of damaged parts again.

In: the folder of a warehouse, and the result of ``verify``. Out: ``Repaired``. Damaged parts are
replaced in one transaction, so that no version lacks their rows. If a source file no longer exists
or is rejected, or the files of a part are unknown, nothing is changed; the warehouse must then be
restored from a backup.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from warehouse.dicom.scan import SourceFile
from warehouse.planned import listed_again
from warehouse.read_batches import staged_anew
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, layout, locks
from warehouse.store.commit import commit_batch
from warehouse.store.duck import lent
from warehouse.store.stage import discard
from warehouse.store.verify import DELETE, REPAIR, VACUUM

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.store.stage import Staged
    from warehouse.store.verify import Verified


@dataclass(frozen=True, slots=True)
class Repaired:
    """Result of a repair."""

    files: int = 0
    """Source files read again."""
    parts: int = 0
    """Damaged parts that were removed."""
    deleted: int = 0
    """Damaged cache files, which are recreated when needed, and damaged parts of older versions."""
    missing: list[str] = field(default_factory=list)
    """Source files that do not exist; if there are any, nothing was changed."""
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of source files that cannot be read any more, such as for a limit; if there
    are any, nothing was changed."""
    version: int = 0
    """Version of the warehouse afterwards."""


def repair(root: Path, found: Verified, settings: IngestSettings | None = None) -> Repaired:
    """Read the files of damaged parts again, if all of them exist and none is rejected.

    Raises
    ------
    WriteFailed, WorkersLost
        Nothing was changed.
    """
    deleted = 0
    if any(damage.mends == DELETE for damage in found.damaged):
        deleted = sum(damage.mends == DELETE for damage in found.damaged)
        shutil.rmtree(layout.cache_folder(root), ignore_errors=True)
    for damage in found.damaged:
        if damage.mends == VACUUM:
            (root / damage.what).unlink(missing_ok=True)
            deleted += 1
    damaged: dict[str, set[str]] = {}
    for damage in found.damaged:
        if damage.mends == REPAIR and damage.table and damage.part:
            damaged.setdefault(damage.table, set()).add(damage.part)
    hopeless = any(damage.table and damage.mends != REPAIR for damage in found.damaged)
    if not damaged or found.unclear or hopeless:
        return Repaired(deleted=deleted, version=found.version)
    settings = settings or IngestSettings(workers=1)
    items = {
        item.path: item for item in listed_again([file.path for file in found.touched], settings)
    }
    missing = [file.path for file in found.touched if not isinstance(items[file.path], SourceFile)]
    if missing:
        return Repaired(deleted=deleted, missing=missing, version=found.version)
    with locks.writing(root), lent() as connection:
        batch = locks.claim_batch(root)
        staged: list[Staged] = []
        first = layout.first_id(batch)
        for mode, files in groupby(sorted(found.touched, key=lambda f: f.mode), lambda f: f.mode):
            sources = [items[file.path] for file in files]
            how = replace(settings, mode=Mode.parse(mode))
            staged += staged_anew(root, batch, sources, how, first)
            first += len(sources)
        if rejected := _rejected(staged):
            discard(root, staged)
            return Repaired(deleted=deleted, rejected=rejected, version=found.version)
        commit_batch(connection, root, batch, staged, read_anew=True, damaged=damaged)
    # Make older versions with these parts fail to open, rather than return wrong answers.
    for table, parts in damaged.items():
        for part in parts:
            (layout.table_folder(root, table) / part).unlink(missing_ok=True)
    return Repaired(
        files=len(found.touched), parts=sum(map(len, damaged.values())), deleted=deleted,
        version=delta.newest_files(root)[0],
    )  # fmt: skip


def _rejected(staged: list[Staged]) -> list[tuple[str, str]]:
    """Return path and reason of the rejected files; each had rows before."""
    columns = ["path", "reason", "status"]
    rows = [row for portion in staged for row in portion.files.select(columns).to_pylist()]
    return [(row["path"], row["reason"]) for row in rows if row["status"] == "rejected"]
