"""Verify the members of stored runs against their digests.

In: the folder of a warehouse. Out: ``Damage``, a row per run that is damaged.
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
    """Return how many runs were verified, how many cannot be, and the damaged ones.

    A run of which members were forgotten keeps its digest, which its members no longer have.
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
    """Return the sha256 of the sorted instance keys, one a line; None if they cannot be read."""
    digest = hashlib.sha256()
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(100_000, columns=["instance_key"]):
                keys = batch["instance_key"].to_pylist()
                digest.update("".join(f"{key}\n" for key in keys).encode())
    except (OSError, pa.ArrowException, ValueError):
        return None
    return digest.hexdigest()
