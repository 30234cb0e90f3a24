"""Who may write to a warehouse: its locks, and the numbers of batches.

In: the folder of a warehouse. Out: a lock for as long as a block runs, or a number that nobody else
has. The system takes a lock from a process that was killed.
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
    """Hold the writer's lock of a warehouse; waits for another writer on this machine."""
    descriptor = _open_lock(root, "_lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Tell that parts without a commit belong to someone; any number of writers may do so at once.

    The system takes the lock from a process that was killed, so what is left over has no owner.
    """
    descriptor = _open_lock(root, "_writers")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def no_writers(root: Path) -> Iterator[bool]:
    """Keep new writers waiting and give True; give False at once if one is running."""
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
    """Take the next batch number, with what is planned for it; no other writer gets the same one.

    The claim appears whole or not at all: it is linked, not written, under its name.
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
            # A number that a power cut gave back would be of two batches.
            reach_disk([folder / layout.batch_name(number)])
            return layout.batch_name(number)
    except OSError as error:
        raise WriteFailed("a batch number", error) from error
    finally:
        draft.unlink(missing_ok=True)
