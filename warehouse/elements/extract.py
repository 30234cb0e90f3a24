"""Read source files and return their rows in portions of bounded size.

In: source files, and the id of the first instance. Out: ``Portion``s: rows, long binary values, and
the outcome of each file. Nothing is written, and no exception caused by a file is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.dicom.reference import read_header
from warehouse.elements.columns import Batch
from warehouse.elements.element_values import row_count
from warehouse.elements.fast import BatchRead, Buffers, read_batch
from warehouse.elements.schema import BLOBS, ELEMENTS
from warehouse.errors import Rejected, TooMuch, Unreachable, UsageError
from warehouse.settings import DEFAULT_LIMITS, Limits
from warehouse.stages import Stage, during

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from warehouse.dicom.element import PixelPlace
    from warehouse.dicom.scan import SourceFile

MAX_BLOB_BYTES = 192 << 20
"""Bytes of long binary values after which a portion ends, regardless of its number of rows."""

BATCH_FILES = 2_500
"""Files read together, usually a whole chunk. Compared with 1,500, this needs some 100 MB more
memory, but files of many shapes are read and written faster, and take less space."""

MIN_BATCH_FILES = 64
USUAL_ROWS = 250
"""Rows of an ordinary file, used to choose fewer files if the caller wants small portions."""


_buffers_of_threads: list[Buffers] = []
"""Pool of buffers for later calls in this process; each call uses one exclusively."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of reading one source file."""

    source: SourceFile
    instance_id: int | None = None
    """Key of its rows; None if it was rejected."""
    reader: str | None = None
    """Reader of the file: ``fast`` or ``pydicom``."""
    transfer_syntax: str | None = None
    pixels: PixelPlace | None = None
    reason: str | None = None
    """Why it was rejected, or a note about a problem of a file that was read."""
    offset: int | None = None
    """Offset of the error in a rejected file."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of some files."""

    rows: pa.Table
    """``warehouse.elements.schema.ELEMENTS``, sorted by tag, path, index, instance."""
    blobs: pa.Table
    """``warehouse.elements.schema.BLOBS``; each digest once."""
    outcomes: list[Outcome]
    """One per file, in the order they were given."""


def extract(
    sources: Sequence[SourceFile], first_id: int, max_rows: int, *, reader: str = "fast",
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Portion]:  # fmt: skip
    """Read files; the instance in file ``i`` has the id ``first_id + i``.

    Parameters
    ----------
    sources
        Files and archive members.
    first_id
        Id of the first file; rejected files also get an id.
    max_rows
        Rows after which a portion ends, at a file boundary; one file is never split.
    reader
        ``fast`` reads many files at a time and falls back to pydicom for unsupported files;
        ``pydicom`` reads every file with the reference reader. Both give the same rows.
    limits
        Limits per file; a file that exceeds one is rejected.
    """
    if reader not in {"fast", "pydicom"}:
        raise UsageError(f"unknown reader {reader!r}; choose one of: fast, pydicom")
    done = 0
    buffers = _buffers() if reader == "fast" else None
    batch_files = most_files = min(BATCH_FILES, max(MIN_BATCH_FILES, max_rows // USUAL_ROWS))
    while done < len(sources):
        some = sources[done : done + batch_files]
        batch = read_batch(some, buffers, limits) if buffers else BatchRead(Batch(), {}, [], {})
        # Files that did not fit into the buffers, and all after them, are read in the next round.
        whole = min(batch.later, default=len(some))
        if whole == 0 and len(some) > 1:
            batch_files = len(some) // 2
            continue
        batch_files = min(most_files, 2 * max(1, whole))
        some = some[: max(1, whole)]
        yield from _portions(some, batch, first_id + done, max_rows, limits)
        done += len(some)
        del batch  # before the next one is read, to limit memory
    if buffers is not None:
        _buffers_of_threads.append(buffers)


def _buffers() -> Buffers:
    """Lend buffers that no other thread of this process uses."""
    try:
        return _buffers_of_threads.pop()
    except IndexError:
        return Buffers()


def _portions(
    sources: Sequence[SourceFile], read: BatchRead, first_id: int, max_rows: int, limits: Limits
) -> Iterator[Portion]:
    """Yield a batch in portions; read files unsupported by the fast reader in their order."""
    batch = read.batch
    rows_of = batch.rows_per_file(len(sources))
    mark = batch.mark()
    held = batch.values.blob_bytes
    outcomes: list[Outcome] = []
    start = rows = 0
    for number, source in enumerate(sources):
        taken = read.taken.get(number)
        instance_id = first_id + number
        if taken is not None:
            outcome = Outcome(
                source, instance_id, "fast", taken.transfer_syntax, taken.pixels, taken.note
            )
            rows += int(rows_of[number])
        elif number in read.refused:
            outcome = Outcome(source, reason=read.refused[number].reason)
        else:
            outcome, added = _read_one(source, instance_id, number, batch, limits)
            rows += added
        outcomes.append(outcome)
        if rows >= max_rows or batch.values.blob_bytes - held >= MAX_BLOB_BYTES:
            yield _portion(batch, start, number + 1, first_id, outcomes)
            batch.back_to(mark)
            outcomes, start, rows = [], number + 1, 0
    if outcomes:
        yield _portion(batch, start, len(sources), first_id, outcomes)


def _portion(
    batch: Batch, start: int, stop: int, first_id: int, outcomes: list[Outcome]
) -> Portion:
    with during(Stage.COLUMNS):
        return Portion(*batch.tables(start, stop, first_id), outcomes)


def _read_one(
    source: SourceFile, instance_id: int, number: int, batch: Batch, limits: Limits
) -> tuple[Outcome, int]:
    """Read one file with the reference reader; return its outcome and rows."""
    try:
        with during(Stage.READ):
            header = read_header(source, limits)
            if sum(map(row_count, header.elements)) > limits.rows:
                raise TooMuch(limits.rows, "values")
    except Unreachable as why:
        # Leave size and time null, because it was not read: the next ingest tries again.
        return Outcome(source._replace(size_bytes=None, modified_us=None), reason=why.reason), 0
    except Rejected as why:
        return Outcome(source, reason=why.reason, offset=why.offset), 0
    with during(Stage.DECODE):
        rows = batch.add_elements(number, header.elements)
    outcome = Outcome(
        source, instance_id, "pydicom", header.transfer_syntax, header.pixels, header.note
    )
    return outcome, rows


def no_rows() -> tuple[pa.Table, pa.Table]:
    """Return empty tables of rows and long values."""
    return ELEMENTS.empty_table(), BLOBS.empty_table()
