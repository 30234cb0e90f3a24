"""``Heads``: the first bytes of many files, side by side in one buffer (the arena).

In: source files. Out: ``Heads``: one arena of bytes, and for each file the position of its window
in the arena. A scanner that needs bytes after a window requests another window (``refill``), so
that long values in between are skipped and not read. The arena limits the memory. This module does
not interpret the bytes.
"""

from __future__ import annotations

import io
import os
import stat
from typing import IO, TYPE_CHECKING

import numpy as np

from warehouse.dicom.archive import open_member
from warehouse.dicom.objects import READ_BYTES, Range, open_object, read_range, read_ranges
from warehouse.dicom.open import local_path
from warehouse.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.dicom.scan import SourceFile

FIRST_BYTES = 16 << 10
"""Bytes read first from every file; half of real headers are shorter."""

OBJECT_BYTES = 64 << 10
"""Bytes read first from every object in a bucket, where latency costs more than transfer."""

OBJECTS = 256
"""Objects whose first bytes are requested together, which limits the responses in memory."""

NEXT_BYTES = 64 << 10
"""Bytes of each further window."""

ARENA_BYTES = 96 << 20
"""Bytes of headers in memory at a time; files that do not fit wait for the next scan."""

MEMBER_BYTES = 64 << 20
"""Bytes of unpacked archive members in memory; longer ones fall back to the reference reader."""

PAD = 64
"""Spare bytes after the arena, so that reading a whole word at its end stays inside."""


class Heads:
    """Windows into many files. Offsets named ``*_at`` are relative to the arena."""

    def __init__(self, capacity: int = ARENA_BYTES) -> None:
        self.capacity = capacity
        self.arena = np.empty(capacity + PAD, np.uint8)
        memory = self.arena.data
        self.words = np.ndarray(capacity + PAD - 8, "<u8", memory, strides=(1,))
        """The 8 bytes that begin at any place, as one number."""
        self.halves = np.ndarray(capacity + PAD - 8, "<u4", memory, strides=(1,))
        """The 4 bytes that begin at any place, as one number."""
        self._memory = memoryview(memory)
        self.bytes_read = 0
        self._begin([])

    def _begin(self, sources: Sequence[SourceFile]) -> None:
        count = len(sources)
        self.sources = sources
        self.used = 0
        self.size = np.zeros(count, np.int64)
        """Bytes of the file; -1 if it cannot be opened as a regular file."""
        self.base = np.zeros(count, np.int64)
        """Arena position of byte 0 of the file: ``base + offset`` is the position of an offset."""
        self.state: dict[int, str | None] = {}
        """For an object in a bucket: the state (ETag) that is being read."""
        self.unpacked: dict[int, bytes] = {}
        """For an archive member: all its bytes, because the CRC-32 covers the whole member."""
        self.window_at = np.zeros(count, np.int64)
        """Where the current window ends."""

    def load(self, sources: Sequence[SourceFile], first: int = FIRST_BYTES) -> int:
        """Read the beginning of each file; return the number of files that fit.

        The previous content of the arena is discarded.
        """
        self._begin(sources)
        objects: dict[int, Range | None] = {}
        unpacked = 0
        for number, source in enumerate(self.sources):
            # Reserve half of the arena for further windows.
            wanted = first if source.access is None else OBJECT_BYTES
            if number and self.used + wanted > self.capacity // 2:
                return number
            if source.access is not None:
                if number not in objects:
                    objects = self._some_objects(number)
                self._take(number, objects[number])
                continue
            if source.archive is not None:
                unpacked += source.size_bytes or 0
                if self.unpacked and unpacked > MEMBER_BYTES:
                    return number
                self._unpack(number, first)
                continue
            try:
                # O_NONBLOCK: a file swapped for a FIFO since it was listed must not block the run.
                descriptor = os.open(local_path(source.path), os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                self.size[number] = -1
                continue
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    self.size[number] = -1
                    continue
                got = os.preadv(descriptor, [self._memory[self.used : self.used + first]], 0)
            except OSError:
                self.size[number] = -1
                continue
            finally:
                os.close(descriptor)
            self.size[number] = status.st_size
            self.base[number] = self.used
            self.used += got
            self.bytes_read += got
            self.window_at[number] = self.used
        return len(self.sources)

    def _unpack(self, number: int, first: int) -> None:
        """Unpack a member; if that fails, the reference reader reports why."""
        source = self.sources[number]
        self.size[number] = -1
        if source.archive is None or source.member is None:
            return
        if (source.size_bytes or 0) > MEMBER_BYTES:
            return
        try:
            with open_member(source.archive, source.member) as file:
                data = file.read()
        except (OSError, Rejected):
            return
        self.unpacked[number] = data
        self._take(number, Range(memoryview(data)[:first], len(data), None))

    def _some_objects(self, begin: int) -> dict[int, Range | None]:
        """Read the beginning of the next objects of a bucket, many in parallel."""
        objects = [
            (number, source.path, source.access)
            for number, source in enumerate(self.sources[begin : begin + OBJECTS], begin)
            if source.access is not None
        ]
        ranges = read_ranges((path, access, 0, OBJECT_BYTES, None) for _, path, access in objects)
        return {number: read for (number, *_), read in zip(objects, ranges, strict=True)}

    def _take(self, number: int, read: Range | None) -> None:
        """Copy the beginning of an object or member into the arena."""
        if read is None:
            self.size[number] = -1
            return
        got = len(read.data)
        self._memory[self.used : self.used + got] = read.data
        self.state[number] = read.state
        self.size[number] = read.size_bytes
        self.base[number] = self.used
        self.used += got
        self.bytes_read += got
        self.window_at[number] = self.used

    def refill(self, number: int, offset: int, want: int = NEXT_BYTES) -> bool:
        """Move the window of one file to ``offset``; False if the arena is full or reading fails.

        The bytes of the previous window keep their position in the arena.
        """
        if self.sources[number].access is not None:
            want = max(want, min(READ_BYTES, self.capacity - self.used))
        want = min(want, int(self.size[number]) - offset)
        if want <= 0 or self.used + want > self.capacity:
            return False
        if not self.read_into(number, self._memory[self.used : self.used + want], offset):
            return False
        self.bytes_read += want
        self.base[number] = self.used - offset
        self.used += want
        self.window_at[number] = self.used
        return True

    def read_into(self, number: int, target: memoryview, offset: int) -> bool:
        """Read bytes at ``offset`` of a file into ``target``; False if the file is too short."""
        source = self.sources[number]
        try:
            if number in self.unpacked:
                data = memoryview(self.unpacked[number])[offset : offset + len(target)]
            elif source.access is not None:
                state = self.state.get(number)
                data = read_range(source.path, source.access, offset, len(target), state).data
            else:
                descriptor = os.open(local_path(source.path), os.O_RDONLY | os.O_NONBLOCK)
                try:
                    return os.preadv(descriptor, [target], offset) == len(target)
                finally:
                    os.close(descriptor)
        except OSError:
            return False
        if len(data) != len(target):
            return False
        target[:] = data
        return True

    def open(self, number: int) -> IO[bytes]:
        """Open a file for random access; of an object, the version that is being read.

        Raises
        ------
        OSError
            The file, or this state of an object, cannot be read.
        """
        source = self.sources[number]
        if number in self.unpacked:
            return io.BytesIO(self.unpacked[number])
        if source.access is not None:
            size, state = int(self.size[number]), self.state.get(number)
            return open_object(source.path, source.access, size, state)
        descriptor = os.open(local_path(source.path), os.O_RDONLY | os.O_NONBLOCK)
        return open(descriptor, "rb", buffering=0)
