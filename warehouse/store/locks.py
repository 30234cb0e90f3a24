"""Locks of a warehouse (``flock`` on files), and unique batch numbers.

In: the folder of a warehouse. Out: a lock while a block runs, or a new batch number. The operating
system releases the locks of a process that is killed.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from warehouse.errors import WriteFailed
from warehouse.store import layout
from warehouse.store.making import reach_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _open_lock(root: Path, name: str) -> int:
    try:
        return os.open(root / name, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise WriteFailed(f"{root / name}", error) from error


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the exclusive lock for a commit; waits for other writers."""
    descriptor = _open_lock(root, "_lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Hold the shared writer lock, which shows that uncommitted parts may belong to a writer.

    If no process holds it, such parts are left over from killed writers.
    """
    descriptor = _open_lock(root, "_writers")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def no_writers(root: Path) -> Iterator[bool]:
    """Hold the writer lock exclusively and yield True; yield False immediately if a writer runs."""
    descriptor = _open_lock(root, "_writers")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def claim_batch(root: Path, plan: bytes = b"") -> str:
    """Reserve the next batch number, and store the plan of the batch in the file of that name.

    The file is created by a hard link, so it appears with its whole content, and only one of
    several concurrent writers can create it.
    """
    folder = layout.claims_folder(root)
    number = max((int(name) for name in os.listdir(folder) if name.isdecimal()), default=0)
    draft = folder / f".{uuid.uuid4().hex}"
    try:
        draft.write_bytes(plan)
        while True:
            number += 1
            try:
                os.link(draft, folder / layout.batch_name(number))
            except FileExistsError:
                continue
            # Otherwise a power failure could lose the claim, and two batches would get one number.
            reach_disk([folder / layout.batch_name(number)])
            return layout.batch_name(number)
    except OSError as error:
        raise WriteFailed("a batch number", error) from error
    finally:
        draft.unlink(missing_ok=True)
