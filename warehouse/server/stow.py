"""Serve STOW-RS: write uploaded objects to a folder, and ingest them.

In: multipart/related, streamed. Out: files named by their SHA-256, rows of the warehouse, and the
status of each object (PS3.18 10.5). An acknowledged object is on disk and in the warehouse; others
leave no file behind. An object that is stored already, with the same bytes, is not stored again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from warehouse.catalog.header_rows import header_of_file
from warehouse.errors import UsageError, WarehouseError
from warehouse.server.accept import DICOM, DICOM_JSON
from warehouse.server.asking import SLASH, base_url, may, serving
from warehouse.server.bodies import whole_file
from warehouse.server.door import TooLong
from warehouse.server.errors import RESPONSES, Refused, problem
from warehouse.server.found import Instance
from warehouse.server.search import instance_address
from warehouse.server.settings import BEGUN
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.server.serving import Serving

router = APIRouter(
    prefix="/dicomweb", tags=["DICOMweb"], dependencies=[Depends(may("write"))],
    responses={code: RESPONSES[code] for code in (400, 401, 403, 413, 415, 503)},
)  # fmt: skip

_MOST_PARTS = 10_000
_HEADER_BYTES = 8192
_NOT_UNDERSTOOD, _NO_MATCH, _DUPLICATE, _NO_ROOM = 0xC000, 0xA900, 0x0111, 0xA700
"""Failure reasons of PS3.18 I.2.2 and PS3.4 B.2.3."""


class _WrongType(UsageError):
    """The content type is not that of DICOM objects."""


@dataclass(slots=True)
class _Part:
    """One uploaded object, in a temporary file."""

    path: Path
    sha256: str = ""
    sop_class: str = ""
    instance: str = ""
    failure: int | None = None
    keys: tuple[str, str, str] | None = None
    """Keys of study, series and instance, once it is stored."""


@dataclass(slots=True)
class _Receiver:
    """Callbacks of the multipart parser: writes each part to a file and hashes it."""

    folder: Path
    parts: list[_Part] = field(default_factory=list)
    is_complete: bool = False
    _file: IO[bytes] | None = None
    _digest: Any = None
    _header: bytearray = field(default_factory=bytearray)
    _headers: dict[str, str] = field(default_factory=dict)

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end_part,
            "on_header_field": self._header_name, "on_header_value": self._header_value,
            "on_header_end": self._end_header, "on_headers_finished": self._open,
            "on_end": self._end,
        }  # fmt: skip

    def _begin(self) -> None:
        if len(self.parts) >= _MOST_PARTS:
            raise UsageError(f"a request has at most {_MOST_PARTS} parts")
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._add(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._add((b"" if b":" in self._header else b":") + data[start:end])

    def _add(self, data: bytes) -> None:
        self._header += data
        if len(self._header) > _HEADER_BYTES:
            raise UsageError(f"a header of a part has at most {_HEADER_BYTES} bytes")

    def _end_header(self) -> None:
        name, _, value = self._header.decode("latin-1").partition(":")
        self._headers[name.strip().lower()] = value.strip()
        self._header.clear()

    def _open(self) -> None:
        kind = self._headers.get("content-type", DICOM).partition(";")[0].strip().lower()
        if kind != DICOM:
            raise _WrongType(f"every part has to be {DICOM}")
        self.parts.append(_Part(self.folder / f"{uuid.uuid4().hex}.part"))
        self._file = self.parts[-1].path.open("xb")
        self._digest = hashlib.sha256()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            piece = memoryview(data)[start:end]
            self._file.write(piece)
            self._digest.update(piece)

    def _end_part(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self.parts[-1].sha256 = self._digest.hexdigest()

    def _end(self) -> None:
        self.is_complete = True

    def close(self) -> None:
        """Close a partial file."""
        if self._file is not None:
            self._file.close()


_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {DICOM_JSON: {"schema": {"type": "object"}}}}
    for status, text in (
        (200, "All objects are stored"),
        (202, "Some objects are stored"),
        (409, "No object is stored"),
    )
}


@router.post("/studies", responses=_RESPONSES)
async def store(request: Request) -> Response:
    """Store the objects of a body of multipart/related; type="application/dicom"."""
    return await _store(request, None)


@router.post("/studies/{study}", responses=_RESPONSES)
async def store_in_study(request: Request, study: str) -> Response:
    """Store objects of one study."""
    return await _store(request, study.replace(SLASH, "/"))


async def _store(request: Request, study: str | None) -> Response:
    state = serving(request)
    received = state.settings.received
    if received is None:
        raise Refused("this server accepts no objects: start it with --received FOLDER")
    try:
        boundary = _boundary(request.headers.get("content-type", ""))
        folder = received / BEGUN / uuid.uuid4().hex
        await run_in_threadpool(folder.mkdir, parents=True)
        receiver = _Receiver(folder)
        try:
            parser = _make_parser(boundary, receiver)
            async for chunk in request.stream():
                await run_in_threadpool(_feed, parser, chunk)
            if not receiver.is_complete or not receiver.parts:
                raise UsageError("the body ends before its last boundary, or has no part")
            await to_thread.run_sync(
                _store_parts, state, receiver.parts, received, study, limiter=state.writers
            )
        finally:
            receiver.close()
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
    except _WrongType as error:
        return problem(415, "UnsupportedMediaType", str(error))
    return _response(receiver.parts, f"{base_url(request)}/dicomweb", study)


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    kind = str(message.get_param("type") or DICOM).lower()
    if message.get_content_type() != "multipart/related" or kind != DICOM or not boundary:
        raise _WrongType(f'objects are sent as multipart/related; type="{DICOM}"; boundary=…')
    return str(boundary).encode("latin-1", "replace")


def _make_parser(boundary: bytes, receiver: _Receiver) -> MultipartParser:
    try:
        return MultipartParser(boundary, receiver.callbacks())  # type: ignore[arg-type]
    except FormParserError:
        raise UsageError("the boundary is invalid: it must have 1 to 70 characters") from None


def _feed(parser: MultipartParser, chunk: bytes) -> None:
    try:
        parser.write(chunk)
    except (WarehouseError, TooLong):
        raise
    except OSError as error:
        raise WarehouseError(f"an object cannot be written: {error.strerror}") from error
    except Exception as error:  # noqa: BLE001 - the parser may raise anything for a bad body
        raise UsageError(
            f"the body is not valid multipart/related ({type(error).__name__})"
        ) from None


# -- into the warehouse ---------------------------------------------------------------------------


def _store_parts(state: Serving, parts: list[_Part], received: Path, study: str | None) -> None:
    """Move the objects to ``received`` and ingest them, one request at a time."""
    with state.writing:
        version = state.version()
        known: dict[str, str] = {}
        placed: list[tuple[_Part, Path]] = []
        for part in parts:
            _identify(part, study)
            if part.failure is not None:
                continue
            first = known.setdefault(part.instance, part.sha256)
            if first != part.sha256:
                part.failure = _DUPLICATE
                continue
            stored = _find_instance(version.catalog.connection, instance=part.instance)
            if stored is not None:
                part.keys = (stored.study_key, stored.series_key, stored.instance_key)
                part.failure = None if _digest(stored) == part.sha256 else _DUPLICATE
                continue
            target = received / part.sha256[:2] / f"{part.sha256}.dcm"
            if _move(part.path, target):
                placed.append((part, target))
            else:
                part.failure = _NO_ROOM
        if placed:
            _ingest(state, placed)


def _identify(part: _Part, study: str | None) -> None:
    """Read the UIDs of an object, as the ingest would."""
    try:
        header = header_of_file(part.path)
    except WarehouseError:
        part.failure = _NOT_UNDERSTOOD
        return
    part.sop_class = _first_uid(header.get("SOPClassUID"))
    part.instance = _whole_uid(header.get("SOPInstanceUID"))
    if not part.instance or study not in {None, _whole_uid(header.get("StudyInstanceUID"))}:
        part.failure = _NO_MATCH


def _first_uid(value: object) -> str:
    """Return a UID; of several values the first, as in the ingest."""
    return str((value[0] if value else "") if isinstance(value, list) else value or "")


def _whole_uid(value: object) -> str:
    """Return a UID that identifies; of several values the whole text, as in the ingest."""
    return "\\".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _find_instance(
    connection: Any, *, instance: str | None = None, path: Path | None = None
) -> Instance | None:
    """Return the instance with a key, or the one that is stored from a file; None if none is."""
    parameters = [None, None, instance, None if path is None else str(path)]
    rows = connection.execute(statement("instances", "dicomweb"), parameters).fetchall()
    return Instance._make(rows[0]) if rows else None


def _digest(instance: Instance) -> str:
    """Return the SHA-256 of the file of an instance; empty if it is missing or has changed."""
    digest = hashlib.sha256()
    with contextlib.suppress(WarehouseError):
        for chunk in whole_file(instance):
            digest.update(chunk)
        return digest.hexdigest()
    return ""


def _ingest(state: Serving, placed: list[tuple[_Part, Path]]) -> None:
    paths = sorted({str(path) for _, path in placed})
    try:
        state.warehouse.ingest(*paths, workers=1)
    except WarehouseError:
        for part, path in placed:
            path.unlink(missing_ok=True)
            part.failure = _NO_ROOM
        return
    connection = state.version().catalog.connection
    for part, path in placed:
        stored = _stored_instance(connection, part, path)
        if stored is None:
            part.failure = _NOT_UNDERSTOOD
            path.unlink(missing_ok=True)
        else:
            part.keys = (stored.study_key, stored.series_key, stored.instance_key)


def _stored_instance(connection: Any, part: _Part, path: Path) -> Instance | None:
    """Return the instance stored from the file of a part, or one stored with the same bytes."""
    stored = _find_instance(connection, instance=part.instance)
    if stored is not None and stored.path == str(path):
        return stored
    # Look it up by path, as the key may not be the UID, such as of a UID with several values.
    by_path = _find_instance(connection, path=path)
    if by_path is None and stored is not None and _digest(stored) == part.sha256:
        return stored
    return by_path


def _move(path: Path, target: Path) -> bool:
    """Move a file durably; return false if that fails, and leave no file behind."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    except OSError:
        return False
    try:
        _sync_folder(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            target.unlink()
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- response -------------------------------------------------------------------------------------


def _response(parts: list[_Part], base: str, study: str | None) -> Response:
    stored = [part for part in parts if part.failure is None]
    failed = [part for part in parts if part.failure is not None]
    body: dict[str, Any] = {}
    if study is not None:
        body["00081190"] = _element("UR", f"{base}/studies/{quote(study, safe='')}")
    if failed:
        items = [
            _sop_reference(part) | {"00081197": _element("US", part.failure)} for part in failed
        ]
        body["00081198"] = {"vr": "SQ", "Value": items}
    if stored:
        items = [
            _sop_reference(part)
            | {"00081190": _element("UR", instance_address(base, *(part.keys or ())))}
            for part in stored
        ]
        body["00081199"] = {"vr": "SQ", "Value": items}
    status = 200 if not failed else 202 if stored else 409
    return Response(json.dumps(body), status, media_type=DICOM_JSON)


def _sop_reference(part: _Part) -> dict[str, Any]:
    uids = {"00081150": part.sop_class, "00081155": part.instance}
    return {tag: _element("UI", uid) for tag, uid in uids.items() if uid}


def _element(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}
