"""Open a source file, archive member or object, always read-only.

In: ``SourceFile``. Out: a binary file. Archive members are unpacked into memory, large ones into
a temporary file, never beside the source.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from warehouse.dicom.archive import open_member
from warehouse.dicom.objects import open_object
from warehouse.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.dicom.scan import SourceFile

SPOOL_BYTES = 64 << 20
"""Archive members longer than this go through a temporary file."""


def local_path(path: str) -> str | bytes:
    """Return the argument of ``open`` for a path in ``files``, which may be a file URL."""
    if path.startswith("file://"):
        return unquote_to_bytes(path.removeprefix("file://"))
    return path


@contextmanager
def open_source(source: SourceFile) -> Iterator[IO[bytes]]:
    """Open a file, an archive member or an object for reading.

    Raises
    ------
    Rejected
        It cannot be unpacked.
    Unreachable
        It cannot be opened or read.
    """
    try:
        if source.access is not None:
            with open_object(source.path, source.access, source.size_bytes) as file:
                yield file
        elif source.archive is not None and source.member is not None:
            with _unpacked(source.archive, source.member) as file:
                yield file
        else:
            # O_NONBLOCK: a file swapped for a FIFO since it was listed must not block the run.
            descriptor = os.open(local_path(source.path), os.O_RDONLY | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                yield file
    except OSError as error:
        raise Unreachable(f"cannot be read: {error.strerror or type(error).__name__}") from error


@contextmanager
def _unpacked(archive: str, member: str) -> Iterator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        with open_member(archive, member) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)
        file.seek(0)
        yield file
