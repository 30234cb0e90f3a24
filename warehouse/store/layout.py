"""The storage layout: names, paths and ids. Nothing is created here.

::

    my-warehouse/
    ├── warehouse.json                  layout version, tables; marks the folder as a warehouse
    ├── files/                          Delta tables, partitioned by batch
    │   ├── _delta_log/
    │   └── batch=000001/0000-….parquet
    ├── elements/  instances/  …        likewise: one folder per table of tables.py
    ├── _batches/000001                 one file per batch number ever taken, with its plan
    ├── _forgotten/                     forgotten entities, as keyed digests (tombstones.py)
    ├── _cache/                         materialized views of one version; may be deleted
    ├── _reading/                       a note of each process that reads files itself
    ├── _empty/TABLE/batch=000000/…     files without rows that give readers the schema
    ├── values/ab/abcd…                 files of values, each named by its SHA-256
    ├── cohorts/                        saved cohorts and their runs (warehouse/cohorts/)
    ├── dictionary.json                 names of private elements that users added, if any
    ├── _writers                        held by every writer while it runs
    └── _lock                           held while a batch is committed

The specification is docs/storage-layout.md.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LAYOUT_VERSION = 1
"""Increased if readers of the previous layout could misread the store; not for a new table."""

MARKER = "warehouse.json"

VALUES = "values"
"""Folder of value files, each named by the SHA-256 of its content."""

JOBS = "_jobs"
"""Folder of running jobs: one folder per job, locks, images and models."""

ID_BITS = 24
"""An instance id is the batch number followed by this many bits of position in the batch."""


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a table."""

    path: str
    """Relative to the folder of the table."""
    rows: int
    size_bytes: int


def notes_folder(root: Path) -> Path:
    """Return the folder of the notes of processes that read files."""
    return root / "_reading"


@lru_cache(maxsize=1024)
def table_folder(root: Path, table: str) -> Path:
    """Return the folder of a Delta table.

    >>> from pathlib import Path
    >>> table_folder(Path("w"), "files").as_posix()
    'w/files'
    """
    return root / table


def drop_parts(root: Path, parts: Iterable[tuple[str, Part]]) -> None:
    """Delete parts that no version references or will reference."""
    for table, part in parts:
        (table_folder(root, table) / part.path).unlink(missing_ok=True)


def batch_name(number: int) -> str:
    """Return the partition key of a batch.

    >>> batch_name(1)
    '000001'
    """
    return f"{number:06d}"


def first_id(batch: str) -> int:
    """Return the instance id of the first file of a batch.

    >>> first_id("000002") == 2 << 24
    True
    """
    return int(batch) << ID_BITS


OF_NO_BATCH = "000000"
"""Partition of rows that do not come from an ingest, and of the parts without rows."""


def part_name(batch: str, chunk: int) -> str:
    """Return a new, unique path of a Parquet file, relative to the folder of its table."""
    return f"batch={batch}/{chunk:04d}-{uuid.uuid4().hex}.parquet"


_SEALED = re.compile(r"-([0-9a-f]{64})\.parquet$")


def sealed(folder: Path, part: str) -> str:
    """Rename a part that was just written, appending the sha256 of its bytes; return the new path.

    File names survive in logs, checkpoints, copies and buckets; other metadata does not.
    """
    with (folder / part).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = f"{part.removesuffix('.parquet')}-{digest}.parquet"
    (folder / part).rename(folder / named)
    return named


def digest_of_part(part: str) -> str | None:
    """Return the sha256 in the name of a part; None if earlier software wrote it.

    >>> digest_of_part("batch=000001/0000-ab.parquet")
    """
    found = _SEALED.search(part)
    return found[1] if found else None


def batch_of_part(part: str) -> str:
    """Return the batch of a Parquet file, from its path.

    >>> batch_of_part("batch=000001/0000-ab.parquet")
    '000001'
    """
    return part.split("batch=", 1)[1].split("/", 1)[0]


@lru_cache(maxsize=1024)
def empty_part(root: Path, table: str) -> Path:
    """Return the path of the file without rows that gives readers the schema."""
    return root / "_empty" / table / f"batch={OF_NO_BATCH}" / "empty.parquet"


def cache_folder(root: Path) -> Path:
    """Return the folder of data that can be recreated at any time."""
    return root / "_cache"


def claims_folder(root: Path) -> Path:
    """Return the folder whose files are the batch numbers taken so far."""
    return root / "_batches"
