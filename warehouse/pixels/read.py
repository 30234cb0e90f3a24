"""Many frames → one array, each file opened once.

In: jobs, each an image and the frames wanted of it. Out: arrays filled in place. Plain frames are
read by threads, since reading leaves the interpreter free; decoders do not, so that a large number
of compressed frames goes to worker processes.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from warehouse.pixels.decode import fragments_of, read_frame, read_plain
from warehouse.pixels.source import open_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor, Future

    import numpy as np

    from warehouse.pixels.image import Image
    from warehouse.pixels.places import Range

THREADED_BYTES = 8 << 20
"""From here on a second thread pays."""
PARALLEL_PIXELS = 8 << 20
"""From here on worker processes pay, which take half a second to start."""


Key = Hashable
"""What a sink calls a frame."""


class Sink(Protocol):
    """Where a frame goes."""

    def direct(self, key: Key) -> np.ndarray | None:
        """Return the contiguous array of stored values that a frame may be read into, if any."""

    def put(self, key: Key, frame: np.ndarray) -> None:
        """Take a frame that was not read into the array that ``direct`` gave."""


@dataclass(frozen=True, slots=True)
class Job:
    """Frames of one image, and what the sink calls each."""

    image: Image
    wanted: Sequence[tuple[int, Key]]
    """Pairs of frame (from 0) and key."""


Tables = dict[str, list[list["Range"]]]
"""Where the compressed frames of a file lie: built when it is first read, kept by its owner."""


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
        Filled with the places of compressed frames, and used if they are there.
    workers
        How many threads or worker processes; None takes one per processor, at most four.

    Raises
    ------
    SourceChanged, PixelsUnreadable, NoDecoder
    """
    tables = {} if tables is None else tables
    count = _processors() if workers is None else max(1, workers)
    plain: list[Job] = []
    others: list[Job] = []
    for job in jobs:
        (plain if job.image.is_plain else others).append(job)
    # Of one size, nearly always; it is only to say whether threads are worth their while.
    size = plain[0].image.frame_bytes * sum(len(job.wanted) for job in plain) if plain else 0
    if count > 1 and size >= THREADED_BYTES:
        with ThreadPoolExecutor(count) as pool:
            for _ in pool.map(lambda part: _run_plain(part, sink), _parts(plain, 4 * count)):
                pass
    else:
        _run_plain(plain, sink)
    frames = sum(len(job.wanted) for job in others)
    pixels = sum(math.prod(job.image.frame_shape) * len(job.wanted) for job in others)
    much = frames > 1 and pixels >= PARALLEL_PIXELS
    processes = _processes(count) if count > 1 and much else None
    if processes is None:
        _run(others, sink, tables)
    else:
        _run_in(processes, others, sink, 4 * count)


def _processors() -> int:
    return min(4, len(os.sched_getaffinity(0)))


def _processes(count: int) -> Executor | None:
    """Return worker processes, which end by themselves when they are idle; None without loky."""
    try:
        from loky import get_reusable_executor  # noqa: PLC0415 - only large compressed series do
    except ImportError:
        return None
    made: Executor = get_reusable_executor(max_workers=count, timeout=60)
    return made


def _parts(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """Cut jobs into about that many parts of neighbouring frames."""
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


def _run_plain(jobs: Iterable[Job], sink: Sink) -> None:
    for job in jobs:
        with open_pixels(job.image) as opened:
            for index, key in job.wanted:
                target = sink.direct(key)
                frame = read_plain(opened, index, target)
                if frame is not target:
                    sink.put(key, frame)


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
    """Decode in processes; a few parts wait, so that no more is in memory than the sink holds."""
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
