"""Chunks whose process was killed → their rows, and the file that kills as a reject.

In: chunks and what reads them. Out: ``Staged``, chunk by chunk. A library written in C may end the
process that called it, or the kernel does, for want of memory; then nothing is left that could say
which file it was. So a lost chunk is read again in a process of its own, in halves if that is
killed as well, until the file stands alone. Exceptions are isolated inside of the process
(``warehouse.reading``).
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from warehouse.reading import prove, rejected, stage_chunk
from warehouse.store import layout
from warehouse.store.stage import discard
from warehouse.workers import ServerFailed, WorkerLost, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from warehouse.reading import Chunk
    from warehouse.store.stage import Staged

KILLED = "the process that read it was killed: not read, the next ingest tries again"


def results(
    pool: Executor, chunks: Sequence[Chunk], futures: Sequence[Future[list[Staged]]]
) -> Iterator[list[Staged]]:
    """Wait for chunks in their order; those of killed processes are read again, alone.

    Only in processes of this machine. A scheduler of Dask reads a chunk again by itself, and an
    executor that the caller has brought cannot be told to begin anew: there the loss is raised.
    """
    for chunk, future in zip(chunks, futures, strict=True):
        try:
            yield future.result()
            continue
        except ServerFailed:
            raise
        except WorkerLost:
            if not isinstance(pool, WorkerPool) or pool.is_killed:
                raise
        yield _read_alone(pool, chunk)


def killed_before(root: Path) -> list[Path]:
    """Return the notes of processes that ended while they read, or that read now.

    Few files are read without worker processes, which would take longer to start. What kills that
    process kills the run; the next one finds its note, reads in workers, and learns which file it
    was.
    """
    return list(layout.notes_folder(root).glob("*"))


def of_sources(sources: Iterable[str | os.PathLike[str]]) -> str:
    """Return what a note says of these sources, which it does not name."""
    named = sorted(os.path.abspath(os.fsdecode(source)) for source in sources)
    return hashlib.sha256("\0".join(named).encode(errors="surrogateescape")).hexdigest()[:16]


@contextmanager
def noted(root: Path, killed: list[Path], *, is_alone: bool, reads: str) -> Iterator[None]:
    """Keep a note while files are read in this process; forget those whose files were read now.

    A note says what was read, ``of_sources`` or a planned batch, and only a run that reads the same
    forgets it: others read other files.
    """
    folder = layout.notes_folder(root)
    note = folder / f"{reads}.{uuid.uuid4().hex}"
    # Without room for it the run fails by itself, and says so.
    with suppress(OSError):
        if is_alone:
            folder.mkdir(exist_ok=True)
            note.touch()
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
    with suppress(OSError):
        for old in killed:
            if old.name.startswith(f"{reads}."):
                old.unlink(missing_ok=True)
        folder.rmdir()


def _read_alone(pool: WorkerPool, chunk: Chunk) -> list[Staged]:
    """Read a chunk whose process was killed, each piece of it in a new process.

    Raises
    ------
    WorkerLost
        Even a file that is known to be good has its process killed.
    """
    staged: list[Staged] = []
    waiting = [chunk]
    try:
        while waiting:
            some = waiting.pop()
            try:
                staged += pool.submit(stage_chunk, some).result()
                continue
            except ServerFailed:
                raise
            except WorkerLost:
                if len(some.sources) == 1:
                    pool.submit(prove, some).result()
            if len(some.sources) == 1:
                staged.append(rejected(some, KILLED))
            else:
                first, second = some.halves()
                waiting += [second, first]
    except BaseException:
        discard(chunk.root, staged)
        raise
    return staged
