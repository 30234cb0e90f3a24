"""Where a value stands in a folder, in any byte of it: as stored, and in columns decompressed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def places_of(values: Iterable[str], *where: Path) -> dict[str, set[str]]:
    """Return value → files that hold it, of all values that any file or name of a file holds."""
    # A UID may be how another begins, so it ends where its characters do.
    wanted = {
        value: re.compile(
            rb"(?<![0-9A-Za-z.])" + re.escape(value.encode()) + rb"(?![0-9A-Za-z]|\.[0-9])"
        )
        for value in values
    }
    found: dict[str, set[str]] = {}
    for folder in where:
        for path in [folder, *folder.rglob("*")]:
            held = str(path.relative_to(folder))
            for content in [held.encode(), *(_bytes_of(path) if path.is_file() else ())]:
                for value, pattern in wanted.items():
                    # Mostly it is not there, which is told much sooner without a pattern.
                    if value.encode() in content and pattern.search(content):
                        found.setdefault(value, set()).add(held)
    return found


def _bytes_of(path: Path) -> list[bytes]:
    content = path.read_bytes()
    if content[:4] != b"PAR1":
        return [content]
    sink = pa.BufferOutputStream()
    table = pq.read_table(path, partitioning=None)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    # A list of texts lies in one buffer: a value may touch the next. So each stands alone too.
    texts = [
        "\n".join(filter(None, column.unique().to_pylist())).encode()
        for column in map(_texts, table.columns) if column is not None
    ]  # fmt: skip
    return [content, *texts, sink.getvalue().to_pybytes()]


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    while pa.types.is_list(column.type):
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks] or [[]])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if pa.types.is_string(column.type) else None
