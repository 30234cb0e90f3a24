"""Write the files of a data set to a folder without following symbolic links.

In: a folder that a user named, and contents. Out: files, which get their names when they are
complete. Files are opened relative to the descriptor of the checked folder, so that a link that is
created meanwhile is replaced or refused, never followed.
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
_OTHER_FILES = "it contains other files: choose a folder that is empty or does not exist"
_OTHER_EXPORT = (
    "it contains another export, or one of another version of the warehouse or with other options: "
    "choose a folder that is empty or does not exist"
)
_FINAL_FACTS = {"manifest_sha256", "bids"}
"""Facts that are known only at the end of an export."""


@contextlib.contextmanager
def claimed(target: Path, facts: dict[str, Any]) -> Iterator[int]:
    """Open a folder that is new, empty, or of the same export, if that was interrupted.

    Parameters
    ----------
    target
        The folder; a link is refused.
    facts
        Provenance of the export, equal for equal exports.

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
        with _export_errors(str(target)):
            target.mkdir()
    elif not stat.S_ISDIR(os.lstat(target).st_mode):
        raise TargetExists(target, "it is not a folder: choose another")
    with _export_errors(str(target)):
        root = os.open(target, _FOLDER)
    try:
        if os.listdir(root):
            try:
                stored = json.loads(read(root, ABOUT))
                stored = {name: fact for name, fact in stored.items() if name not in _FINAL_FACTS}
                is_same = stored == json.loads(text(facts))
            except (OSError, ValueError, AttributeError):
                raise TargetExists(target, _OTHER_FILES) from None
            if not is_same:
                raise TargetExists(target, _OTHER_EXPORT)
        else:
            write(root, ABOUT, text(facts).encode())
        yield root
    finally:
        os.close(root)


def read(root: int, name: str) -> bytes:
    """Return the content of a file directly in a folder."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    with open(descriptor, "rb") as file:
        return file.read()


@contextlib.contextmanager
def opened(root: int, name: str) -> Iterator[BufferedReader]:
    """Open a file below a folder for reading."""
    with _export_errors(name), _parent(root, name) as (folder, file_name):
        descriptor = os.open(file_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(descriptor, "rb") as file:
            yield file


def has(root: int, name: str) -> bool:
    """Return whether a folder has a complete file of this name."""
    try:
        with _export_errors(name), _parent(root, name) as (folder, file_name):
            return stat.S_ISREG(os.stat(file_name, dir_fd=folder, follow_symlinks=False).st_mode)
    except ExportFailed:  # what is wrong is said when the file is written
        return False


def write(root: int, name: str, content: bytes) -> None:
    """Write a file below a folder, and replace an existing one.

    Raises
    ------
    ExportFailed
        A parent folder is a link or a file, or the disk is full.
    """
    with _export_errors(name), _parent(root, name) as (folder, file_name):
        draft = f".{uuid.uuid4().hex}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(draft, flags, 0o666, dir_fd=folder), "wb") as file:
                file.write(content)
            os.replace(draft, file_name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)


@contextlib.contextmanager
def _parent(root: int, name: str) -> Iterator[tuple[int, str]]:
    """Open the folder of a file, creating missing ones; yield descriptor and file name."""
    *parts, file_name = name.split("/")
    descriptors = [os.dup(root)]
    try:
        for part in parts:
            with _export_errors(name):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptors[-1])
                descriptors.append(os.open(part, _FOLDER, dir_fd=descriptors[-1]))
        yield descriptors[-1], file_name
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def _export_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportFailed(name, cause_of(error)[0]) from error
