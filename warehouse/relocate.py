"""A place where source files lay, and the one where they lie now → a version that knows it.

In: two folders, archives or ``s3://bucket/prefix``. Out: ``Relocated``. No source is looked at
and nothing is parsed: what is known of a file is told of its new path, in one commit. Of several
files of one instance the first by path holds it, so some may be read then that were duplicates.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from warehouse.dicom.objects import is_object
from warehouse.dicom.scan import path_text
from warehouse.errors import UsageError
from warehouse.read_batches import settle
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import statement
from warehouse.store import delta, locks
from warehouse.store.duck import lent, view_files
from warehouse.store.marker import require
from warehouse.store.moves import MOVING, commit_moves

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Relocated:
    """What a relocation did."""

    moved: int = 0
    """Known files that have another path now."""
    kept: int = 0
    """Known files beneath the old place that stay as they are: another file is known at their
    new path, with an instance or a size of its own."""
    version: int = 0
    """Version of the warehouse afterwards."""
    seconds: float = 0.0


def relocate(
    root: str | os.PathLike[str], old: str | os.PathLike[str], new: str | os.PathLike[str],
    settings: IngestSettings | None = None,
) -> Relocated:  # fmt: skip
    """Let every known file beneath one place lie beneath another.

    Parameters
    ----------
    root
        Folder of the warehouse.
    old, new
        Folders, files, archives or ``s3://bucket/prefix``; of a path that is known as
        ``OLD/a/1.dcm`` the new one is ``NEW/a/1.dcm``.
    settings
        How files are read that hold an instance now and were duplicates.

    Raises
    ------
    UsageError
        No known file lies beneath the old place, or both are the same.
    NotAWarehouse, LayoutMismatch, WriteFailed
    """
    root = Path(os.path.abspath(root))
    require(root)
    started = time.monotonic()
    before, after = _place(old), _place(new)
    if before == after:
        raise UsageError("both places are the same")
    with locks.writing(root), lent() as connection:
        view_files(connection, delta.newest_files(root)[1])
        prefixes = list(_prefixes(before, after))
        connection.execute("set variable prefixes = $1", [prefixes])
        connection.execute(f"create temp table beneath as {statement('moves_by_prefix')}")
        moving = connection.sql(
            "select old, prefix.new || substr(old, length(prefix.old) + 1) as new, "
            "cast(null as timestamp) as modified_at from beneath"
        ).to_arrow_table().cast(MOVING)  # fmt: skip
        if not moving.num_rows:
            raise UsageError(f"no known file lies beneath {before}")
        moved = commit_moves(connection, root, moving, "relocate")
    settle(root, settings or IngestSettings(workers=1))
    return Relocated(
        moved=moved, kept=moving.num_rows - moved, version=delta.newest_files(root)[0],
        seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def _place(given: str | os.PathLike[str]) -> str:
    if is_object(given):
        return str(given).rstrip("/")
    path = os.path.abspath(os.fspath(given))
    if path_text(path) != path:
        # Files beneath are known by URLs, and would be by paths, or the other way round.
        raise UsageError(
            f"{path_text(path)} is not UTF-8, and files are not relocated from or to such a place; "
            "ingest the new place: it finds each file that was moved"
        )
    return path


def _prefixes(old: str, new: str) -> Iterator[dict[str, str]]:
    """Yield how paths begin; those that are not UTF-8 are URLs in ``files``."""
    yield {"old": old, "new": new}
    if not is_object(old) and not is_object(new):
        yield {
            "old": f"file://{quote(os.fsencode(old))}",
            "new": f"file://{quote(os.fsencode(new))}",
        }
