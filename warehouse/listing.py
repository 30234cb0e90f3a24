"""Convert listed files to an Arrow table and back, to compare, plan and send them to workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast, overload

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.dicom.objects import is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import SourceFile, Unreadable, path_text
from warehouse.store.crossing import Crossing

if TYPE_CHECKING:
    from collections.abc import Iterator

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
"""One row per listed file. Only unreadable files have a ``reason``; their size may be null."""


def listing_row(item: SourceFile | Unreadable) -> tuple[Any, ...]:
    """Return a file as a row of ``LISTING``, without bucket credentials."""
    if isinstance(item, Unreadable):
        return item.path, None, None, None, None, item.reason
    archive = None if item.archive is None else path_text(item.archive)
    return item.path, item.size_bytes, item.modified_us, archive, item.member, None


def listing_table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Return rows as a table with the schema ``LISTING``."""
    columns = zip(*rows, strict=True) if rows else [()] * len(LISTING)
    arrays = [pa.array(cells, kind) for cells, kind in zip(columns, LISTING.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LISTING)


def source(
    path: str, size: int | None, modified: int | None, archive: str | None, member: str | None,
    reason: str | None, *, s3: S3Access,
) -> SourceFile | Unreadable:  # fmt: skip
    """Return a row of ``LISTING`` as a file."""
    if reason is not None or size is None or modified is None:
        return Unreadable(path, reason or "cannot be opened")
    # Credentials are never stored in a plan or table.
    access = s3 if is_object(path) else None
    held_by = None if archive is None else os.fsdecode(local_path(archive))
    return SourceFile(path, size, modified, held_by, member, access)


class FileRows(Sequence["SourceFile | Unreadable"]):
    """A sequence of files stored as a table; an object is created when it is accessed.

    Parameters
    ----------
    rows
        ``LISTING``.
    s3
        Access to buckets.
    """

    __slots__ = ("_rows", "_s3")

    def __init__(self, rows: pa.Table, s3: S3Access) -> None:
        self._rows = Crossing(rows)
        self._s3 = s3

    @classmethod
    def of(cls, items: Sequence[SourceFile | Unreadable], s3: S3Access) -> FileRows:
        """Return files as ``FileRows``."""
        if isinstance(items, cls):
            return items
        return cls(listing_table([listing_row(item) for item in items]), s3)

    @property
    def rows(self) -> pa.Table:
        """``LISTING``."""
        return self._rows.tables[0]

    def told_apart(self) -> tuple[Sequence[SourceFile], list[Unreadable]]:
        """Return the readable and the unreadable files."""
        rows = self.rows
        known = pc.and_(rows["size_bytes"].is_valid(), rows["modified_us"].is_valid())
        can_be = pc.and_(rows["reason"].is_null(), known)
        if pc.all(can_be).as_py():
            return cast("Sequence[SourceFile]", self), []
        readable = FileRows(rows.filter(can_be), self._s3)
        others = FileRows(rows.filter(pc.invert(can_be)), self._s3)
        return cast("Sequence[SourceFile]", readable), cast("list[Unreadable]", list(others))

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __iter__(self) -> Iterator[SourceFile | Unreadable]:
        columns = (self.rows[name].to_pylist() for name in LISTING.names)
        return (source(*row, s3=self._s3) for row in zip(*columns, strict=True))

    @overload
    def __getitem__(self, place: int) -> SourceFile | Unreadable: ...
    @overload
    def __getitem__(self, place: slice) -> FileRows: ...
    def __getitem__(self, place: int | slice) -> SourceFile | Unreadable | FileRows:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            assert step == 1
            return FileRows(self.rows.slice(start, max(stop - start, 0)), self._s3)
        (item,) = self[place : place + 1 or None]
        return item

    def __reduce__(self) -> tuple[Any, ...]:
        return _crossed, (self._rows, self._s3)


def _crossed(rows: Crossing, s3: S3Access) -> FileRows:
    files = FileRows(LISTING.empty_table(), s3)
    files._rows = rows  # noqa: SLF001 - of this module
    return files
