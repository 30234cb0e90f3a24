"""Arrow schemas of the stored tables, as they lie in Parquet."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from warehouse.elements.schema import BLOBS, ELEMENTS
from warehouse.sqlfiles import by_name, read_models

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

PLAIN_ELEMENTS = pa.schema(
    [
        pa.field(
            field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        )
        for field in ELEMENTS
    ]
)
"""The long table without dictionaries: how any engine sees its Parquet."""


def instances_schema() -> pa.Schema:
    """Return the columns of ``instances``, from the SQL that defines them."""
    with duckdb.connect() as connection:
        for model in read_models():
            if model.layer == "0_macros":
                connection.execute(model.sql)
        stored = {"elements": PLAIN_ELEMENTS, "files": FILES}
        for name, schema in stored.items():
            connection.register(f"{name}_rows", schema.empty_table())
        connection.execute(
            "create view elements as "
            "select *, cast(make_timestamp(time_us) as time) as time from elements_rows"
        )
        connection.execute("create view files as from files_rows")
        for name in ("instance_attributes", "instances_from_elements"):
            connection.execute(by_name(name).sql)
        # Delta has no type for the time of day: microseconds since midnight, as in the long table.
        return _storable(connection.sql("from instances_from_elements").to_arrow_table().schema)


def _storable(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [pa.field(f.name, pa.int64() if pa.types.is_time(f.type) else f.type) for f in schema]
    )


def stored_schemas() -> dict[str, pa.Schema]:
    """Return the schema of every stored table, without the partition column ``batch``."""
    return {
        "elements": PLAIN_ELEMENTS,
        "blobs": BLOBS,
        "instances": instances_schema(),
        "files": FILES,
    }
