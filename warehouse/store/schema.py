"""Arrow schemas of the stored tables, as they lie in Parquet."""

from __future__ import annotations

import pyarrow as pa

from warehouse.elements.schema import BLOBS, ELEMENTS
from warehouse.elements.vendor import VENDOR_PAYLOADS, VENDOR_VALUES
from warehouse.sqlfiles import by_name

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


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema without dictionaries: how any engine sees the Parquet."""
    return pa.schema(
        [
            pa.field(
                field.name,
                field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
            )
            for field in schema
        ]
    )


PLAIN_ELEMENTS = _plain(ELEMENTS)
"""The long table without dictionaries: how any engine sees its Parquet."""


_ARROW = {
    "BIGINT": pa.int64(),
    "BIGINT[]": pa.list_(pa.int64()),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "DOUBLE": pa.float64(),
    "DOUBLE[]": pa.list_(pa.float64()),
    # Delta has no type for the time of day: microseconds since midnight, as in the long table.
    "TIME": pa.int64(),
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
}


def instances_schema() -> pa.Schema:
    """Return the columns of ``instances``, from the header of the SQL that defines them."""
    model = by_name("instances_from_elements")
    return pa.schema([(column.name, _ARROW[column.type]) for column in model.columns])


def stored_schemas() -> dict[str, pa.Schema]:
    """Return the schema of every stored table, without the partition column ``batch``."""
    return {
        "elements": PLAIN_ELEMENTS,
        "blobs": BLOBS,
        "vendor_payloads": VENDOR_PAYLOADS,
        "vendor_values": _plain(VENDOR_VALUES),
        "instances": instances_schema(),
        "files": FILES,
    }
