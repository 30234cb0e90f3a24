"""Read a chunk of files and stage its rows: the code that runs in a worker process.

In: files and settings. Out: ``Staged``. The module does not import DuckDB or deltalake, so that
workers start faster and use less memory.

No exception caused by one file ends a run. If a chunk fails, its remaining files are bisected until
only the failing file is left, which is rejected. Errors that no file causes are raised: those of
this project (``WriteFailed``: a full disk, a lost permission), and any error that also occurs when
a known good file is read (``docs/decisions/0018-one-file-never-stops-a-run.md``).
"""

from __future__ import annotations

import gc
import os
import platform
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import Outcome, Portion, extract, no_rows
from warehouse.errors import ReadingFailed, SourceError, WarehouseError, WrongMachine
from warehouse.process import collector_paused
from warehouse.settings import IngestSettings
from warehouse.stages import Stage, failure, unexpected
from warehouse.store.marker import found_identity
from warehouse.store.stage import Staged, discard, stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GOOD_FILE = bytes(128) + b"DICM" + b"\x08\x00\x18\x00UI\x04\x001.1\x00"
"""A known good file, whose only element is a SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Files that a worker reads in one call, and their batch."""

    root: Path
    warehouse_id: str
    batch: str
    place: int
    """Number of the chunk in its batch, from 0."""
    sources: Sequence[SourceFile]
    first_id: int
    """Instance id of the first file; the following files have consecutive ids, rejects included."""
    settings: IngestSettings

    def part(self, start: int, stop: int) -> Chunk:
        """Return the files from ``start`` up to ``stop`` as a chunk; they keep their ids."""
        return replace(self, sources=self.sources[start:stop], first_id=self.first_id + start)

    def halves(self) -> tuple[Chunk, Chunk]:
        """Split a chunk of at least two files."""
        middle = len(self.sources) // 2
        return self.part(0, middle), self.part(middle, len(self.sources))


def stage_chunk(chunk: Chunk) -> list[Staged]:
    """Read the files of a chunk and write their rows to parts that no table references yet.

    Returns
    -------
    list of Staged
        One or more portions, which together cover every file of the chunk.

    Raises
    ------
    WrongMachine
        This machine has another warehouse, or none, at the path of the folder.
    WriteFailed
    ReadingFailed
        A known good file cannot be read either.
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
            # The traceback of the failure keeps its memory alive.
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
    """Stage all files of a chunk as rejects with this reason.

    Size and time are null, as for files that could not be opened, so that the next ingest tries
    again: it may have a newer version of this software, or more memory.
    """
    outcomes = [
        Outcome(source._replace(size_bytes=None, modified_us=None), reason=reason)
        for source in chunk.sources
    ]
    portion = Portion(*no_rows(), outcomes)
    settings = chunk.settings
    return stage(chunk.root, chunk.batch, chunk.place, portion, settings.mode, keep_blobs=False)


def prove(chunk: Chunk) -> None:
    """Read a known good file with the settings of a chunk, and discard its rows.

    Raises
    ------
    ReadingFailed
        It cannot be read, so the cause is not in the files of the chunk.
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


def rehearse() -> None:
    """Read the known good file into a temporary folder, so that what first calls make exists.

    The fork server calls this before it forks: the first calls take a worker as long as 400 files.
    """
    with tempfile.TemporaryDirectory() as folder:
        prove(Chunk(Path(folder), "", "000001", 0, [], 0, IngestSettings()))


def _stage(chunk: Chunk, staged: list[Staged]) -> tuple[str, str] | None:
    """Append the portions of a chunk; return stage and type of an error, or None on success."""
    try:
        with collector_paused():
            for portion in _staged(chunk):
                staged.append(portion)  # noqa: PERF402 - keeps the portions before an error
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
    """Reject the only file of a chunk, unless reading a known good file fails, too."""
    prove(chunk)
    return rejected(chunk, unexpected(*why))
