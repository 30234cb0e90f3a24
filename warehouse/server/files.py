"""REST routes for files as a zip, NIfTI and pictures of a series, and headers of instances.

In: keys. Out: bytes. Names in a zip are those of ``dicom-warehouse cohort export --format zip``.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from warehouse.catalog.header_rows import header_of_key
from warehouse.cohorts.names import TEMPLATE, fill
from warehouse.errors import InstanceNotFound, UsageError
from warehouse.pixels.files import nifti
from warehouse.pixels.pictures import png, slice_picture, three_planes
from warehouse.pixels.stack import open_stack
from warehouse.pixels.volume import open_volume
from warehouse.server.asking import Shown, Timed, may
from warehouse.server.bodies import require_source, zipped
from warehouse.server.description import answers
from warehouse.server.errors import RESPONSES, NotFound
from warehouse.server.found import Instance
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.server.serving import Version

router = APIRouter(
    prefix="/api/v1", tags=["files"], dependencies=[Depends(may("read"))], route_class=Timed,
    responses={code: RESPONSES[code] for code in (400, 401, 403, 404, 406, 408, 409, 410, 503)},
)  # fmt: skip

_MOST_KEYS = 100
_NAMES = {
    "PatientID": "patient_key", "StudyInstanceUID": "study_key",
    "SeriesInstanceUID": "series_key", "SOPInstanceUID": "instance_key",
}  # fmt: skip
"""What the names of files in a zip consist of, as in an export: attribute → column."""
_LEVELS = {"patients": "patient_key", "studies": "study_key", "series": "series_key"}


def _named_instances(
    version: Version, level: str, keys: Sequence[str]
) -> list[tuple[str, Instance]]:
    """Return the instances of entities, each with the name of its file in a zip."""
    fields = ", ".join(f"coalesce(instances.{column}, 'none')" for column in _NAMES.values())
    inner = statement("instances", "dicomweb").rstrip().rstrip(";")
    sql = (
        f"select found.*, {fields}, instances.{_LEVELS[level]} from ({inner}) as found "
        f"join instances using (instance_id) where list_contains($5, instances.{_LEVELS[level]})"
    )
    rows = version.catalog.connection.execute(sql, [None, None, None, None, list(keys)]).fetchall()
    # Fewer files than were requested would be a silent loss.
    missing = {*keys} - {row[-1] for row in rows}
    if missing:
        several = f": {len(missing)} of {len({*keys})} keys" if len({*keys}) > 1 else ""
        raise NotFound(f"{level} has no such row{several}")
    size = len(Instance._fields)
    named = []
    for row in rows:
        instance = Instance._make(row[:size])
        names = dict(zip(_NAMES, row[size:-1], strict=True))
        named.append((fill(TEMPLATE, names), instance))
    return sorted(named)


def _zip_response(
    request: Request, version: Version, level: str, keys: Sequence[str], name: str
) -> Response:
    named = _named_instances(version, level, keys)
    # The audit log lists studies, because it contains no keys of patients.
    request.state.studies = sorted(
        {instance.study_key for _, instance in named if instance.study_key}
    )
    require_source(named[0][1])
    disposition = f'attachment; filename="{name}.zip"'
    return StreamingResponse(
        zipped(named), media_type="application/zip", headers={"Content-Disposition": disposition}
    )


@router.get("/files.zip", responses=answers("application/zip"))
def several(
    request: Request,
    version: Shown,
    series: Annotated[str, Query(description="Comma-separated keys")],
) -> Response:
    """Return the files of several series as a zip, which is streamed."""
    keys = [key.strip() for key in series.split(",") if key.strip()]
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise UsageError(f"series must be 1 to {_MOST_KEYS} comma-separated keys")
    return _zip_response(request, version, "series", keys, "series")


@router.get("/{level}/{key}/files.zip", responses=answers("application/zip"))
def whole(
    request: Request, version: Shown, level: Literal["patients", "studies", "series"], key: str
) -> Response:
    """Return the files of a patient, study or series as a zip, which is streamed."""
    return _zip_response(request, version, level, [key], level)


@router.get("/series/{key}/volume.nii.gz", responses=answers("application/gzip"))
def volume(version: Shown, key: str) -> Response:
    """Return a series that is a volume as NIfTI-1."""
    content = nifti(open_volume(version.catalog, key)).to_bytes()
    return Response(
        gzip.compress(content, compresslevel=1, mtime=0), media_type="application/gzip",
        headers={"Content-Disposition": 'attachment; filename="volume.nii.gz"'},
    )  # fmt: skip


@router.get("/series/{key}/picture.png", responses=answers("image/png"))
def picture(
    version: Shown, key: str,
    number: Annotated[int | None, Query(alias="slice", ge=0, le=10**7)] = None,
) -> Response:  # fmt: skip
    """Return a frame by its index in the order of acquisition; by default the middle one."""
    stack = open_stack(version.catalog, key)
    if number is not None and number >= len(stack):
        raise NotFound(f"the series has {len(stack)} frames, counted from 0")
    return Response(png(slice_picture(stack, number)), media_type="image/png")


@router.get("/series/{key}/planes.png", responses=answers("image/png"))
def planes(version: Shown, key: str) -> Response:
    """Return a picture of three planes through the center of a series that is a volume."""
    return Response(png(three_planes(open_volume(version.catalog, key))), media_type="image/png")


_HEADER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Elements in the order of the data set",
        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}},
    }
}


@router.get("/instances/{key}/header", responses=_HEADER)
def header(request: Request, version: Shown, key: str) -> list[dict[str, Any]]:
    """Return the header of an instance: tag, keyword, VR, VM and text of each element."""
    del request
    try:
        elements = header_of_key(version.catalog, key)
    except InstanceNotFound:
        raise NotFound("instances has no such row") from None
    return list(_element_objects(elements.frame().rows()))


def _element_objects(rows: Sequence[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for tag, keyword, vr, vm, value in rows:
        yield {"tag": tag, "keyword": keyword, "vr": vr, "vm": vm, "value": value}
