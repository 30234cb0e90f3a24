"""The working folder of an export: locked by one process, and resumed after a stop.

In: a target and a digest of what determines its files. Out: a hidden folder beside the target with
``files`` and ``notes``, deleted when the export is complete. A killed process leaves it behind; its
workers finish their portions, and the next export waits for them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from warehouse.errors import ExportFailed, TargetExists, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STATE, _RUNNING, _TREATING, _PLACING = "state", "running", "treating", "placing"
FILES, NOTES = "files", "notes"


def folder_of(target: Path) -> Path:
    """Return the working folder of the export to a target."""
    return target.with_name(f".{target.name}.deidentify")


@contextmanager
def resumable_folder(target: Path, mark: str, *, lasts: bool) -> Iterator[Path]:
    """Yield the locked working folder; after a failure it stays if the export can be resumed.

    Parameters
    ----------
    target
        Folder or file that is exported.
    mark
        Digest that is the same for the same files.
    lasts
        Whether the export can be resumed: its key is stored.

    Raises
    ------
    UsageError
        The folder was left by another export, or another process holds its lock.
    ExportFailed
        A file cannot be written: the disk is full.
    """
    work = folder_of(target)
    try:
        work.mkdir(mode=0o700, exist_ok=True)
        with _locked(work / _RUNNING, fcntl.LOCK_EX | fcntl.LOCK_NB, target):
            with _locked(work / _TREATING, fcntl.LOCK_EX, target):
                pass  # wait for the workers of a killed process
            _resume_or_begin(work, mark if lasts else "")
            try:
                yield work
            except BaseException:
                if not lasts:
                    shutil.rmtree(work, ignore_errors=True)
                raise
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if isinstance(error, TargetExists | ExportFailed):
            raise
        raise ExportFailed(str(target), error.strerror or str(error)) from error


def _resume_or_begin(work: Path, mark: str) -> None:
    """Resume the export in the folder, or begin in an empty one."""
    state = work / _STATE
    stored_mark = state.read_text() if state.is_file() else ""
    if stored_mark and stored_mark != mark:
        raise UsageError(
            f"{work} was left by a stopped export with another key, other options or other "
            "members; remove it, or repeat that export"
        )
    if not stored_mark:  # nothing was done, or with a key that is not stored
        for name in (FILES, NOTES):
            shutil.rmtree(work / name, ignore_errors=True)
    for name in (FILES, NOTES):
        (work / name).mkdir(exist_ok=True)
    draft = work / f"{_STATE}.begun"
    draft.write_text(mark)
    draft.replace(state)


@contextmanager
def _locked(path: Path, operation: int, target: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            raise UsageError(
                f"{target} is being exported by another process: wait, or choose another target"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def treating(notes: Path) -> Iterator[None]:
    """Hold the shared lock while a portion is treated."""
    with _locked(notes.parent / _TREATING, fcntl.LOCK_SH, notes.parent):
        yield


def mark_complete(work: Path) -> None:
    """Mark the export as complete; from now on its files are renamed."""
    (work / _PLACING).touch()


def was_placing(target: Path) -> bool:
    """Return whether an export was stopped while its files were renamed."""
    return (folder_of(target) / _PLACING).exists()


def clear_placed(target: Path) -> None:
    """Delete the working folder of an export that was stopped after its target was renamed."""
    if os.path.lexists(target) and was_placing(target):
        shutil.rmtree(folder_of(target), ignore_errors=True)
