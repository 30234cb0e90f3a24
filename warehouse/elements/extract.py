"""Source files → rows, a bounded portion at a time. Where stations 1 and 2 meet.

In: source files, and the id of the first instance. Out: ``Portion``s: rows, long binary values,
and for each file what became of it. Nothing is written here and no exception of a file escapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.dicom.reference import read_header
from warehouse.elements.batches import RowBuilder
from warehouse.elements.schema import BLOBS, ELEMENTS
from warehouse.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from warehouse.dicom.element import PixelPlace
    from warehouse.dicom.scan import SourceFile

MAX_BLOB_BYTES = 256 << 20
"""Long binary values held before a portion is handed on, whatever its number of rows."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one source file."""

    source: SourceFile
    instance_id: int | None = None
    """Key of its rows; None if it was rejected."""
    reader: str | None = None
    """Which reader took it: ``fast`` or ``pydicom``."""
    transfer_syntax: str | None = None
    pixels: PixelPlace | None = None
    reason: str | None = None
    """Why it was rejected, or what is odd about it although it was read."""
    offset: int | None = None
    """Byte at which a rejected file stopped making sense."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of some files."""

    rows: pa.Table
    """``warehouse.elements.schema.ELEMENTS``, sorted by tag, path, index, instance."""
    blobs: pa.Table
    """``warehouse.elements.schema.BLOBS``; each digest once."""
    outcomes: list[Outcome]
    """One per file, in the order they were given."""


def extract(sources: Sequence[SourceFile], first_id: int, max_rows: int) -> Iterator[Portion]:
    """Read files with the reference reader; file ``i`` has the id ``first_id + i``."""
    rows = RowBuilder()
    outcomes: list[Outcome] = []
    for instance_id, source in enumerate(sources, first_id):
        outcomes.append(_read_one(source, instance_id, rows))
        if len(rows) >= max_rows or rows.blob_bytes >= MAX_BLOB_BYTES:
            yield Portion(*rows.take(), outcomes)
            outcomes = []
    if outcomes:
        yield Portion(*rows.take(), outcomes)


def _read_one(source: SourceFile, instance_id: int, rows: RowBuilder) -> Outcome:
    try:
        header = read_header(source)
    except Rejected as why:
        return Outcome(source, reason=why.reason, offset=why.offset)
    rows.add(instance_id, header.elements)
    return Outcome(
        source, instance_id, "pydicom", header.transfer_syntax, header.pixels, header.note
    )


def no_rows() -> tuple[pa.Table, pa.Table]:
    """Return the two tables of a portion in which no file could be read."""
    return ELEMENTS.empty_table(), BLOBS.empty_table()
