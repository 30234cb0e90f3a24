"""Resolve a path of ``files`` to a file, archive member or object, and check that it is unchanged.

In: what ``files`` knows of a source. Out: ``SourceFile``, which ``open_source`` opens. Whoever
comes back to a source after its ingest asks here, so that a member or an object is found by the
same rule everywhere, and none is read that has changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from warehouse.dicom.objects import find_objects, is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import ARCHIVE_SEPARATOR, SourceFile
from warehouse.errors import NotAsIngested, Unreachable

if TYPE_CHECKING:
    from warehouse.settings import S3Access


def holding_file(path: str) -> str:
    """Return the archive of a member, or the path itself of a file."""
    end = -1
    while (end := path.find(ARCHIVE_SEPARATOR, end + 1)) > 0:
        if os.path.isfile(local_path(path[:end])):
            return path[:end]
    return path


def known_source(
    path: str, size_bytes: int | None, modified_us: int | None, s3: S3Access
) -> SourceFile:
    """Return a source as it was ingested.

    Parameters
    ----------
    path, size_bytes, modified_us
        As in ``files``; of a member the time is that of its archive.
    s3
        How buckets are reached.

    Raises
    ------
    NotAsIngested
        It is gone, or its size or modification time are other ones.
    Unreachable
        It cannot be looked at.
    BucketUnreachable
    """
    if is_object(path):
        (found,) = find_objects([path], s3)
        if found is None:
            raise NotAsIngested("there is no such object any more", is_gone=True)
        require_unchanged(found.size_bytes, found.modified_us, size_bytes, modified_us)
        return SourceFile(path, size_bytes, modified_us, access=s3)
    holding = path if os.path.lexists(local_path(path)) else holding_file(path)
    try:
        status = os.stat(local_path(holding))
    except (FileNotFoundError, NotADirectoryError):
        raise NotAsIngested("there is no such file any more", is_gone=True) from None
    except OSError as error:
        raise Unreachable(f"cannot be read: {error.strerror}") from error
    changed_us = status.st_mtime_ns // 1000
    if holding == path:
        require_unchanged(status.st_size, changed_us, size_bytes, modified_us)
        return SourceFile(path, size_bytes, modified_us)
    # Nobody noted the size of the archive.
    require_unchanged(size_bytes, changed_us, size_bytes, modified_us)
    archive = os.fsdecode(local_path(holding))
    # An archive whose name is not UTF-8 is a URL in `files`, and so may the name of its member be.
    member = os.fsdecode(local_path(path[len(holding) + len(ARCHIVE_SEPARATOR) :]))
    return SourceFile(path, size_bytes, modified_us, archive, member)


def require_unchanged(
    size_bytes: int | None, modified_us: int, known_bytes: int | None, known_us: int | None
) -> None:
    """Compare size and modification time of a source with those of its ingest.

    Raises
    ------
    NotAsIngested
    """
    if size_bytes != known_bytes:
        raise NotAsIngested(f"it has {size_bytes} bytes, {known_bytes} when it was ingested")
    if modified_us != known_us:
        raise NotAsIngested("its modification time is not that of its ingest")
