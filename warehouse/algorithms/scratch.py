"""The scratch folder of jobs: locked by one run of an algorithm, and cleaned after it."""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from warehouse.algorithms.tasks import FOLDER
from warehouse.errors import RunLocked, WriteFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def alone(root: Path, algorithm: str) -> Iterator[None]:
    """Hold the lock for running jobs of an algorithm.

    Raises
    ------
    RunLocked
        Another process runs jobs of this algorithm.
    WriteFailed
    """
    folder = root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder / f".{algorithm}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise WriteFailed("the folder of jobs", error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLocked(
                f"jobs of {algorithm} are being run by another process; wait for it, or stop it"
            ) from None
        yield
    finally:
        os.close(descriptor)


def clear_folder(folder: Path) -> None:
    """Remove the folder of a task, fixing permissions that prevent it.

    An algorithm may have nested folders deeper than paths, open files or recursion can be: folders
    are moved up into ``folder`` before they are emptied. What cannot be removed, stays.
    """
    pending = [folder] if folder.exists() else []
    while pending:
        current = pending.pop()
        with suppress(OSError):
            current.chmod(0o700)
        with suppress(OSError):
            for entry in list(os.scandir(current)):
                with suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)
                    moved = folder / uuid.uuid4().hex
                    os.rename(entry.path, moved)
                    pending.append(moved)
        if current != folder:
            with suppress(OSError):
                current.rmdir()
    with suppress(OSError):
        folder.rmdir()
