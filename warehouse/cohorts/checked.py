"""Verify the members of stored runs against their digests.

In: the folder of a warehouse. Out: ``Damage``, one per damaged run.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.cohorts.runs import ABOUT, MEMBERS, read_run, runs_folder
from warehouse.errors import StoreDamaged
from warehouse.store.verify import BACKUP, Damage

if TYPE_CHECKING:
    from pathlib import Path


def check_runs(root: Path) -> tuple[int, int, list[Damage]]:
    """Return the number of verified runs, the number that cannot be verified, and the damaged runs.

    A run that lost members to ``forget`` keeps its old digest, so it cannot be verified.
    """
    checked = forgotten = 0
    damaged: list[Damage] = []
    for path in sorted(runs_folder(root).glob("[!.]*")):
        what = str(path.relative_to(root))
        try:
            run = read_run(root, path / ABOUT)
        except StoreDamaged:
            damaged.append(Damage(f"{what}/{ABOUT}", "it cannot be read", BACKUP))
            continue
        if hashlib.sha256(run.sql.encode()).hexdigest() != run.sql_sha256 and not run.is_redacted:
            damaged.append(Damage(f"{what}/{ABOUT}", "its SQL is not that of its digest", BACKUP))
        if run.forgotten:
            forgotten += 1
            continue
        checked += 1
        if (digest := _digest(path / MEMBERS)) != run.digest:
            why = "it cannot be read" if digest is None else "its members are not those of its run"
            damaged.append(Damage(f"{what}/{MEMBERS}", why, BACKUP))
    return checked, forgotten, damaged


def _digest(path: Path) -> str | None:
    """Return the sha256 of the sorted instance keys, one per line; None if they cannot be read."""
    digest = hashlib.sha256()
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(100_000, columns=["instance_key"]):
                keys = batch["instance_key"].to_pylist()
                digest.update("".join(f"{key}\n" for key in keys).encode())
    except (OSError, pa.ArrowException, ValueError):
        return None
    return digest.hexdigest()
