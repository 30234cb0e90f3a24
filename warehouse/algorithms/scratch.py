"""The scratch folder of jobs: locked by one run of an algorithm, and cleaned after it."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
    """Remove the folder of a task, fixing permissions that prevent it."""
    if not folder.exists():
        return

    def make_writable(_function: Any, path: str, _error: Any) -> None:
        for blocked in (os.path.dirname(path), path):
            if not os.path.islink(blocked):
                try:
                    os.chmod(blocked, 0o700)
                except OSError:
                    return
        shutil.rmtree(path, ignore_errors=True)

    shutil.rmtree(folder, onerror=make_writable)
