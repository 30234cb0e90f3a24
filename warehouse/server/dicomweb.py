"""Serve QIDO-RS, and the metadata of WADO-RS, from stored rows (PS3.18).

In: requests. Out: DICOM JSON. No source file is opened; the routes of ``wado`` open them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from warehouse.catalog.few import session_about
from warehouse.catalog.json_models import PLACE, models
from warehouse.server.accept import DICOM_JSON, choose
from warehouse.server.asking import Shown, Timed, base_url, may
from warehouse.server.description import parameter
from warehouse.server.errors import RESPONSES
from warehouse.server.qido import parse
from warehouse.server.search import instance_address, search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.server.found import Instance
    from warehouse.server.serving import Version

router = APIRouter(
    prefix="/dicomweb", tags=["DICOMweb"], dependencies=[Depends(may("read"))], route_class=Timed,
    responses={code: RESPONSES[code] for code in (400, 401, 403, 404, 406, 408, 409, 410, 503)},
)  # fmt: skip

_PORTION = 2_000
"""Instances whose metadata is created at a time; larger responses are streamed."""
_DATASETS = {
    "type": "array", "items": {"type": "object", "additionalProperties": {"type": "object"}},
}  # fmt: skip
_JSON: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "DICOM JSON",
        "content": {DICOM_JSON: {"schema": _DATASETS}, "application/json": {"schema": _DATASETS}},
    }
}


_COUNT = {"type": "integer", "maximum": (1 << 31) - 1}
_FIELDS = {"type": "array", "items": {"enum": ["all", "StudyDescription", "00080060", "00100030"]}}
# Attributes are query parameters too; the routes read them from the query string.
_SEARCH: dict[str, Any] = {
    "parameters": [
        parameter("limit", _COUNT | {"minimum": 1}, "Maximum number of rows"),
        parameter("offset", _COUNT | {"minimum": 0}, "Number of rows to skip"),
        parameter("fuzzymatching", {"type": "boolean"}, "Match person names by prefixes of words"),
        parameter("includefield", _FIELDS, "Additional keywords or tags to return, or `all`"),
    ]
}


# -- QIDO-RS --------------------------------------------------------------------------------------


def _search_response(request: Request, version: Version, level: str, **within: str) -> Response:
    media = choose(request.headers.get("accept"), [DICOM_JSON, "application/json"])
    query = parse(request.query_params.multi_items(), level, within)
    result = search(version, query, f"{base_url(request)}/dicomweb")
    headers = {}
    if result.has_more:
        headers["Warning"] = (
            f'299 dicom-warehouse "There are more results; request them with '
            f'offset={query.offset + len(result.rows)}"'
        )
    body = f"[{','.join(result.rows)}]"
    return Response(body, media_type=media, headers=headers)


@router.get("/studies", responses=_JSON, openapi_extra=_SEARCH)
def search_studies(request: Request, version: Shown) -> Response:
    """Search studies; any other query parameter is an attribute and the value to match."""
    return _search_response(request, version, "studies")


@router.get("/series", responses=_JSON, openapi_extra=_SEARCH)
def search_series(request: Request, version: Shown) -> Response:
    """Search series."""
    return _search_response(request, version, "series")


@router.get("/instances", responses=_JSON, openapi_extra=_SEARCH)
def search_instances(request: Request, version: Shown) -> Response:
    """Search instances."""
    return _search_response(request, version, "instances")


@router.get("/studies/{study}/series", responses=_JSON, openapi_extra=_SEARCH)
def search_series_of_study(request: Request, version: Shown, study: str) -> Response:
    """Search the series of a study."""
    return _search_response(request, version, "series", studies=study)


@router.get("/studies/{study}/instances", responses=_JSON, openapi_extra=_SEARCH)
def search_instances_of_study(request: Request, version: Shown, study: str) -> Response:
    """Search the instances of a study."""
    return _search_response(request, version, "instances", studies=study)


@router.get("/studies/{study}/series/{series}/instances", responses=_JSON, openapi_extra=_SEARCH)
def search_instances_of_series(
    request: Request, version: Shown, study: str, series: str
) -> Response:
    """Search the instances of a series."""
    return _search_response(request, version, "instances", studies=study, series=series)


# -- metadata -------------------------------------------------------------------------------------


def _metadata_response(
    request: Request, version: Version, instances: Sequence[Instance]
) -> Response:
    media = choose(request.headers.get("accept"), [DICOM_JSON, "application/json"])
    base = f"{base_url(request)}/dicomweb"
    if len(instances) <= _PORTION:
        return Response(f"[{_metadata_objects(version, instances, base)}]", media_type=media)

    def pieces() -> Iterator[str]:
        yield "["
        for begin in range(0, len(instances), _PORTION):
            with version.limit():
                members = _metadata_objects(version, instances[begin : begin + _PORTION], base)
            yield f",{members}" if begin else members
        yield "]"

    return StreamingResponse(pieces(), media_type=media)


def _metadata_objects(version: Version, instances: Sequence[Instance], base: str) -> str:
    ids = [instance.instance_id for instance in instances]
    models_by_id = models(session_about(version.catalog, ids), ids)
    rows = []
    for instance in instances:
        members = models_by_id.get(instance.instance_id, "")
        if PLACE in members:
            address = instance_address(
                base, instance.study_key, instance.series_key, instance.instance_key
            )
            members = members.replace(PLACE, address)
        rows.append(f"{{{members}}}")
    return ",".join(rows)


@router.get("/studies/{study}/metadata", responses=_JSON)
def study_metadata(request: Request, version: Shown, study: str) -> Response:
    """Return the metadata of the instances of a study, from stored rows."""
    return _metadata_response(request, version, version.images.instances(study))


@router.get("/studies/{study}/series/{series}/metadata", responses=_JSON)
def series_metadata(request: Request, version: Shown, study: str, series: str) -> Response:
    """Return the metadata of the instances of a series, from stored rows."""
    return _metadata_response(request, version, version.images.instances(study, series))


@router.get("/studies/{study}/series/{series}/instances/{instance}/metadata", responses=_JSON)
def instance_metadata(
    request: Request, version: Shown, study: str, series: str, instance: str
) -> Response:
    """Return the metadata of an instance, from stored rows."""
    return _metadata_response(request, version, version.images.instances(study, series, instance))
