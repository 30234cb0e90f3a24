"""Select the folders of recent days, and detect whether any folder has changed.

In: sources as given by users. Out: fewer sources, or ``FolderState``, which is cheap to compute.
``scan`` lists the files; this module opens none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.dicom.objects import is_object
from warehouse.dicom.scan import leads_to_folder
from warehouse.errors import SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable


def day_folders(
    sources: Iterable[str | os.PathLike[str]], days: int = 1, today: dt.date | None = None
) -> list[str]:
    """Return the existing subfolders ``YYYY/MM/DD`` of the newest days, oldest first.

    Scanners and archives use such folder names. Two days include files that arrive at midnight.

    Raises
    ------
    SourceNotFound
        A source itself does not exist or is not a folder. A day without a folder is not an error.
    """
    newest = today or dt.datetime.now().astimezone().date()
    wanted = [newest - dt.timedelta(days=back) for back in reversed(range(days))]
    found = []
    for source in (str(os.fspath(source)) for source in sources):
        if is_object(source):
            # A bucket has no folders: a day without objects is an empty listing.
            found += [f"{source.rstrip('/')}/{day:%Y/%m/%d}/" for day in wanted]
            continue
        if not os.path.isdir(source):
            raise SourceNotFound(source)
        folders = [os.path.join(source, f"{day:%Y}", f"{day:%m}", f"{day:%d}") for day in wanted]
        found += [folder for folder in folders if os.path.isdir(folder)]
    return found


@dataclass(frozen=True, slots=True)
class FolderState:
    """Names and modification times of folders, and of the archives in them."""

    digest: str
    newest_us: int
    """Time of the latest change seen, in microseconds since 1970."""


def folder_state(
    sources: Iterable[str | os.PathLike[str]], exclude: str | os.PathLike[str] = ""
) -> FolderState:
    """Return the state of folders, without calling ``stat`` on the files in them.

    The time of a folder changes when an entry is added, removed or renamed, so new files are
    detected. A file that is overwritten, or written to after its creation, changes no folder.
    Therefore a caller that skips listings while the state is unchanged must still list sometimes.

    Parameters
    ----------
    sources
        Files, folders, archives; a missing source is a state as well.
    exclude
        A folder to leave out: the warehouse itself.
    """
    seen = {_identity(os.fspath(exclude))} if exclude else set()
    digest = hashlib.sha256()
    newest = 0
    waiting = sorted((os.path.abspath(source) for source in sources), reverse=True)
    while waiting:
        path = waiting.pop()
        try:
            status = os.stat(path)
        except OSError as error:
            digest.update(os.fsencode(f"{path}\0{error.errno}\0"))
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            continue
        seen.add(identity)
        newest = max(newest, status.st_mtime_ns // 1000)
        digest.update(os.fsencode(f"{path}\0{identity}\0{status.st_mtime_ns}\0"))
        if not os.path.isdir(path):
            digest.update(f"{status.st_size}\0".encode())
            continue
        try:
            with os.scandir(path) as entries:
                inside = [
                    entry.path for entry in entries
                    if leads_to_folder(entry) or entry.name.lower().endswith(".zip")
                ]  # fmt: skip
        except OSError as error:
            digest.update(f"{error.errno}\0".encode())
            continue
        waiting += sorted(inside, reverse=True)
    return FolderState(digest.hexdigest(), newest)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
