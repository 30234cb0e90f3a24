"""The folder of a data set: ours or empty, written file by file, and no link in it followed.

In: a folder that a user named, and contents. Out: files that have their names when they are
complete. Everything is opened relative to the folder that was checked, so that a link that somebody
puts there meanwhile is replaced or refused, not followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.provenance import ABOUT, text
from warehouse.errors import ExportFailed, TargetExists, cause_of
from warehouse.outputs import refuse_existing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = "it holds other files: name a folder that is empty or does not exist"
_ANOTHER = (
    "it holds another export, or one of another version of the warehouse or with other options: "
    "name a folder that is empty or does not exist"
)
_LATER = {"manifest_sha256", "bids"}
"""Facts that are known at the end only."""


@contextlib.contextmanager
def claimed(target: Path, facts: dict[str, Any]) -> Iterator[int]:
    """Open a folder that is empty, new, or a part of the same export that was broken off.

    Parameters
    ----------
    target
        The folder; a link is refused.
    facts
        What the export says about itself: the same for the same export.

    Yields
    ------
    int
        Descriptor of the folder.

    Raises
    ------
    TargetExists, UsageError, ExportFailed
    """
    if not os.path.lexists(target):
        refuse_existing(target)
        with _failing(str(target)):
            target.mkdir()
    elif not stat.S_ISDIR(os.lstat(target).st_mode):
        raise TargetExists(target, "it is no folder: name another")
    with _failing(str(target)):
        root = os.open(target, _FOLDER)
    try:
        if os.listdir(root):
            try:
                known = json.loads(read(root, ABOUT))
                known = {name: fact for name, fact in known.items() if name not in _LATER}
                same = known == json.loads(text(facts))
            except (OSError, ValueError, AttributeError):
                raise TargetExists(target, _OTHERS) from None
            if not same:
                raise TargetExists(target, _ANOTHER)
        else:
            write(root, ABOUT, text(facts).encode())
        yield root
    finally:
        os.close(root)


def read(root: int, name: str) -> bytes:
    """Return the content of a file that stands directly in a folder."""
    number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    with open(number, "rb") as file:
        return file.read()


@contextlib.contextmanager
def opened(root: int, name: str) -> Iterator[BufferedReader]:
    """Open a file below a folder to read."""
    with _failing(name), _parent(root, name) as (folder, last):
        number = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(number, "rb") as file:
            yield file


def has(root: int, name: str) -> bool:
    """Tell whether a complete file of that name is there."""
    try:
        with _parent(root, name) as (folder, last):
            return stat.S_ISREG(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode)
    except (FileNotFoundError, ExportFailed):
        return False


def write(root: int, name: str, content: bytes) -> None:
    """Write a file below a folder, in the place of one of that name.

    Raises
    ------
    ExportFailed
        A folder on the way is a link or a file, or the disk is full.
    """
    with _failing(name), _parent(root, name) as (folder, last):
        draft = f".{uuid.uuid4().hex}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(draft, flags, 0o666, dir_fd=folder), "wb") as file:
                file.write(content)
            os.replace(draft, last, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)


@contextlib.contextmanager
def _parent(root: int, name: str) -> Iterator[tuple[int, str]]:
    """Open the folder of a file, made where it is missing; its last name beside it."""
    *parts, last = name.split("/")
    opened = [os.dup(root)]
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=opened[-1])
            with _failing(name):
                opened.append(os.open(part, _FOLDER, dir_fd=opened[-1]))
        yield opened[-1], last
    finally:
        for number in opened:
            os.close(number)


@contextlib.contextmanager
def _failing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportFailed(name, cause_of(error)[0]) from error
