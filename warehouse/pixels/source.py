"""An image → the bytes of its file, if it is still the file that was ingested.

In: ``Image``. Out: an open file that is read at offsets. Opened read-only, always. Members of
archives and deflated data sets are unpacked, no further than to the end of their pixel data.
"""

from __future__ import annotations

import io
import os
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from warehouse.dicom.open import local_path, open_source
from warehouse.dicom.scan import ARCHIVE_SEPARATOR, SourceFile
from warehouse.errors import PixelsUnreadable, SourceChanged, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.pixels.image import Image

_TAGS = {
    b"\xe0\x7f\x10\x00": "PixelData",
    b"\xe0\x7f\x08\x00": "FloatPixelData",
    b"\xe0\x7f\x09\x00": "DoubleFloatPixelData",
    b"\x7f\xe0\x00\x10": "PixelData",
    b"\x7f\xe0\x00\x08": "FloatPixelData",
    b"\x7f\xe0\x00\x09": "DoubleFloatPixelData",
}


class OpenPixels:
    """The file of an image, open. Offsets count from the start of the file.

    Attributes
    ----------
    file
        For readers that want a file object; ``read`` and ``read_into`` do not move it.
    """

    def __init__(self, image: Image, file: IO[bytes]) -> None:
        self.image = image
        self.file = file
        try:
            self._descriptor = file.fileno()
        except (OSError, io.UnsupportedOperation):
            self._descriptor = -1
        self._check_tag()

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill a buffer of bytes from an offset.

        Raises
        ------
        PixelsUnreadable
            The file ends before.
        """
        wanted, done = len(target), 0
        while done < wanted:
            if self._descriptor >= 0:
                got = os.preadv(self._descriptor, [target[done:]], offset + done)
            else:
                self.file.seek(offset + done)
                got = self.file.readinto(target[done:])  # type: ignore[attr-defined]
            if got <= 0:
                raise PixelsUnreadable(self.image.path, f"the file ends at byte {offset + done}")
            done += got

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from an offset; fewer where the file ends."""
        if self._descriptor >= 0:
            return os.pread(self._descriptor, length, offset)
        self.file.seek(offset)
        return self.file.read(length)

    @property
    def pixel_vr(self) -> str:
        """VR of the pixel data as written; OW where the file writes none."""
        text = self._head[4:6].decode("latin-1")
        return text if text in {"OB", "OW", "OF", "OD", "UN"} else "OW"

    def _check_tag(self) -> None:
        """See that pixel data begin where the catalog says, of the kind that it says."""
        offset = self.image.pixel_offset
        self._head = self.read(max(offset - 12, 0), min(12, offset))
        found = _TAGS.get(self._head[:4]) or _TAGS.get(self._head[4:8])
        if found != self.image.pixel_keyword:
            raise PixelsUnreadable(
                self.image.path,
                f"{found or 'no pixel data'} at byte {offset}, {self.image.pixel_keyword} expected",
            )


@contextmanager
def open_pixels(image: Image) -> Iterator[OpenPixels]:
    """Open the file of an image for reading.

    Raises
    ------
    SourceChanged
        The file is gone, or its size or time differ from those at its ingest.
    PixelsUnreadable
        It cannot be read, or has no pixel data where the catalog says.
    """
    if image.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        try:
            descriptor = os.open(local_path(image.path), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            pass  # moved, or a member of an archive
        else:
            with open(descriptor, "rb", buffering=0) as file:
                _compare(image, os.fstat(descriptor), of_archive=False)
                yield OpenPixels(image, file)
            return
    with _unpacked(image) as unpacked:
        yield OpenPixels(image, unpacked)


@contextmanager
def _unpacked(image: Image) -> Iterator[IO[bytes]]:
    source = _source(image)
    try:
        with open_source(source) as file:
            if image.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
                yield _inflated(image, file)
            else:
                yield file
    except SourceError as error:
        raise PixelsUnreadable(image.path, str(error)) from error


def _source(image: Image) -> SourceFile:
    """Return the file or archive member of an image; the archive itself must be unchanged."""
    if (status := _status(image.path)) is not None:
        _compare(image, status, of_archive=False)
        return SourceFile(image.path, image.size_bytes, image.modified_us)
    archive, separator, member = image.path.partition(ARCHIVE_SEPARATOR)
    while separator:
        if (status := _status(archive)) is not None:
            _compare(image, status, of_archive=True)
            return SourceFile(
                image.path, image.size_bytes, image.modified_us,
                os.fsdecode(local_path(archive)), os.fsdecode(local_path(member)),
            )  # fmt: skip
        more, separator, member = member.partition(ARCHIVE_SEPARATOR)
        archive = f"{archive}{ARCHIVE_SEPARATOR}{more}"
    raise SourceChanged(image.path, "there is no such file any more")


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(local_path(path))
    except OSError:
        return None


def _compare(image: Image, status: os.stat_result, *, of_archive: bool) -> None:
    if not of_archive and status.st_size != image.size_bytes:
        why = f"it has {status.st_size} bytes, {image.size_bytes} when it was ingested"
        raise SourceChanged(image.path, why)
    if status.st_mtime_ns // 1000 != image.modified_us:
        raise SourceChanged(image.path, "its modification time is not that of its ingest")


def _inflated(image: Image, file: IO[bytes]) -> IO[bytes]:
    """Return a deflated data set, unpacked as far as the pixel data go, which bounds it."""
    prefix = file.read(132)
    file.seek(132 if prefix[128:] == b"DICM" else 0)
    # The meta information is not deflated (PS3.5 A.5).
    read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)  # type: ignore[arg-type]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    return io.BytesIO(inflater.decompress(file.read(), image.pixel_offset + image.pixel_length))
