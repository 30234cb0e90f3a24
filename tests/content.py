"""What a warehouse holds, without what may differ between two ways to the same content.

Batch, instance_id and reader depend on the order in which files were read; nothing else may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import warehouse
from warehouse.store import delta

if TYPE_CHECKING:
    from pathlib import Path


def content(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all stored tables, sorted."""
    wh = warehouse.open(root)
    answers = {
        "files": wh.sql("select * exclude (batch, instance_id, reader) from files").fetchall(),
        "instances": wh.sql("select * exclude (batch, instance_id) from instances").fetchall(),
        "elements": wh.sql(
            "select instance_key, elements.* exclude (batch, instance_id)"
            " from elements join instances using (instance_id)"
        ).fetchall(),
        "vendor_elements": wh.sql(
            "select instance_key, vendor_elements.* exclude (batch, instance_id, payload)"
            " from vendor_elements join instances using (instance_id)"
        ).fetchall(),
        "blobs": wh.sql("select * exclude (batch) from blobs").fetchall(),
    }
    return {table: sorted(rows, key=repr) for table, rows in answers.items()}


def parts(root: Path) -> dict[str, int]:
    """Return every Parquet file of the newest version with its time of change."""
    snapshot = delta.snapshot(root)
    files = [path for table in snapshot.parts for path in snapshot.paths(table)]
    return {path: _modified(path) for path in files}


def _modified(path: str) -> int:
    import os

    return os.stat(path).st_mtime_ns


def sound(root: Path) -> None:
    """Check what must hold in every version: the checks of sql/checks and the blobs."""
    from warehouse.sqlfiles import read_checks

    wh = warehouse.open(root)
    for check in read_checks():
        if check.name not in {"vr_conflicts", "series_in_two_studies"}:
            assert wh.sql(check.sql).fetchall() == [], check.name
    orphans = wh.sql(
        "from blobs where sha256 not in (select sha256 from elements where length > 256)"
    )
    assert orphans.fetchall() == []
