"""Files that were found ↔ rows: as the survey compares them and as a plan keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.dicom.objects import is_object
from warehouse.dicom.scan import SourceFile, Unreadable

if TYPE_CHECKING:
    from warehouse.settings import S3Access

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_us", pa.int64()),
        ("archive", pa.string()),
        ("member", pa.string()),
        ("reason", pa.string()),
    ]
)
"""What the walk found, a row per file; ``reason`` only for what could not be looked at."""


def listing_row(item: SourceFile | Unreadable) -> tuple[Any, ...]:
    """Return the cells of ``LISTING`` for a file; keys to a bucket stand in no table."""
    if isinstance(item, Unreadable):
        return item.path, None, None, None, None, item.reason
    return item.path, item.size_bytes, item.modified_us, item.archive, item.member, None


def listing_table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Make a table of rows."""
    columns = zip(*rows, strict=True) if rows else [()] * len(LISTING)
    arrays = [pa.array(cells, kind) for cells, kind in zip(columns, LISTING.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LISTING)


def source(
    path: str, size: int | None, modified: int | None, archive: str | None, member: str | None,
    reason: str | None, *, s3: S3Access,
) -> SourceFile | Unreadable:  # fmt: skip
    """Make a file again of the cells of a row."""
    if reason is not None or size is None or modified is None:
        return Unreadable(path, reason or "cannot be opened")
    # Keys to a bucket stand in no plan and in no table.
    access = s3 if is_object(path) else None
    return SourceFile(path, size, modified, archive, member, access)
