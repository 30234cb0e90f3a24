"""Reread chunks whose worker was killed, and reject the file that kills the process.

In: chunks and the pool that reads them. Out: ``Staged``, chunk by chunk. A C library may abort the
process, or the kernel may kill it when memory runs out, and neither reports which file was the
cause. Therefore a lost chunk is read again in a new process, and bisected as long as processes are
killed, until one file is left. Exceptions are isolated inside the worker (``warehouse.reading``).
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
    """Yield the results of chunks in order; read chunks of killed workers again, one at a time.

    Only chunks of a ``WorkerPool`` are read again: Dask repeats a chunk itself, and any other
    executor is unusable after a loss, so the error is raised.
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
    """Return the notes of processes that read files themselves and ended, or are still reading.

    A few files are read without workers, because starting workers would take longer. A file that
    kills this process ends the run; the next run finds the note, reads in workers and identifies
    the file.
    """
    return list(layout.notes_folder(root).glob("*"))


def of_sources(sources: Iterable[str | os.PathLike[str]]) -> str:
    """Return a digest of the source paths, for the name of a note."""
    named = sorted(os.path.abspath(os.fsdecode(source)) for source in sources)
    return hashlib.sha256("\0".join(named).encode(errors="surrogateescape")).hexdigest()[:16]


@contextmanager
def noted(root: Path, killed: list[Path], *, is_alone: bool, reads: str) -> Iterator[None]:
    """Keep a note while this process reads files; on success delete old notes of the same files.

    The name of a note begins with what is read: ``of_sources``, or the key of a planned batch. Only
    a run that reads the same files deletes the note.
    """
    folder = layout.notes_folder(root)
    note = folder / f"{reads}.{uuid.uuid4().hex}"
    # On a full disk the run fails by itself, with a reason.
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
    """Read a lost chunk in new workers, and bisect it as long as these are killed, too.

    Raises
    ------
    WorkerLost
        A worker that reads a known good file is killed, too.
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
