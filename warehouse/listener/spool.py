"""Store received data sets as durable files: write, sync, rename.

A file is written in ``parts/`` and renamed into ``files/`` when it is complete and on disk; only
then may it be acknowledged. ``files/`` is an ordinary source, one folder per day, caller and batch;
nothing in it is changed or deleted here. Files in ``parts/`` were never acknowledged.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import itertools
import os
import re
import threading
import uuid
from typing import TYPE_CHECKING

from warehouse.errors import SpoolInUse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def default_spool(root: Path, aet: str) -> Path:
    """Return the default spool of a listener: a folder beside the warehouse.

    It is not in the warehouse, which never ingests its own folder.
    """
    return root.parent / f"{root.name}-received" / _UNSAFE.sub("_", aet)


class Part:
    """A file that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._file = path.open("xb")

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._digest.update(data)
        self._file.write(data)

    def finish(self) -> str:
        """Sync the file to disk and close it; return its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Close and delete the file."""
        # On a full disk a file that cannot be flushed cannot be closed at first either.
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


class Spool:
    """The folder of received files of one listener.

    Raises
    ------
    SpoolInUse
        Another listener uses it, in this process or another.
    OSError
        It cannot be created.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files, self._parts = root / "files", root / "parts"
        for folder in (self.files, self._parts):
            _make_folder(folder)
        self._lock_file = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_file)
            raise SpoolInUse(root) from None
        for leftover in self._parts.iterdir():
            leftover.unlink()
        self._guard, self._making = threading.Lock(), threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[Path, int] = {}
        self._begin_batch()

    def _begin_batch(self) -> None:
        now = _now()
        self._day, self._batch = f"{now:%Y/%m/%d}", f"{now:%H%M%S}-{uuid.uuid4().hex[:8]}"
        self._synced: set[Path] = set()

    def close(self) -> None:
        """Release the lock of the folder."""
        os.close(self._lock_file)

    def begin(self, head: bytes) -> Part:
        """Create a file that begins with these bytes."""
        part = Part(self._parts / f"{next(self._numbers)}.part")
        try:
            part.write(head)
        except OSError:
            part.discard()
            raise
        return part

    def keep(self, part: Part, caller: str) -> Path:
        """Rename a complete file; when this returns, it survives a power failure.

        The same bytes received twice into a batch are one file.

        Raises
        ------
        OSError
            The file was not stored.
        """
        try:
            name = f"{part.finish()}.dcm"
            with self._guard:
                # Others ingest only the folder of today, and a quiet night has no other batch.
                if self._day != f"{_now():%Y/%m/%d}":
                    self._begin_batch()
                folder = self.files / self._day / _UNSAFE.sub("_", caller) / self._batch
            self._sync_made(folder)
            os.replace(part.path, folder / name)
            sync_folder(folder)
        except OSError:
            part.discard()
            raise
        with self._guard:
            self._waiting[folder] = self._waiting.get(folder, 0) + 1
        return folder / name

    def _sync_made(self, folder: Path) -> None:
        """Create a folder; when this returns, its name is on disk, whoever created it."""
        with self._making:
            if folder not in self._synced or not folder.is_dir():
                _make_folder(folder, self.root)
                self._synced.add(folder)

    @property
    def waiting(self) -> int:
        """Number of waiting files: received since the last ``take``, or put back."""
        with self._guard:
            return sum(self._waiting.values())

    def take(self) -> dict[Path, int]:
        """Return folders with waiting files → number of files; new files go to other folders.

        A file that is being moved to one of these folders makes the folder wait again.
        """
        with self._guard:
            folders, self._waiting = self._waiting, {}
            self._begin_batch()
            return folders

    def put_back(self, folders: Iterable[tuple[Path, int]]) -> None:
        """Return folders to the queue, because their ingest failed."""
        with self._guard:
            for folder, count in folders:
                self._waiting[folder] = self._waiting.get(folder, 0) + count


def _now() -> dt.datetime:
    return dt.datetime.now().astimezone()


def _make_folder(folder: Path, above: Path | None = None) -> None:
    """Create a folder, and sync its parents up to one that exists, so that its name is on disk."""
    above = above or next(parent for parent in folder.parents if parent.is_dir())
    folder.mkdir(parents=True, exist_ok=True)
    for parent in folder.parents:
        sync_folder(parent)
        if parent == above:
            break


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
