"""The long table: its columns and their Arrow types.

In: nothing. Out: schemas that readers fill and the store writes. ``values`` defines how values are
decoded into columns, and ``warehouse.store.layout`` where files are stored.
"""

from __future__ import annotations

import pyarrow as pa

VERSION = 1
"""Version of the long table; increased if a column changes its name, type or meaning."""

INLINE_BYTES = 256
"""Binary values up to this many bytes are in the row; longer ones only as length and digest."""

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())

ELEMENTS = pa.schema(
    [
        pa.field("instance_id", pa.int64(), nullable=False),
        pa.field("path", _DICTIONARY, nullable=False),
        pa.field("tag", _DICTIONARY, nullable=False),
        pa.field("keyword", _DICTIONARY),
        pa.field("vr", _DICTIONARY, nullable=False),
        pa.field("creator", _DICTIONARY),
        pa.field("vm", pa.int32(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("integer", pa.int64()),
        pa.field("real", pa.float64()),
        pa.field("date", pa.date32()),
        # Delta has no time-of-day type; the view `elements` casts it to TIME.
        pa.field("time_us", pa.int64()),
        pa.field("timestamp", pa.timestamp("us")),
        pa.field("bytes", pa.binary()),
        pa.field("length", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("warning", _DICTIONARY),
    ]
)
"""One row per value of one element of one instance, in memory (see DESIGN of the long table).

``batch`` is the partition of a part and not stored in it.
"""

ORDER = ("tag", "path", "index", "instance_id")
"""Sort order of the rows, in memory and in every part: a query for a tag reads only its rows."""

BLOBS = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("bytes", pa.binary(), nullable=False),
    ]
)
"""One row per distinct binary value that is too long for its row in ``elements``."""

VENDOR_PAYLOADS = pa.schema(
    [
        pa.field("instance_id", pa.int64(), nullable=False),
        pa.field("source_tag", pa.string(), nullable=False),
        pa.field("source_path", pa.string(), nullable=False),
        pa.field("creator", pa.string(), nullable=False),
        pa.field("payload", pa.int64(), nullable=False),
    ]
)
"""One row per payload of an element; a CSA series header has two: the header and its protocol."""

VENDOR_VALUES = pa.schema(
    [
        pa.field("payload", pa.int64(), nullable=False),
        pa.field("name", _DICTIONARY, nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("vr", _DICTIONARY),
        pa.field("text", _DICTIONARY),
        pa.field("integer", pa.int64()),
        pa.field("real", pa.float64()),
        pa.field("warning", _DICTIONARY),
    ]
)
"""One row per value of a payload, sorted by name, index and payload."""
