"""Open the file of an image, after checking that it is unchanged since its ingest.

In: ``Image``. Out: a file, opened read-only and read at offsets. Objects in buckets are read by
ranges. Archive members and deflated data sets are unpacked up to the end of their pixel data.
"""

from __future__ import annotations

import io
import os
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from warehouse.dicom.open import local_path, open_source
from warehouse.dicom.preamble import has_preamble
from warehouse.dicom.source import known_source, require_unchanged
from warehouse.errors import NotAsIngested, PixelsUnreadable, SourceChanged, SourceError
from warehouse.settings import S3Access

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from warehouse.dicom.scan import SourceFile
    from warehouse.pixels.image import Image

_TAGS = {
    b"\xe0\x7f\x10\x00": "PixelData",
    b"\xe0\x7f\x08\x00": "FloatPixelData",
    b"\xe0\x7f\x09\x00": "DoubleFloatPixelData",
    b"\x7f\xe0\x00\x10": "PixelData",
    b"\x7f\xe0\x00\x08": "FloatPixelData",
    b"\x7f\xe0\x00\x09": "DoubleFloatPixelData",
}


_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux; elsewhere every read may wait
_HEAD_BYTES = 12
"""Number of bytes before the pixel data with their tag, VR and length."""


class OpenPixels:
    """The open file of an image; offsets are relative to the start of the file.

    Before any data are returned, the bytes before the pixel data are checked to be the header of
    that element. The descriptor is closed at the end of the ``with`` block.

    Attributes
    ----------
    has_waited
        Whether a plain frame was read from disk rather than from the page cache.
    """

    def __init__(self, image: Image, source: int | IO[bytes]) -> None:
        self.image = image
        self.has_waited = False
        self._descriptor = source if isinstance(source, int) else -1
        self._file = None if isinstance(source, int) else source
        self._head = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    @property
    def is_file(self) -> bool:
        """Whether offsets are those of a plain file, not of an inflated or unpacked one."""
        return self._descriptor >= 0

    @property
    def file(self) -> IO[bytes]:
        """File object for other readers; ``read`` and ``read_into`` may change its position."""
        self._see_head()
        return self._opened()

    @property
    def pixel_vr(self) -> str:
        """VR of the pixel data as written; OW if the file states none."""
        self._see_head()
        text = self._head[4:6].decode("latin-1")
        return text if text in {"OB", "OW", "OF", "OD", "UN"} else "OW"

    def read_into(self, target: np.ndarray, offset: int) -> None:
        """Fill a contiguous array with bytes from an offset.

        Raises
        ------
        PixelsUnreadable
            The file is too short.
        """
        wanted, done = target.nbytes, 0
        if self._descriptor >= 0 and not self._head and offset == self.image.pixel_offset:
            # Read the head in the same call: for small files it is a tenth of the time.
            head = bytearray(min(_HEAD_BYTES, offset))
            done = self._in_memory([head, target], offset - len(head)) - len(head)
            if done == wanted:
                self._check_head(bytes(head))
                return
            self.has_waited, done = True, 0
        self._see_head()
        rest = target.reshape(-1).view(np.uint8).data
        while done < wanted:
            if self._descriptor >= 0:
                got = self._preadv([rest[done:]], offset + done)
            else:
                file = self._opened()
                file.seek(offset + done)
                got = file.readinto(rest[done:])  # type: ignore[attr-defined]
            if got <= 0:
                raise PixelsUnreadable(self.image.path, f"the file ends at byte {offset + done}")
            done += got

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from an offset; fewer at the end of the file."""
        self._see_head()
        return self._read(offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        if self._descriptor >= 0:
            try:
                return os.pread(self._descriptor, length, offset)
            except OSError as error:
                raise self._unreadable(error) from error
        file = self._opened()
        file.seek(offset)
        return file.read(length)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = open(self._descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115
        return self._file

    def _in_memory(self, targets: list[Any], offset: int) -> int:
        """Read from the page cache, without waiting for the disk."""
        try:
            return os.preadv(self._descriptor, targets, offset, _NO_WAIT)
        except OSError:  # not cached, or unsupported by the file system
            return 0

    def _preadv(self, targets: list[Any], offset: int) -> int:
        try:
            return os.preadv(self._descriptor, targets, offset)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> PixelsUnreadable:
        return PixelsUnreadable(self.image.path, error.strerror or type(error).__name__)

    def _see_head(self) -> None:
        if not self._head:
            size = min(_HEAD_BYTES, self.image.pixel_offset)
            self._check_head(self._read(self.image.pixel_offset - size, size))

    def _check_head(self, head: bytes) -> None:
        """Check that pixel data begin at the offset in the catalog, with the same encapsulation."""
        found = _TAGS.get(head[:4]) or _TAGS.get(head[4:8])
        if found != self.image.pixel_keyword:
            raise PixelsUnreadable(
                self.image.path,
                f"{found or 'no pixel data'} at byte {self.image.pixel_offset}, "
                f"{self.image.pixel_keyword} expected",
            )
        self._head = head


def open_pixels(image: Image) -> AbstractContextManager[OpenPixels]:
    """Open the file of an image for reading.

    Raises
    ------
    SourceChanged
        The file is missing, or its size or time has changed since its ingest.
    PixelsUnreadable
        It cannot be read, or has no pixel data where the catalog says.
    """
    if image.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return _unpacked(image)
    try:
        descriptor = os.open(local_path(image.path), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return _unpacked(image)  # a member of an archive, or moved
    try:
        # Check before a file object is opened, which would fail on a folder or block on a pipe.
        status = os.fstat(descriptor)
        _require_unchanged(image, status.st_size, status.st_mtime_ns // 1000)
    except BaseException:
        os.close(descriptor)
        raise
    return OpenPixels(image, descriptor)


def will_need(image: Image) -> None:
    """Ask the system to prefetch the pixels of a file; failures are ignored."""
    try:
        descriptor = os.open(local_path(image.path), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.posix_fadvise(descriptor, image.pixel_offset, image.pixel_length, os.POSIX_FADV_WILLNEED)
    except (OSError, AttributeError):  # no such call, as on macOS
        pass
    finally:
        os.close(descriptor)


@contextmanager
def _unpacked(image: Image) -> Iterator[OpenPixels]:
    source = _source(image)
    try:
        with open_source(source) as file:
            if image.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
                yield OpenPixels(image, _inflated(image, file))
            else:
                yield OpenPixels(image, file)
    except SourceError as error:
        raise PixelsUnreadable(image.path, str(error)) from error
    except zlib.error as error:
        raise PixelsUnreadable(image.path, "the deflated data set is damaged") from error


def _source(image: Image) -> SourceFile:
    """Return the file, archive member or object of an image, as it was ingested."""
    access = S3Access.from_variables(os.environ)
    try:
        return known_source(image.path, image.size_bytes, image.modified_us, access)
    except NotAsIngested as error:
        raise SourceChanged(image.path, str(error)) from error
    except SourceError as error:
        raise PixelsUnreadable(image.path, str(error)) from error


def _require_unchanged(image: Image, size_bytes: int, modified_us: int) -> None:
    try:
        require_unchanged(size_bytes, modified_us, image.size_bytes, image.modified_us)
    except NotAsIngested as error:
        raise SourceChanged(image.path, str(error)) from error


def _inflated(image: Image, file: IO[bytes]) -> IO[bytes]:
    """Inflate a deflated data set up to the end of its pixel data."""
    head = file.read(140)
    file.seek(132 if has_preamble(head, image.size_bytes) else 0)
    # The meta information is not deflated (PS3.5 A.5).
    read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)  # type: ignore[arg-type]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    return io.BytesIO(inflater.decompress(file.read(), image.pixel_offset + image.pixel_length))
