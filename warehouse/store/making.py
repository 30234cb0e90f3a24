"""Create the Delta tables of a warehouse, without rows.

In: the folder of a warehouse, and tables. A new warehouse gets all tables. An older warehouse gets
a new table with the first commit of a software version that has it, so that each existing table
belongs to a version. Until then this module gives readers a part without rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema as DeltaSchema

from warehouse.settings import user_cache
from warehouse.store import layout, tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.store.tables import StoredTable

_PARTITION = pa.field("batch", pa.string())
_SPECIAL = frozenset("*?[]#%=")
"""Characters of a path that engines interpret as a pattern, or decode."""


def make_tables(root: Path, wanted: Iterable[StoredTable]) -> None:
    """Create the tables that have no log; the caller holds the lock."""
    made: list[Path] = []
    for table in wanted:
        if is_there(root, table.name):
            continue
        _write_first_entry(root, table)
        made.append(log_path(root, table.name, 0))
    reach_disk(made)


def _write_first_entry(root: Path, table: StoredTable) -> None:
    """Write entry 0 of a log; the Delta library takes twenty times as long.

    The entry is created by a hard link, so it appears complete and never replaces another one.
    """
    path = log_path(root, table.name, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    now = time.time_ns() // 1_000_000
    schema, protocol = _declared(table.stored_schema)
    actions = (
        {"commitInfo": {"timestamp": now, "operation": "CREATE TABLE", "operationParameters": {}}},
        {"protocol": protocol},
        {
            "metaData": {
                "id": str(uuid.uuid4()),
                "name": table.name,
                "description": f"dicom-warehouse, storage layout {layout.LAYOUT_VERSION}",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": schema,
                "partitionColumns": [_PARTITION.name],
                "createdTime": now,
                "configuration": {},
            }
        },
    )
    draft = path.with_name(f".{uuid.uuid4().hex}")
    try:
        draft.write_text("".join(json.dumps(action) + "\n" for action in actions))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:
            # A file system without hard links; the caller holds the lock.
            if not path.exists():
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@cache
def _declared(schema: pa.Schema) -> tuple[str, dict[str, object]]:
    """Return the schema as Delta's JSON, and the reader and writer features it requires."""
    declared = DeltaSchema.from_arrow(schema.append(_PARTITION)).to_json()
    if '"timestamp_ntz"' not in declared:
        return declared, {"minReaderVersion": 1, "minWriterVersion": 2}
    features = ["timestampNtz"]
    return declared, {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": features, "writerFeatures": features,
    }  # fmt: skip


def is_there(root: Path, table: str) -> bool:
    """Return whether a table has a log."""
    try:
        names = os.listdir(layout.table_folder(root, table) / "_delta_log")
    except (FileNotFoundError, NotADirectoryError):
        return False
    return any(name.endswith(".json") for name in names)


def tables_there(root: Path) -> set[str]:
    """Return the names of all tables with a log, including tables of other software."""
    return {
        path.parent.name for path in root.glob("*/_delta_log") if is_there(root, path.parent.name)
    }


def write_empty_parts(root: Path) -> None:
    """Write the missing parts without rows."""
    for table in tables.REGISTRY:
        part = layout.empty_part(root, table.name)
        if not part.exists():
            _write_empty(part, table.stored_schema)


def write_marker(root: Path, about: dict[str, object]) -> None:
    """Write ``warehouse.json``, which marks a folder as a warehouse.

    The file is written by renaming a draft, so that a full disk cannot leave an empty file.
    """
    draft = root / DRAFT
    draft.write_text(json.dumps(about) + "\n")
    reach_disk([draft])
    draft.replace(root / layout.MARKER)


DRAFT = f"_{layout.MARKER}"
"""Name of the marker while it is being written."""


def name_tables(root: Path) -> None:
    """Add the tables of this software to ``warehouse.json``."""
    about = json.loads((root / layout.MARKER).read_text(encoding="utf-8"))
    # The first releases recorded no tables.
    named = about.get("tables") or sorted(tables.FIRST)
    if missing := [name for name in tables.names() if name not in named]:
        write_marker(root, about | {"tables": [*named, *missing]})


def empty_part(root: Path, table: str) -> Path:
    """Return a Parquet file without rows that has the schema of a table.

    The file is in the warehouse or, if it is missing there, in the user's cache: a reader does not
    write to a warehouse.
    """
    own = layout.empty_part(root, table)
    if own.is_file() and not own.is_symlink():
        return own
    schema = tables.named(table).stored_schema
    key = hashlib.sha256(f"{table}\0{schema.to_string()}".encode()).hexdigest()[:16]
    try:
        part = _cache() / f"empty-{key}" / own.parent.name / own.name
        _write_empty(part, schema)
    except OSError:
        part = Path(_of_process().name) / f"empty-{key}" / own.parent.name / own.name
        _write_empty(part, schema)
    return part


def _cache() -> Path:
    folder = user_cache()
    if folder is None or _SPECIAL & set(str(folder)):
        raise NotADirectoryError(folder)
    return folder


@cache
def _of_process() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dicom-warehouse-")


def _write_empty(part: Path, schema: pa.Schema) -> None:
    if part.exists():
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    draft = part.with_name(f".{uuid.uuid4().hex}")
    try:
        draft.write_bytes(_without_rows(schema))
        draft.replace(part)
    finally:
        draft.unlink(missing_ok=True)


@cache
def _without_rows(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    return bytes(sink.getvalue())


def log_path(root: Path, table: str, version: int) -> Path:
    """Return the path of a log entry."""
    return layout.table_folder(root, table) / "_delta_log" / f"{version:020}.json"


def reach_disk(paths: Iterable[Path]) -> None:
    """Flush files and the folders that name them to the disk (``fsync``).

    All files of a version are flushed before its log entry is written, so a power failure can lose
    only whole versions.
    """
    files = list(paths)
    for path in dict.fromkeys(
        [*files, *(p.parent for p in files), *(p.parent.parent for p in files)]
    ):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
