"""Resolve a path of ``files`` to a file, archive member or object, and check that it is unchanged.

In: the row of a source in ``files``. Out: ``SourceFile``, which ``open_source`` opens. All code
that reads a source after its ingest uses this module, so that members and objects are found by the
same rule everywhere, and changed sources are never read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from warehouse.dicom.objects import find_objects, is_object, whole_seconds
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import ARCHIVE_SEPARATOR, SourceFile
from warehouse.errors import NotAsIngested, Unreachable

if TYPE_CHECKING:
    from warehouse.settings import S3Access


def holding_file(path: str) -> str:
    """Return the archive of a member, or the path itself of a file."""
    end = path.find(ARCHIVE_SEPARATOR) - 1
    # A folder may be named like an archive with this separator: `a.zip!/1.dcm` is a file then.
    if end >= 0 and os.path.lexists(local_path(path)):
        return path
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
        As in ``files``; the time of a member is that of its archive.
    s3
        Access to buckets.

    Raises
    ------
    NotAsIngested
        It is missing, or its size or modification time has changed.
    Unreachable
        It cannot be accessed.
    BucketUnreachable
    """
    if is_object(path):
        (found,) = find_objects([path], s3)
        if found is None:
            raise NotAsIngested("there is no such object any more", is_gone=True)
        # Earlier versions of this software stored the milliseconds that some servers list.
        known_us = None if modified_us is None else whole_seconds(modified_us)
        require_unchanged(found.size_bytes, found.modified_us, size_bytes, known_us)
        return SourceFile(path, size_bytes, modified_us, access=s3)
    holding = holding_file(path)
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
    # The size of the archive was not recorded, so compare only its time.
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
