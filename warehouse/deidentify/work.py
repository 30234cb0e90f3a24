"""The working folder of an export: locked by one process, and continued after a stop.

In: a target and what decides about its files. Out: a hidden folder beside the target with ``files``
and ``notes``, which goes when the export is complete. A process that is killed leaves it; its
workers end by themselves when they have done their portion, and are waited for.
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
    """Return the folder in which the export of a target is made."""
    return target.with_name(f".{target.name}.deidentify")


@contextmanager
def resumable_folder(target: Path, mark: str, *, lasts: bool) -> Iterator[Path]:
    """Give the folder of what is being made; it stays after a failure if it can be gone on with.

    Parameters
    ----------
    target
        What is to be made.
    mark
        The same for the same files.
    lasts
        It can be gone on with: the key is kept somewhere.

    Raises
    ------
    UsageError
        It was left by another export, or another process makes it.
    ExportFailed
        The disk is full.
    """
    work = folder_of(target)
    try:
        work.mkdir(mode=0o700, exist_ok=True)
        with _locked(work / _RUNNING, fcntl.LOCK_EX | fcntl.LOCK_NB, target):
            with _locked(work / _TREATING, fcntl.LOCK_EX, target):
                pass  # workers of a process that was killed have ended
            _claim(work, mark if lasts else "")
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


def _claim(work: Path, mark: str) -> None:
    """Go on with what is in the folder, or begin in an empty one."""
    state = work / _STATE
    known = state.read_text() if state.is_file() else ""
    if known and known != mark:
        raise UsageError(
            f"{work} was left by an export that was stopped and had another key, other options or "
            "other members; remove it, or export as then"
        )
    if not known:  # nothing was done yet, or by a key that is kept nowhere
        for name in (FILES, NOTES):
            shutil.rmtree(work / name, ignore_errors=True)
    for name in (FILES, NOTES):
        (work / name).mkdir(exist_ok=True)
    draft = work / f"{_STATE}.begun"
    draft.write_text(mark)
    draft.replace(state)


@contextmanager
def _locked(path: Path, how: int, target: Path) -> Iterator[None]:
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(number, how)
        except BlockingIOError:
            raise UsageError(
                f"{target} is being exported by another process: wait for it, or name another"
            ) from None
        yield
    finally:
        os.close(number)


@contextmanager
def treating(notes: Path) -> Iterator[None]:
    """Say that a portion is being treated, until it is done."""
    with _locked(notes.parent / _TREATING, fcntl.LOCK_SH, notes.parent):
        yield


def mark_complete(work: Path) -> None:
    """Note that everything is made and gets its names from now on."""
    (work / _PLACING).touch()


def was_placing(target: Path) -> bool:
    """Return whether an export was stopped while its files got their names."""
    return (folder_of(target) / _PLACING).exists()


def clear_placed(target: Path) -> None:
    """Remove what a stop left behind after a target had got its name."""
    if os.path.lexists(target) and was_placing(target):
        shutil.rmtree(folder_of(target), ignore_errors=True)
