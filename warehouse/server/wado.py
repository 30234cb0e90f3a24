"""Serve WADO-RS from source files: objects, frames, bulk data and pictures (PS3.18).

In: requests. Out: bytes. ``dicomweb`` serves metadata.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydicom.uid import ExplicitVRBigEndian
from starlette.responses import Response, StreamingResponse

from warehouse.catalog.few import session_about
from warehouse.catalog.long_values import open_value
from warehouse.cohorts.names import fill
from warehouse.errors import PixelsUnreadable, UsageError
from warehouse.server import rendered
from warehouse.server.accept import DICOM, OCTETS, RELATED, choose, frame_form, object_form
from warehouse.server.asking import Shown, Timed, may
from warehouse.server.bodies import Part, related, require_source, whole_file, zipped
from warehouse.server.description import answers, parameter
from warehouse.server.errors import RESPONSES, NotAcceptable, NotFound
from warehouse.server.frames import frames, little_endian, native_pixels

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

_RENDERING: dict[str, Any] = {
    "parameters": [
        parameter(
            "window",
            {"type": "string", "pattern": "^-?[0-9]{1,5},[1-9][0-9]{0,4}(,linear)?$"},
            "center,width,linear",
        ),
        parameter(
            "viewport",
            {"type": "string", "pattern": "^[1-9][0-9]{0,2},[1-9][0-9]{0,2}$"},
            "columns,rows to fit the picture into",
        ),
        parameter(
            "quality", {"type": "integer", "minimum": 1, "maximum": 100}, "Quality of a JPEG"
        ),
    ]
}


# -- objects --------------------------------------------------------------------------------------


def _objects_response(instances: Sequence[Instance], accept: str | None) -> Response:
    form = object_form(accept, [instance.transfer_syntax for instance in instances])
    require_source(instances[0])
    if form == "application/zip":
        return StreamingResponse(zipped(_named(instances)), media_type=form)
    if form == DICOM:
        if len(instances) > 1:
            raise NotAcceptable(f"{len(instances)} objects are available only as multipart/related")
        media = f"{DICOM}; transfer-syntax={instances[0].transfer_syntax}"
        size = {"Content-Length": str(instances[0].size_bytes)}
        return StreamingResponse(whole_file(instances[0]), media_type=media, headers=size)
    parts = (
        Part(f"{DICOM}; transfer-syntax={instance.transfer_syntax}", "", whole_file(instance))
        for instance in instances
    )
    return related(parts, DICOM)


def _named(instances: Sequence[Instance]) -> Iterator[tuple[str, Instance]]:
    """Yield each instance with a file name that is safe to unpack and that no other one has."""
    for instance in instances:
        uids = {
            "SeriesInstanceUID": instance.series_key, "SOPInstanceUID": instance.instance_key,
        }  # fmt: skip
        yield fill("{SeriesInstanceUID}/{SOPInstanceUID}.dcm", uids), instance


@router.get("/studies/{study}", responses=answers(RELATED, "application/zip"))
def study_objects(version: Shown, study: str, accept: Accept = None) -> Response:
    """Return the objects of a study, as they were ingested."""
    return _objects_response(version.images.instances(study), accept)


@router.get("/studies/{study}/series/{series}", responses=answers(RELATED, "application/zip"))
def series_objects(version: Shown, study: str, series: str, accept: Accept = None) -> Response:
    """Return the objects of a series."""
    return _objects_response(version.images.instances(study, series), accept)


_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"


@router.get(_INSTANCE, responses=answers(RELATED, DICOM, "application/zip"))
def instance_object(
    version: Shown, study: str, series: str, instance: str, accept: Accept = None
) -> Response:
    """Return the bytes of an object, as they were ingested."""
    return _objects_response(version.images.instances(study, series, instance), accept)


# -- frames and bulk data -------------------------------------------------------------------------


@router.get(_INSTANCE + "/frames/{numbers}", responses=answers(RELATED, OCTETS, "image/*"))
def instance_frames(
    version: Shown, study: str, series: str, instance: str, numbers: str, accept: Accept = None
) -> Response:
    """Return frames by comma-separated numbers, from 1, as stored or decompressed."""
    (stored,) = version.images.instances(study, series, instance)
    image = version.images.image(stored)
    chosen = _frame_indices(numbers, image.frame_count)
    form = frame_form(accept, image.TransferSyntaxUID, is_compressed=image.is_encapsulated)
    if not form.is_multipart and len(chosen) > 1:
        raise NotAcceptable("several frames are available only as multipart/related")
    content = frames(version.images, image, chosen, is_stored=form.is_stored)
    content_type = f"{form.media}; transfer-syntax={form.syntax}"
    if not form.is_multipart:
        return Response(next(content), media_type=content_type)
    parts = (Part(content_type, "", [frame]) for frame in content)
    return related(parts, form.media, at_once=len(chosen) == 1)


def _frame_indices(text: str, count: int) -> list[int]:
    """Return the indices, from 0, of frames that are counted from 1."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) for part in parts):
        raise UsageError("frames must be comma-separated numbers, counted from 1")
    chosen = [int(part) - 1 for part in parts]
    if not all(0 <= number < count for number in chosen):
        raise NotFound(f"the instance has {count} frames, counted from 1")
    return chosen


_VALUE = (
    "select vr, length, sha256, bytes from elements "
    "where instance_id = $1 and path = $2 and tag = $3"
)


@router.get(_INSTANCE + "/bulkdata/{place}", responses=answers(RELATED, OCTETS))
def bulk_data(
    version: Shown, study: str, series: str, instance: str, place: str, accept: Accept = None
) -> Response:
    """Return a binary value or the pixel data; the place is a tag, after the path of its item."""
    (stored,) = version.images.instances(study, series, instance)
    path, _, tag = place.rpartition(".")
    session = session_about(version.catalog, [stored.instance_id])
    rows = session.execute(_VALUE, [stored.instance_id, path, tag]).fetchall()
    if not rows or rows[0][1] is None:
        raise NotFound("the instance has no such binary value")
    if path == "" and tag in {"7FE00008", "7FE00009", "7FE00010"} and rows[0][2] is None:
        return _pixel_data_response(version, version.images.image(stored), accept)
    form = frame_form(accept, None, is_compressed=False)
    content: Iterator[bytes] = (
        iter([rows[0][3]]) if rows[0][3] is not None else _stored_value(version, rows[0][2])
    )
    if stored.transfer_syntax == ExplicitVRBigEndian:
        content = little_endian(content, rows[0][0])
    if not form.is_multipart:
        return StreamingResponse(content, media_type=OCTETS)
    return related([Part(OCTETS, "", content)], OCTETS)


def _pixel_data_response(version: Version, image: Image, accept: str | None) -> Response:
    """Return all pixel data: native as one part, compressed with one part per frame."""
    form = frame_form(accept, image.TransferSyntaxUID, is_compressed=image.is_encapsulated)
    content_type = f"{form.media}; transfer-syntax={form.syntax}"
    if not image.is_encapsulated:
        native = native_pixels(image)
        if not form.is_multipart:
            return StreamingResponse(native, media_type=content_type)
        return related([Part(content_type, "", native)], form.media)
    if not form.is_multipart and image.frame_count > 1:
        raise NotAcceptable("several frames are available only as multipart/related")
    content = frames(version.images, image, range(image.frame_count), is_stored=form.is_stored)
    if not form.is_multipart:
        return Response(next(content), media_type=content_type)
    return related((Part(content_type, "", [frame]) for frame in content), form.media)


def _stored_value(version: Version, sha256: str) -> Iterator[bytes]:
    with open_value(version.catalog, sha256) as file:
        while chunk := file.read(1 << 20):
            yield chunk


# -- pictures -------------------------------------------------------------------------------------


def _picture_response(
    request: Request,
    version: Version,
    instances: Sequence[Instance],
    frame: int | None,
    side: int | None = None,
) -> Response:
    media = choose(request.headers.get("accept"), rendered.MEDIA)
    with_pixels = [instance for instance in instances if instance.has_pixels] or list(instances)
    instance = with_pixels[len(with_pixels) // 2]
    image = version.images.image(instance)
    number = image.frame_count // 2 if frame is None else frame
    if not 0 <= number < image.frame_count:
        raise NotFound(f"the instance has {image.frame_count} frames, counted from 1")
    try:
        content = rendered.picture(image, number, request.query_params, media, side=side)
    except MemoryError:
        raise PixelsUnreadable(instance.path, "there is not enough memory to render it") from None
    return Response(content, media_type=media)


_PICTURES = answers(*rendered.MEDIA)


def _add_picture_routes(path: str, side: int | None, what: str) -> None:
    """Add the routes of a kind of picture for each level."""

    def of_study(request: Request, version: Shown, study: str) -> Response:
        return _picture_response(request, version, version.images.instances(study), None, side)

    def of_series(request: Request, version: Shown, study: str, series: str) -> Response:
        return _picture_response(
            request, version, version.images.instances(study, series), None, side
        )

    def of_instance(
        request: Request, version: Shown, study: str, series: str, instance: str
    ) -> Response:
        instances = version.images.instances(study, series, instance)
        return _picture_response(request, version, instances, None if side else 0, side)

    def of_frame(
        request: Request, version: Shown, study: str, series: str, instance: str, number: str
    ) -> Response:
        instances = version.images.instances(study, series, instance)
        (frame, *rest) = _frame_indices(number, version.images.image(instances[0]).frame_count)
        if rest:
            raise UsageError("a picture shows one frame: give one number")
        return _picture_response(request, version, instances, frame, side)

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
            openapi_extra=_RENDERING,
        )


_add_picture_routes("rendered", None, "a picture")
_add_picture_routes("thumbnail", 128, "a small picture")
