"""Read many frames, each file opened once, in threads or processes.

In: jobs, each with an image and its requested frames. Out: arrays filled in place. Plain frames are
read one after another: if they are in the page cache, threads are no faster and slow each other
down on a busy machine; for a disk, the system is asked to prefetch some files ahead. Decoders are
slow and hold the GIL, so many compressed frames are decoded in worker processes.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydicom.uid import RLELossless

from warehouse.errors import ArrayTooLarge, PixelsUnreadable
from warehouse.pixels.decode import fragments_of, read_frame, read_plain
from warehouse.pixels.facts import with_high_bit
from warehouse.pixels.image import UNKNOWN
from warehouse.pixels.source import open_pixels, will_need
from warehouse.settings import processors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor, Future

    from warehouse.pixels.image import Image
    from warehouse.pixels.places import Range

MOST_WORKERS = 4
"""Default maximum of decoding processes; each frame must be sent back to this process."""
FILES_AHEAD = 16
"""Number of files that a slow disk is asked to prefetch."""
PARALLEL_PIXELS = 8 << 20
"""Number of pixels above which worker processes pay off; they take half a second to start …"""
PARALLEL_RLE_PIXELS = 16 * PARALLEL_PIXELS
"""… and for RLE, which is decoded nearly as fast as a frame is sent between processes."""


Key = Any
"""Identifier of a frame in a sink."""


def allocated(series_uid: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an empty array for frames of a series.

    Raises
    ------
    ArrayTooLarge
    """
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):  # ValueError: larger than the address space
        size = math.prod(shape) * dtype.itemsize
        raise ArrayTooLarge(f"an array of series {series_uid}", size) from None


class Sink(Protocol):
    """Receiver of frames."""

    def direct(self, key: Key) -> np.ndarray | None:
        """Return the contiguous array of stored values that a frame may be read into, if any."""

    def put(self, key: Key, frame: np.ndarray) -> None:
        """Receive a frame that was not read into the array returned by ``direct``."""


@dataclass(frozen=True, slots=True)
class Job:
    """Frames of one image, and the names that the sink knows them by."""

    image: Image
    wanted: Sequence[tuple[int, Key]]
    """Pairs of frame (from 0) and key."""


Tables = dict[str, list[list["Range"]]]
"""Byte ranges of compressed frames by file; filled at the first read, and kept by the caller."""


def read(
    jobs: Sequence[Job], sink: Sink, tables: Tables | None = None, workers: int | None = None
) -> None:
    """Read frames; each goes to the sink once, in any order, plain ones from any thread.

    Parameters
    ----------
    jobs
        One per image, checked (``Image.check``).
    sink
        Where the frames go.
    tables
        Cache of the byte ranges of compressed frames.
    workers
        Largest number of decoding processes; None means one per processor, at most four.

    Raises
    ------
    SourceChanged, PixelsUnreadable, NoDecoder
    """
    tables = {} if tables is None else tables
    count = min(MOST_WORKERS, processors()) if workers is None else max(1, workers)
    plain: list[Job] = []
    others: list[Job] = []
    for job in jobs:
        if job.image.high_bit == UNKNOWN:
            job = Job(with_high_bit(job.image), job.wanted)  # noqa: PLW2901
        (plain if job.image.is_plain else others).append(job)
    _run_plain(plain, sink)
    frames = sum(len(job.wanted) for job in others)
    much = frames > 1 and sum(_effort(job) for job in others) >= 1
    processes = _processes(count) if count > 1 and much else None
    if processes is None:
        _run(others, sink, tables)
    else:
        _run_in(processes, others, sink, 4 * count)


def _effort(job: Job) -> float:
    """Return the effort of a job, as a fraction of the least work that is worth a process."""
    image = job.image
    least = PARALLEL_RLE_PIXELS if image.TransferSyntaxUID == RLELossless else PARALLEL_PIXELS
    return math.prod(image.frame_shape) * len(job.wanted) / least


def _processes(count: int) -> Executor | None:
    """Return a pool of processes, which end when idle; None without loky."""
    try:
        from loky import get_reusable_executor  # noqa: PLC0415 - only large compressed series do
    except ImportError:
        return None
    made: Executor = get_reusable_executor(max_workers=count, timeout=60)
    return made


def _parts(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """Split jobs into about this many parts of adjacent frames."""
    total = sum(len(job.wanted) for job in jobs)
    size = max(1, -(-total // count))
    parts: list[list[Job]] = [[]]
    room = size
    for job in jobs:
        wanted = job.wanted
        while wanted:
            parts[-1].append(Job(job.image, wanted[:room]))
            taken = len(parts[-1][-1].wanted)
            wanted, room = wanted[room:], room - taken
            if room == 0:
                parts.append([])
                room = size
    return [part for part in parts if part]


def _run_plain(jobs: Sequence[Job], sink: Sink) -> None:
    asked = 0
    for number, job in enumerate(jobs):
        with open_pixels(job.image) as opened:
            for index, key in job.wanted:
                target = sink.direct(key)
                frame = read_plain(opened, index, target)
                if frame is not target:
                    sink.put(key, frame)
        if opened.has_waited or number < asked:
            for later in jobs[max(asked, number + 1) : number + 1 + FILES_AHEAD]:
                if later.image.frame_count == 1:
                    will_need(later.image)
            asked = number + 1 + FILES_AHEAD


def _run(jobs: Iterable[Job], sink: Sink, tables: Tables) -> None:
    for job in jobs:
        with open_pixels(job.image) as opened:
            path = job.image.path
            table = tables.get(path)
            if table is None and (table := fragments_of(opened)) is not None:
                tables[path] = table
            for index, key in job.wanted:
                sink.put(key, read_frame(opened, index, table))


def _run_in(pool: Executor, jobs: Sequence[Job], sink: Sink, waiting: int) -> None:
    """Decode in processes, with few parts in flight to bound memory."""
    frames = sum(len(job.wanted) for job in jobs)
    parts = _parts(jobs, max(waiting, frames // 8))
    running: deque[Future[list[tuple[Key, np.ndarray]]]] = deque()
    try:
        for part in parts:
            running.append(pool.submit(_decode, part))
            if len(running) > waiting:
                _put(running.popleft(), sink)
        while running:
            _put(running.popleft(), sink)
    except BrokenExecutor:
        why = "a process that decoded its frames was killed, most often for want of memory"
        raise PixelsUnreadable(jobs[0].image.path, why) from None
    finally:
        for future in running:
            future.cancel()


def _put(future: Future[list[tuple[Key, np.ndarray]]], sink: Sink) -> None:
    for key, frame in future.result():
        sink.put(key, frame)


def _decode(jobs: list[Job]) -> list[tuple[Key, np.ndarray]]:
    """Run jobs in a worker process."""
    kept = _Kept([])
    _run(jobs, kept, {})
    return kept.frames


@dataclass(frozen=True, slots=True)
class _Kept:
    frames: list[tuple[Key, np.ndarray]]

    def direct(self, key: Key) -> None: ...

    def put(self, key: Key, frame: np.ndarray) -> None:
        self.frames.append((key, frame))
