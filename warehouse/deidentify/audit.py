"""Write the audit rows of an export: one per changed element, without its value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from warehouse.deidentify.facts import Change

_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("SOPInstanceUID", pa.string()),  # new UID
        ("path", _WORD),
        ("tag", _WORD),
        ("keyword", _WORD),
        ("vr", _WORD),
        ("action", _WORD),
        ("option", _WORD),
        ("reason", _WORD),
    ]
)


def write_part(
    path: Path, changes: Iterable[tuple[str, Sequence[Change]]], keywords: dict[int, str]
) -> int:
    """Write the changes of instances to a Parquet file; return the number of changes.

    Parameters
    ----------
    path
        Parquet file to write.
    changes
        New UID and changes of each instance.
    keywords
        Tag → keyword of the dictionary.
    """
    uids: list[str] = []
    rows: list[Change] = []
    for uid, rows_of_instance in changes:
        uids += [uid] * len(rows_of_instance)
        rows += rows_of_instance
    columns = [
        pa.array(uids, pa.string()),
        pa.array([row.path for row in rows], pa.string()).dictionary_encode(),
        pa.array([f"{row.tag:08X}" for row in rows], pa.string()).dictionary_encode(),
        pa.array([keywords.get(row.tag) for row in rows], pa.string()).dictionary_encode(),
        *(
            pa.array([row[index] for row in rows], pa.string()).dictionary_encode()
            for index in range(2, 6)
        ),
    ]
    pq.write_table(pa.table(columns, SCHEMA), path, compression="zstd")
    return len(rows)


def join_parts(parts: Iterable[Path], target: Path) -> None:
    """Concatenate parts into one file, one part at a time."""
    with pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=SCHEMA))
