"""WADO-RS (PS3.18): objects, frames, bulk data and pictures, read from source files.

In: requests. Out: bytes. What is answered from the index is in ``dicomweb``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response, StreamingResponse

from warehouse.catalog.few import session_about
from warehouse.catalog.long_values import open_value
from warehouse.errors import PixelsUnreadable, UsageError
from warehouse.server import rendered
from warehouse.server.accept import DICOM, OCTETS, RELATED, choose, frame_form, object_form
from warehouse.server.asking import Shown, Timed, may
from warehouse.server.bodies import Part, related, require_source, whole_file, zipped
from warehouse.server.description import answers, parameter
from warehouse.server.errors import RESPONSES, NotAcceptable, NotFound
from warehouse.server.frames import frames, native_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from warehouse.pixels.image import Image
    from warehouse.server.found import Instance
    from warehouse.server.serving import Version

router = APIRouter(
    prefix="/dicomweb", tags=["DICOMweb"], dependencies=[Depends(may("read"))], route_class=Timed,
    responses={code: RESPONSES[code] for code in (400, 401, 403, 404, 406, 408, 409, 410, 503)},
)  # fmt: skip

Accept = Annotated[str | None, Header(include_in_schema=False)]

_LOOK: dict[str, Any] = {
    "parameters": [
        parameter(
            "window",
            {"type": "string", "pattern": "^-?[0-9]{1,5},[1-9][0-9]{0,4}(,linear)?$"},
            "center,width,linear",
        ),
        parameter(
            "viewport",
            {"type": "string", "pattern": "^[1-9][0-9]{0,2},[1-9][0-9]{0,2}$"},
            "columns,rows that the picture has to fit",
        ),
        parameter("quality", {"type": "integer", "minimum": 1, "maximum": 100}, "of a JPEG"),
    ]
}


# -- objects --------------------------------------------------------------------------------------


def _objects(found: Sequence[Instance], accept: str | None) -> Response:
    form = object_form(accept, [one.transfer_syntax for one in found])
    require_source(found[0])
    if form == "application/zip":
        names = ((f"{one.series_key}/{one.instance_key}.dcm", one) for one in found)
        return StreamingResponse(zipped(_safe(names)), media_type=form)
    if form == DICOM:
        if len(found) > 1:
            raise NotAcceptable(f"{len(found)} objects are to be had as multipart/related")
        media = f"{DICOM}; transfer-syntax={found[0].transfer_syntax}"
        size = {"Content-Length": str(found[0].size_bytes)}
        return StreamingResponse(whole_file(found[0]), media_type=media, headers=size)
    parts = (
        Part(f"{DICOM}; transfer-syntax={one.transfer_syntax}", "", whole_file(one))
        for one in found
    )
    return related(parts, DICOM)


def _safe(named: Iterator[tuple[str, Instance]]) -> Iterator[tuple[str, Instance]]:
    """Yield file names that are safe to unpack."""
    for name, one in named:
        yield "/".join(re.sub(r"[^\w.-]|^\.+", "_", part) for part in name.split("/")), one


@router.get("/studies/{study}", responses=answers(RELATED, "application/zip"))
def study_objects(version: Shown, study: str, accept: Accept = None) -> Response:
    """Return the objects of a study, as they were ingested."""
    return _objects(version.images.instances(study), accept)


@router.get("/studies/{study}/series/{series}", responses=answers(RELATED, "application/zip"))
def series_objects(version: Shown, study: str, series: str, accept: Accept = None) -> Response:
    """Return the objects of a series."""
    return _objects(version.images.instances(study, series), accept)


_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"


@router.get(_INSTANCE, responses=answers(RELATED, DICOM, "application/zip"))
def instance_object(
    version: Shown, study: str, series: str, instance: str, accept: Accept = None
) -> Response:
    """Return an object, byte by byte as it was ingested."""
    return _objects(version.images.instances(study, series, instance), accept)


# -- frames and bulk data -------------------------------------------------------------------------


@router.get(_INSTANCE + "/frames/{numbers}", responses=answers(RELATED, OCTETS, "image/*"))
def instance_frames(
    version: Shown, study: str, series: str, instance: str, numbers: str, accept: Accept = None
) -> Response:
    """Return frames, from 1, with commas between, as stored or decompressed."""
    (one,) = version.images.instances(study, series, instance)
    image = version.images.image(one)
    chosen = _numbers(numbers, image.frame_count)
    form = frame_form(accept, image.TransferSyntaxUID, is_compressed=image.is_encapsulated)
    if not form.is_multipart and len(chosen) > 1:
        raise NotAcceptable("several frames are to be had as multipart/related")
    made = frames(version.images, image, chosen, is_stored=form.is_stored)
    stated = f"{form.media}; transfer-syntax={form.syntax}"
    if not form.is_multipart:
        return Response(next(made), media_type=stated)
    parts = (Part(stated, "", [frame]) for frame in made)
    return related(parts, form.media, at_once=len(chosen) == 1)


def _numbers(text: str, count: int) -> list[int]:
    """Return numbers of frames from 0."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) for part in parts):
        raise UsageError("frames are numbers from 1, with commas between")
    chosen = [int(part) - 1 for part in parts]
    if not all(0 <= number < count for number in chosen):
        raise NotFound(f"the instance has {count} frames, from 1")
    return chosen


_VALUE = (
    "select vr, length, sha256, bytes from elements "
    "where instance_id = $1 and path = $2 and tag = $3"
)


@router.get(_INSTANCE + "/bulkdata/{place}", responses=answers(RELATED, OCTETS))
def bulk_data(
    version: Shown, study: str, series: str, instance: str, place: str, accept: Accept = None
) -> Response:
    """Return a binary value, or the pixel data, of an element: a tag, after its items."""
    (one,) = version.images.instances(study, series, instance)
    path, _, tag = place.rpartition(".")
    session = session_about(version.catalog, [one.instance_id])
    rows = session.execute(_VALUE, [one.instance_id, path, tag]).fetchall()
    if not rows or rows[0][1] is None:
        raise NotFound("the instance has no such binary value")
    if path == "" and tag in {"7FE00008", "7FE00009", "7FE00010"} and rows[0][2] is None:
        return _pixel_data(version, version.images.image(one), accept)
    form = frame_form(accept, None, is_compressed=False)
    content: Iterator[bytes] = (
        iter([rows[0][3]]) if rows[0][3] is not None else _value(version, rows[0][2])
    )
    if not form.is_multipart:
        return StreamingResponse(content, media_type=OCTETS)
    return related([Part(OCTETS, "", content)], OCTETS)


def _pixel_data(version: Version, image: Image, accept: str | None) -> Response:
    """Return all pixel data: native ones as one part, compressed ones a frame a part."""
    form = frame_form(accept, image.TransferSyntaxUID, is_compressed=image.is_encapsulated)
    stated = f"{form.media}; transfer-syntax={form.syntax}"
    if not image.is_encapsulated:
        whole = native_pixels(image)
        if not form.is_multipart:
            return StreamingResponse(whole, media_type=stated)
        return related([Part(stated, "", whole)], form.media)
    if not form.is_multipart and image.frame_count > 1:
        raise NotAcceptable("several frames are to be had as multipart/related")
    made = frames(version.images, image, range(image.frame_count), is_stored=form.is_stored)
    if not form.is_multipart:
        return Response(next(made), media_type=stated)
    return related((Part(stated, "", [frame]) for frame in made), form.media)


def _value(version: Version, sha256: str) -> Iterator[bytes]:
    with open_value(version.catalog, sha256) as file:
        while chunk := file.read(1 << 20):
            yield chunk


# -- pictures -------------------------------------------------------------------------------------


def _picture(
    request: Request,
    version: Version,
    found: Sequence[Instance],
    frame: int | None,
    side: int | None = None,
) -> Response:
    media = choose(request.headers.get("accept"), rendered.MEDIA)
    shown = [one for one in found if one.has_pixels] or list(found)
    one = shown[len(shown) // 2]
    image = version.images.image(one)
    number = image.frame_count // 2 if frame is None else frame
    if not 0 <= number < image.frame_count:
        raise NotFound(f"the instance has {image.frame_count} frames, from 1")
    try:
        made = rendered.picture(image, number, request.query_params, media, side=side)
    except MemoryError:
        raise PixelsUnreadable(one.path, "there is not enough memory for its picture") from None
    return Response(made, media_type=media)


_PICTURES = answers(*rendered.MEDIA)


def _pictures(path: str, side: int | None, what: str) -> None:
    """Add the routes of pictures of one kind."""

    def of_study(request: Request, version: Shown, study: str) -> Response:
        return _picture(request, version, version.images.instances(study), None, side)

    def of_series(request: Request, version: Shown, study: str, series: str) -> Response:
        return _picture(request, version, version.images.instances(study, series), None, side)

    def of_instance(
        request: Request, version: Shown, study: str, series: str, instance: str
    ) -> Response:
        found = version.images.instances(study, series, instance)
        return _picture(request, version, found, None if side else 0, side)

    def of_frame(
        request: Request, version: Shown, study: str, series: str, instance: str, number: str
    ) -> Response:
        found = version.images.instances(study, series, instance)
        (frame, *rest) = _numbers(number, version.images.image(found[0]).frame_count)
        if rest:
            raise UsageError("one frame at a time makes a picture")
        return _picture(request, version, found, frame, side)

    routes: list[tuple[str, str, Callable[..., Response]]] = [
        ("/studies/{study}", "study", of_study),
        ("/studies/{study}/series/{series}", "series", of_series),
        (_INSTANCE, "instance", of_instance), (_INSTANCE + "/frames/{number}", "frame", of_frame),
    ]  # fmt: skip
    for prefix, level, route in routes:
        route.__doc__ = f"Return {what} of {'an' if level == 'instance' else 'a'} {level}."
        router.add_api_route(
            f"{prefix}/{path}",
            route,
            methods=["GET"],
            responses=_PICTURES,
            name=f"{level} {path}",
            openapi_extra=_LOOK,
        )


_pictures("rendered", None, "a picture")
_pictures("thumbnail", 128, "a small picture")
