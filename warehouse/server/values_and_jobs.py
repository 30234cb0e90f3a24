"""REST routes that add and read values, and create, read, cancel and retry jobs.

In: JSON. Out: what was stored, and rows as in ``value list`` and ``job show``. Values and jobs are
validated by ``wh.components`` and ``wh.algorithms``. The author of a change is the token's name.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from warehouse.components import json_text
from warehouse.components.ledger import dictionaries
from warehouse.errors import UsageError, ValueRefused
from warehouse.server.asking import Shown, Timed, may, serving
from warehouse.server.errors import RESPONSES, Busy, NotFound
from warehouse.server.json_values import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from warehouse.api import Warehouse
    from warehouse.server.serving import Serving, Version

_CODES = (400, 401, 403, 404, 408, 409, 413, 503)
router = APIRouter(
    prefix="/api/v1", tags=["values and jobs"], route_class=Timed,
    responses={code: RESPONSES[code] for code in _CODES},
)  # fmt: skip

_READ, _WRITE = [Depends(may("read"))], [Depends(may("write"))]
_Text = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class NewValue(BaseModel):
    """A value, and what it is about."""

    model_config = ConfigDict(extra="forbid")
    socket: Annotated[_Text, Field(description="Slug of the socket")]
    value: Annotated[Any, Field(description="Value as JSON; this or dicom_series")] = None
    dicom_series: Annotated[_Text | None, Field(description="Series key, as an image set")] = None
    series: Annotated[_Text | None, Field(description="Key of the series it is about")] = None
    instance: _Text | None = None
    study: _Text | None = None
    patient: _Text | None = None
    by: Annotated[_Text | None, Field(description="Author, by default the token's name")] = None
    tool: Annotated[str, Field(max_length=1024)] = ""
    tool_version: Annotated[str, Field(max_length=1024)] = ""
    strict: Annotated[bool, Field(description="Check geometry, too")] = False


class NewJob(BaseModel):
    """An algorithm, and one case or many."""

    model_config = ConfigDict(extra="forbid")
    algorithm: Annotated[_Text, Field(description="Name, or name@version")]
    values: Annotated[
        dict[str, _Text | None], Field(description="Inputs of one case: socket to value id")
    ] = {}
    series: Annotated[
        dict[str, _Text], Field(description="Inputs of one case: socket to series key")
    ] = {}
    cohort: Annotated[
        _Text | list[_Text] | None,
        Field(description="Instead of one case: a run of a cohort, or series keys, one case each"),
    ] = None


def _body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a body; ``_read`` parses it more strictly than FastAPI."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    texts = {200: "Current state", 201: "Stored", 202: "Jobs are created"}
    schema = {"application/json": {"schema": {"type": "object"}}}
    return {code: {"description": texts[code], "content": schema} for code in codes}


async def _read_body(request: Request, model: type[BaseModel]) -> Any:
    """Parse the JSON body of a request, with the parser of values, and validate it.

    Raises
    ------
    UsageError
    """
    body = await request.body()

    def parsed() -> Any:
        try:
            content = json_text.parse(body)
        except ValueRefused as error:
            raise UsageError(f"the body is refused: {error.why}") from None
        try:
            return model.model_validate(content, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise UsageError(f"{where}: {first['msg']}") from None

    return await run_in_threadpool(parsed)


@contextmanager
def _write_lock(state: Serving) -> Iterator[Warehouse]:
    """Yield the warehouse for a change, one request at a time.

    Raises
    ------
    Busy
    """
    if not state.writing.acquire(timeout=state.settings.seconds):
        raise Busy("other requests are writing; retry later")
    try:
        yield state.warehouse
    finally:
        state.writing.release()


async def _run_change(request: Request, change: Callable[[Warehouse], Any]) -> Any:
    """Change the warehouse, in a thread."""
    state = serving(request)

    def changed() -> Any:
        with _write_lock(state) as warehouse:
            return change(warehouse)

    return await to_thread.run_sync(changed, limiter=state.writers)


# -- values ---------------------------------------------------------------------------------------


_USES = (
    "select * exclude (value_id, value) from values_about where value_id = $1 "
    "order by added_at, use_id"
)


@router.get("/values/{value_id}", responses=_answers(200), dependencies=_READ)
def value(request: Request, version: Shown, value_id: str) -> dict[str, Any]:
    """Return a value and its uses; the content of a value that is a file is omitted."""
    connection = version.catalog.connection
    query = "select * exclude (value) from socket_values where value_id = $1"
    rows = dictionaries(connection, query, value_id)
    if not rows:
        raise NotFound("values has no such row")
    result: dict[str, Any] = plain(rows[0] | {"uses": dictionaries(connection, _USES, value_id)})
    components = serving(request).warehouse.components
    if components.is_json(value_id):
        result["value"] = components.value(value_id)
    return result


@router.post(
    "/values",
    responses=_answers(200, 201),
    dependencies=_WRITE,
    openapi_extra=_body_schema(NewValue),
)
async def add_value(request: Request) -> Response:
    """Validate and store a value; 200 if it was already stored."""
    body: NewValue = await _read_body(request, NewValue)
    # null is a valid value for some sockets.
    content = {"value": body.value} if "value" in body.model_fields_set else {}
    added = await _run_change(
        request,
        lambda warehouse: warehouse.components.add_value(
            body.socket, **content, dicom_series=body.dicom_series, series=body.series,
            instance=body.instance, study=body.study, patient=body.patient, tool=body.tool,
            tool_version=body.tool_version, strict=body.strict, by=body.by or _user(request),
        ),
    )  # fmt: skip
    response = {
        name: getattr(added, name) for name in ("value_id", "is_new", "use_id", "is_new_use")
    }
    return JSONResponse(response, 201 if added.is_new else 200)


def _user(request: Request) -> str:
    name: str = request.state.principal.name
    return name


# -- jobs -----------------------------------------------------------------------------------------


@router.get("/jobs/{job_id}", responses=_answers(200), dependencies=_READ)
def job(version: Shown, job_id: str) -> dict[str, Any]:
    """Return a job with its inputs, outputs and all its states."""
    return _job_row(version, job_id)


def _job_row(version: Version, job_id: str) -> dict[str, Any]:
    connection = version.catalog.connection
    rows = dictionaries(connection, "from jobs where job_id = $1", job_id)
    if not rows:
        raise NotFound("jobs has no such row")
    for name, view in {
        "inputs": "job_inputs", "outputs": "job_outputs", "states": "job_times",
    }.items():  # fmt: skip
        query = f"select * exclude (job_id) from {view} where job_id = $1 order by all"
        rows[0][name] = dictionaries(connection, query, job_id)
    result: dict[str, Any] = plain(rows[0])
    return result


async def _job_response(request: Request, job_id: str, status: int = 200) -> Response:
    row = await run_in_threadpool(lambda: _job_row(serving(request).version(), job_id))
    return JSONResponse(row, status)


@router.post(
    "/jobs", responses=_answers(201, 202), dependencies=_WRITE, openapi_extra=_body_schema(NewJob)
)
async def ask_for_jobs(request: Request) -> Response:
    """Create the job of a case, or those of a cohort; `dicom-warehouse run` executes them."""
    body: NewJob = await _read_body(request, NewJob)
    if (body.cohort is None) == (not body.values and not body.series):
        raise UsageError("give values and series of one case, or a cohort")
    if body.cohort is not None:
        members = body.cohort
        queued = await _run_change(
            request, lambda warehouse: warehouse.algorithms.queue(body.algorithm, members)
        )
        counts = {"cases": queued.cases, "new": queued.new, "unmatched": queued.unmatched}
        return JSONResponse(counts, 202)
    submitted = await _run_change(
        request,
        lambda warehouse: warehouse.algorithms.submit(
            body.algorithm, body.values, series=body.series, by=_user(request)
        ),
    )
    return await _job_response(request, submitted.job_id, 201)


@router.delete("/jobs/{job_id}", responses=_answers(200), dependencies=_WRITE)
async def cancel(request: Request, job_id: str) -> Response:
    """Cancel a job that has not ended; its states are kept."""
    return await _transition_response(request, job_id, "cancel")


@router.post("/jobs/{job_id}/retry", responses=_answers(200), dependencies=_WRITE)
async def retry(request: Request, job_id: str) -> Response:
    """Queue a job that failed or was canceled, so that the next run executes it again."""
    return await _transition_response(request, job_id, "retry")


async def _transition_response(request: Request, job_id: str, transition: str) -> Response:
    def change(warehouse: Warehouse) -> str:
        full_id = warehouse.algorithms.job(job_id).job_id
        if full_id != job_id:
            raise NotFound("jobs has no such row; give the full id")
        getattr(warehouse.algorithms, transition)(full_id, by=_user(request))
        return full_id

    return await _job_response(request, await _run_change(request, change))
