"""A chunk of files → staged parts: what a worker process does, with all that it imports.

In: files and settings. Out: ``Staged``. Apart from ``warehouse.ingest``, so that workers load
neither DuckDB nor Delta: they start sooner, and each is smaller.

No exception of one file ends a run. Where a chunk fails, what is left of it is halved until the
file stands alone that fails; it becomes a reject. What is not one file's is raised: errors of this
project (``WriteFailed``: a full disk, a lost permission), and whatever a file known to be good
raises too (``docs/decisions/0018-one-file-never-stops-a-run.md``).
"""

from __future__ import annotations

import gc
import os
import platform
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import Outcome, Portion, extract, no_rows
from warehouse.errors import ReadingFailed, SourceError, WarehouseError, WrongMachine
from warehouse.process import collector_paused
from warehouse.stages import Stage, failure, unexpected
from warehouse.store.marker import found_identity
from warehouse.store.stage import Staged, discard, stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from warehouse.settings import IngestSettings

_GOOD_FILE = bytes(128) + b"DICM" + b"\x08\x00\x18\x00UI\x04\x001.1\x00"
"""A file known to be good: its only element is a SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Files that are read together, and where their rows belong."""

    root: Path
    warehouse_id: str
    batch: str
    place: int
    """Number of the chunk in its batch."""
    sources: Sequence[SourceFile]
    first_id: int
    """Instance id of the first file; ids are counted on for rejected files too."""
    settings: IngestSettings

    def part(self, start: int, stop: int) -> Chunk:
        """Return some of its files, with the ids that they have."""
        return replace(self, sources=self.sources[start:stop], first_id=self.first_id + start)

    def halves(self) -> tuple[Chunk, Chunk]:
        """Cut a chunk of two files or more."""
        middle = len(self.sources) // 2
        return self.part(0, middle), self.part(middle, len(self.sources))


def stage_chunk(chunk: Chunk) -> list[Staged]:
    """Read some files and write their rows.

    Raises
    ------
    WrongMachine
        The folder of the warehouse is another one here, or none.
    WriteFailed
    ReadingFailed
        Files fail for a reason that is not theirs.
    """
    if found_identity(chunk.root) != chunk.warehouse_id:
        raise WrongMachine(chunk.root, platform.node())
    staged: list[Staged] = []
    waiting = [chunk]
    try:
        while waiting:
            some = waiting.pop()
            why = _stage(some, staged)
            if why is None:
                continue
            # Traceback and frames of what failed hold its memory.
            gc.collect()
            done = chunk.first_id + sum(portion.files.num_rows for portion in staged)
            left = some.part(done - some.first_id, len(some.sources))
            if len(left.sources) > 1:
                first, second = left.halves()
                waiting += [second, first]
            else:
                staged.append(_judged(left, why))
    except BaseException:
        discard(chunk.root, staged)
        raise
    return staged


def rejected(chunk: Chunk, reason: str) -> Staged:
    """Return the rejects of a chunk whose files cannot be read for an unexpected reason.

    Without size and time, as files that could not be opened: so the next ingest tries again. The
    reason may be one that a newer version, or more memory, does away with.
    """
    outcomes = [
        Outcome(source._replace(size_bytes=None, modified_us=None), reason=reason)
        for source in chunk.sources
    ]
    portion = Portion(*no_rows(), outcomes)
    settings = chunk.settings
    return stage(chunk.root, chunk.batch, chunk.place, portion, settings.mode, keep_blobs=False)


def prove(chunk: Chunk) -> None:
    """Read a file that is known to be good, as the files of a chunk are, and forget its rows.

    Raises
    ------
    ReadingFailed
        It cannot be read: so no other file is to blame.
    """
    try:
        descriptor, path = tempfile.mkstemp(suffix=".dcm")
        try:
            with open(descriptor, "wb") as file:
                file.write(_GOOD_FILE)
            good = SourceFile(path, len(_GOOD_FILE), 0)
            staged = list(_staged(replace(chunk, sources=[good])))
        finally:
            os.unlink(path)
    except WarehouseError:
        raise
    except Exception as error:
        raise ReadingFailed(*failure(error)) from error
    discard(chunk.root, staged)
    if staged[0].files["status"].to_pylist() != ["ingested"]:
        raise ReadingFailed(Stage.READ, "Rejected")


def _stage(chunk: Chunk, staged: list[Staged]) -> tuple[str, str] | None:
    """Append what is read of a chunk; return stage and kind of the error that ended it."""
    try:
        with collector_paused():
            for portion in _staged(chunk):
                staged.append(portion)  # noqa: PERF402 - those before an error stay
    except Exception as error:
        if isinstance(error, WarehouseError) and not isinstance(error, SourceError):
            raise
        return failure(error)
    return None


def _staged(chunk: Chunk) -> Iterator[Staged]:
    settings = chunk.settings
    for portion in extract(
        list(chunk.sources), chunk.first_id, settings.chunk_rows, limits=settings.limits
    ):
        yield stage(
            chunk.root, chunk.batch, chunk.place, portion, settings.mode,
            keep_blobs=settings.keep_blobs,
        )  # fmt: skip


def _judged(chunk: Chunk, why: tuple[str, str]) -> Staged:
    """Reject the only file of a chunk, unless any other would have failed as well."""
    prove(chunk)
    return rejected(chunk, unexpected(*why))
