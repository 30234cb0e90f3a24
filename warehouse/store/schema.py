"""Arrow schemas of stored tables: the one of ``files``, and those declared in headers of sql/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from warehouse.errors import ModelError

if TYPE_CHECKING:
    from warehouse.sqlfiles import Model

FILES = pa.schema(
    [
        ("path", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("error_offset", pa.int64()),
        ("size_bytes", pa.int64()),
        ("modified_at", pa.timestamp("us")),
        ("mode", pa.string()),
        ("reader", pa.string()),
        ("instance_id", pa.int64()),
        ("instance_key", pa.string()),
        ("SOPInstanceUID", pa.string()),
        ("TransferSyntaxUID", pa.string()),
        ("pixel_offset", pa.int64()),
        ("pixel_length", pa.int64()),
        ("is_encapsulated", pa.bool_()),
    ]
)
"""The ledger of source files; the columns are described in sql/1_long/files.sql."""


_ARROW = {
    "BIGINT": pa.int64(),
    "BIGINT[]": pa.list_(pa.int64()),
    "BLOB": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "DOUBLE": pa.float64(),
    "DOUBLE[]": pa.list_(pa.float64()),
    "DOUBLE[][]": pa.list_(pa.list_(pa.float64())),
    "INTEGER": pa.int32(),
    # Delta has no time-of-day type; store microseconds since midnight, as in the long table.
    "TIME": pa.int64(),
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
}


STORED_AS = {"file_path": "path"}
"""Columns that are stored under an older name, so that existing warehouses can be opened."""


def schema_of(model: Model) -> pa.Schema:
    """Return the stored columns that a header declares, without the partition ``batch``.

    Raises
    ------
    ModelError
        A column has a type that stored tables do not support.
    """
    columns = [column for column in model.columns if column.name != "batch"]
    unknown = sorted({column.type for column in columns} - _ARROW.keys())
    if unknown:
        raise ModelError(f"{model.path}: a stored table cannot hold {', '.join(unknown)}")
    return pa.schema(
        [(STORED_AS.get(column.name, column.name), _ARROW[column.type]) for column in columns]
    )
