"""Stream response bodies: multipart/related, source files and zip archives.

In: parts or instances. Out: an iterator of bytes, so that memory does not grow with the response.
If a source file has changed since its ingest, the response ends before its last boundary, so that
clients see that it is incomplete.
"""

from __future__ import annotations

import io
import os
import uuid
import zipfile
from typing import IO, TYPE_CHECKING, NamedTuple

from starlette.responses import Response, StreamingResponse

from warehouse.dicom.open import open_source
from warehouse.dicom.source import known_source
from warehouse.errors import NotAsIngested, SourceChanged, SourceError
from warehouse.settings import S3Access

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from warehouse.server.found import Instance

_CHUNK = 1 << 20
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class Part(NamedTuple):
    """One part of a multipart response."""

    content_type: str
    location: str
    content: Iterable[bytes]


def _multipart_body(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        head = f"\r\n--{boundary}\r\nContent-Type: {part.content_type}\r\n"
        if part.location:
            head += f"Content-Location: {part.location}\r\n"
        yield f"{head}\r\n".encode()
        yield from part.content
    yield f"\r\n--{boundary}--\r\n".encode()


def related(parts: Iterable[Part], media: str, *, at_once: bool = False) -> Response:
    """Return a multipart/related response.

    Parameters
    ----------
    parts
        Parts, created while they are sent.
    media
        Media type of the parts.
    at_once
        Send the body in one message, which costs less than a stream if it is short.
    """
    boundary = f"dicom-warehouse-{uuid.uuid4().hex}"
    content_type = f'multipart/related; type="{media}"; boundary={boundary}'
    body = _multipart_body(parts, boundary)
    if at_once:
        return Response(b"".join(body), media_type=content_type)
    return StreamingResponse(_with_first_part(body), media_type=content_type)


def _with_first_part(body: Iterator[bytes]) -> Iterator[bytes]:
    """Produce the first part before the response starts, so that an error has a status."""
    first = [next(body), next(body, b"")]

    def all_chunks() -> Iterator[bytes]:
        yield from first
        yield from body

    return all_chunks()


def whole_file(instance: Instance) -> Iterator[bytes]:
    """Yield the bytes of a source file, which must be unchanged since its ingest.

    Raises
    ------
    SourceChanged
    """
    with _SourceFile(instance) as file:
        size = 0
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            yield chunk
    if size != instance.size_bytes:
        raise SourceChanged(instance.path, "its length differs from that at its ingest")


def require_source(instance: Instance) -> None:
    """Check that a source file exists and is unchanged.

    Raises
    ------
    SourceChanged
    """
    _SourceFile(instance).close()


class _SourceFile:
    """The open source file of an instance."""

    def __init__(self, instance: Instance) -> None:
        access = S3Access.from_variables(os.environ)
        try:
            source = known_source(instance.path, instance.size_bytes, instance.modified_us, access)
            self._context = open_source(source)
            self._file = self._context.__enter__()
        except (NotAsIngested, SourceError) as error:
            raise SourceChanged(instance.path, str(error)) from None

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._context.__exit__(None, None, None)


class _Sink(io.RawIOBase):
    """Buffer for the output of zipfile until it is sent."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        """Return true."""
        return True

    def write(self, data: object) -> int:
        """Append bytes to the buffer."""
        piece = bytes(data)  # type: ignore[call-overload]
        self.pieces.append(piece)
        return len(piece)

    def drain(self) -> bytes:
        """Return and clear the buffered bytes."""
        content, self.pieces = b"".join(self.pieces), []
        return content


def zipped(named: Iterable[tuple[str, Instance]]) -> Iterator[bytes]:
    """Yield an uncompressed zip of source files while it is written.

    Raises
    ------
    SourceChanged
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[arg-type, unused-ignore]
        for name, instance in named:
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.file_size = instance.size_bytes or 0
            with archive.open(info, "w", force_zip64=info.file_size >= 1 << 31) as member:
                for chunk in whole_file(instance):
                    member.write(chunk)
                    yield sink.drain()
            yield sink.drain()
    yield sink.drain()
