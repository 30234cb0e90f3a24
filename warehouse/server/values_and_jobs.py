"""REST: add and read values, and create and read jobs.

In: JSON. Out: what was stored, and rows as ``value list`` and ``job show`` have them. What is
checked, and what errors say, is that of ``wh.components`` and ``wh.algorithms``: nothing is decided
here. Who asks is the name of the token.
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
    value: Annotated[Any, Field(description="JSON; this or dicom_series")] = None
    dicom_series: Annotated[_Text | None, Field(description="A series as image set")] = None
    series: Annotated[_Text | None, Field(description="The series that it is about")] = None
    instance: _Text | None = None
    study: _Text | None = None
    patient: _Text | None = None
    by: Annotated[
        _Text | None, Field(description="Who said it; by default the name of the token")
    ] = None
    tool: Annotated[str, Field(max_length=1024)] = ""
    tool_version: Annotated[str, Field(max_length=1024)] = ""
    strict: Annotated[bool, Field(description="Check geometry too")] = False


class NewJob(BaseModel):
    """An algorithm, and one case or many."""

    model_config = ConfigDict(extra="forbid")
    algorithm: Annotated[_Text, Field(description="Its name, or name@version")]
    values: Annotated[
        dict[str, _Text | None], Field(description="Of one case: socket to id of a value")
    ] = {}
    series: Annotated[
        dict[str, _Text], Field(description="Of one case: socket to key of a series")
    ] = {}
    cohort: Annotated[
        _Text | list[_Text] | None,
        Field(description="Instead: a run of a cohort, or keys of series, a case each"),
    ] = None


def _taken(model: type[BaseModel]) -> dict[str, Any]:
    """Return how a body is described: what is read is stricter than the reader of the framework."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    texts = {200: "As it is", 201: "It is stored", 202: "They are asked for"}
    schema = {"application/json": {"schema": {"type": "object"}}}
    return {code: {"description": texts[code], "content": schema} for code in codes}


async def _read(request: Request, model: type[BaseModel]) -> Any:
    """Return a body: JSON as values are read, and of this shape.

    Raises
    ------
    UsageError
    """
    body = await request.body()

    def parsed() -> Any:
        try:
            found = json_text.parse(body)
        except ValueRefused as error:
            raise UsageError(f"the body is refused: {error.why}") from None
        try:
            return model.model_validate(found, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise UsageError(f"{where}: {first['msg']}") from None

    return await run_in_threadpool(parsed)


@contextmanager
def _writing(asked: Serving) -> Iterator[Warehouse]:
    """Change the warehouse, one request at a time.

    Raises
    ------
    Busy
    """
    if not asked.writing.acquire(timeout=asked.settings.seconds):
        raise Busy("others are writing; ask again")
    try:
        yield asked.warehouse
    finally:
        asked.writing.release()


async def _changed(request: Request, change: Callable[[Warehouse], Any]) -> Any:
    """Change the warehouse, in a thread."""
    asked = serving(request)

    def changed() -> Any:
        with _writing(asked) as warehouse:
            return change(warehouse)

    return await to_thread.run_sync(changed, limiter=asked.writers)


# -- values ---------------------------------------------------------------------------------------


_USES = (
    "select * exclude (value_id, value) from values_about where value_id = $1 "
    "order by added_at, use_id"
)


@router.get("/values/{value_id}", responses=_answers(200), dependencies=_READ)
def value(request: Request, version: Shown, value_id: str) -> dict[str, Any]:
    """Return a value, and who said it about what. The content of a file is not shown."""
    ask = version.catalog.connection
    query = "select * exclude (value) from socket_values where value_id = $1"
    rows = dictionaries(ask, query, value_id)
    if not rows:
        raise NotFound("values has no such row")
    found: dict[str, Any] = plain(rows[0] | {"uses": dictionaries(ask, _USES, value_id)})
    parts = serving(request).warehouse.components
    if parts.is_json(value_id):
        found["value"] = parts.value(value_id)
    return found


@router.post(
    "/values", responses=_answers(200, 201), dependencies=_WRITE, openapi_extra=_taken(NewValue)
)
async def add_value(request: Request) -> Response:
    """Check a value and store it; 200 if it was stored before, and has another use now."""
    given: NewValue = await _read(request, NewValue)
    # null is a valid value for some sockets.
    content = {"value": given.value} if "value" in given.model_fields_set else {}
    done = await _changed(
        request,
        lambda warehouse: warehouse.components.add_value(
            given.socket, **content, dicom_series=given.dicom_series, series=given.series,
            instance=given.instance, study=given.study, patient=given.patient, tool=given.tool,
            tool_version=given.tool_version, strict=given.strict, by=given.by or _who(request),
        ),
    )  # fmt: skip
    answer = {name: getattr(done, name) for name in ("value_id", "is_new", "use_id", "is_new_use")}
    return JSONResponse(answer, 201 if done.is_new else 200)


def _who(request: Request) -> str:
    name: str = request.state.principal.name
    return name


# -- jobs -----------------------------------------------------------------------------------------


@router.get("/jobs/{job_id}", responses=_answers(200), dependencies=_READ)
def job(version: Shown, job_id: str) -> dict[str, Any]:
    """Return a job: what it is to do, its inputs and outputs, and every state it was in."""
    return _shown(version, job_id)


def _shown(version: Version, job_id: str) -> dict[str, Any]:
    ask = version.catalog.connection
    rows = dictionaries(ask, "from jobs where job_id = $1", job_id)
    if not rows:
        raise NotFound("jobs has no such row")
    for name, view in {
        "inputs": "job_inputs", "outputs": "job_outputs", "states": "job_times",
    }.items():  # fmt: skip
        query = f"select * exclude (job_id) from {view} where job_id = $1 order by all"
        rows[0][name] = dictionaries(ask, query, job_id)
    found: dict[str, Any] = plain(rows[0])
    return found


async def _told(request: Request, job_id: str, status: int = 200) -> Response:
    shown = await run_in_threadpool(lambda: _shown(serving(request).version(), job_id))
    return JSONResponse(shown, status)


@router.post(
    "/jobs", responses=_answers(201, 202), dependencies=_WRITE, openapi_extra=_taken(NewJob)
)
async def ask_for_jobs(request: Request) -> Response:
    """Ask for the job of a case, or those of a cohort; `dicom-warehouse run` executes them."""
    given: NewJob = await _read(request, NewJob)
    if (given.cohort is None) == (not given.values and not given.series):
        raise UsageError("name values and series of one case, or a cohort")
    if given.cohort is not None:
        many = given.cohort
        done = await _changed(
            request, lambda warehouse: warehouse.algorithms.queue(given.algorithm, many)
        )
        answer = {"cases": done.cases, "new": done.new, "unmatched": done.unmatched}
        return JSONResponse(answer, 202)
    made = await _changed(
        request,
        lambda warehouse: warehouse.algorithms.submit(
            given.algorithm, given.values, series=given.series, by=_who(request)
        ),
    )
    return await _told(request, made.job_id, 201)


@router.delete("/jobs/{job_id}", responses=_answers(200), dependencies=_WRITE)
async def cancel(request: Request, job_id: str) -> Response:
    """Cancel a job that has not ended; it stays, with its states."""
    return await _happened(request, job_id, "cancel")


@router.post("/jobs/{job_id}/retry", responses=_answers(200), dependencies=_WRITE)
async def retry(request: Request, job_id: str) -> Response:
    """Let a job that failed or was cancelled be executed again by the next run."""
    return await _happened(request, job_id, "retry")


async def _happened(request: Request, job_id: str, what: str) -> Response:
    def change(warehouse: Warehouse) -> str:
        found = warehouse.algorithms.job(job_id).job_id
        if found != job_id:
            raise NotFound("jobs has no such row; give its whole id")
        getattr(warehouse.algorithms, what)(found, by=_who(request))
        return found

    return await _told(request, await _changed(request, change))
