"""Create the Delta tables of a warehouse, without rows.

In: the folder of a warehouse, tables. A new warehouse gets all of them. A warehouse that was made
before a table was thought of gets it with the first commit of a software that knows it, so a table
that is there is named by a version. Until then readers take a part without rows from here.
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
"""What engines take for a pattern, or decode, in a path."""


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

    It appears whole or not at all, and never in the place of another one: it is linked, not
    written, under its name.
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
    """Return the schema in the JSON of Delta, and the reader and writer features it requires."""
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
    """Return the names of all tables with a log, including those of other software."""
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
    """Write ``warehouse.json``, which makes a folder a warehouse.

    Renamed, so that a full disk leaves what was there rather than an empty one.
    """
    draft = root / DRAFT
    draft.write_text(json.dumps(about) + "\n")
    reach_disk([draft])
    draft.replace(root / layout.MARKER)


DRAFT = f"_{layout.MARKER}"
"""The marker while it is written."""


def name_tables(root: Path) -> None:
    """Add the tables of this software to ``warehouse.json``."""
    about = json.loads((root / layout.MARKER).read_text(encoding="utf-8"))
    # The first releases recorded none.
    named = about.get("tables") or sorted(tables.FIRST)
    if missing := [name for name in tables.names() if name not in named]:
        write_marker(root, about | {"tables": [*named, *missing]})


def empty_part(root: Path, table: str) -> Path:
    """Return a Parquet file without rows that has the schema of a table.

    That of the warehouse, or one of this user's: who only reads writes nothing into a warehouse.
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
    """Return the path of an entry of a log."""
    return layout.table_folder(root, table) / "_delta_log" / f"{version:020}.json"


def reach_disk(paths: Iterable[Path]) -> None:
    """Flush files and the folders that name them to the disk (``fsync``).

    A version is named only after all that it names: so what a power cut takes is a version as a
    whole.
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
