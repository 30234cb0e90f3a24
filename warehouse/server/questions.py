"""REST routes for a read-only SELECT, for cohorts and their runs, and for listeners.

In: SQL of a user. Out: rows as JSON or Arrow. SQL is checked as that of cohorts
(``warehouse.cohorts.guard``): by two parsers, for tables of the warehouse only, on a connection
that cannot open anything else. Time, memory, rows and bytes are limited; a result beyond a limit is
refused, never truncated.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from warehouse.cohorts.guard import check
from warehouse.errors import UsageError
from warehouse.listener.state import read_states
from warehouse.server.accept import choose
from warehouse.server.asking import Shown, Timed, may, serving
from warehouse.server.errors import RESPONSES, Busy
from warehouse.server.json_values import plain
from warehouse.server.lists import MEDIA
from warehouse.server.sql_processes import Bounds, answered

router = APIRouter(
    prefix="/api/v1", tags=["questions"], dependencies=[Depends(may("read"))], route_class=Timed,
    responses={code: RESPONSES[code] for code in (400, 401, 403, 404, 406, 408, 413, 415, 503)},
)  # fmt: skip

_SLOTS = threading.BoundedSemaphore(4)
"""Limits the concurrent queries of users; each may use every processor."""
_WAIT_SECONDS = 2.0
"""How long a query waits for others; meanwhile it occupies a thread of the server."""
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "",
        "content": {
            "application/json": {"schema": {"type": "object"}}, MEDIA["arrow"]: {},
        },
    }
}  # fmt: skip


class Question(BaseModel):
    """A SELECT and its parameters."""

    model_config = ConfigDict(extra="forbid")
    sql: Annotated[str, Field(min_length=1, max_length=65_536)]
    parameters: dict[str, str | int | float | bool | None] = {}


@router.post("/sql", responses=_ANSWER)
def sql(request: Request, version: Shown, asked: Annotated[Question, Body()]) -> Response:
    """Run a SELECT over tables and views of the warehouse, with parameters as `$name`."""
    media = choose(request.headers.get("accept"), ["application/json", MEDIA["arrow"]])
    settings = serving(request).settings
    query = check(version.locked(), asked.sql)
    if query.parameters != set(asked.parameters):
        names = ", ".join(sorted(query.parameters)) or "none"
        raise UsageError(f"the query has other parameters than those given; it needs: {names}")
    if not _SLOTS.acquire(timeout=_WAIT_SECONDS):
        raise Busy("too many concurrent queries; retry later")
    bounds = Bounds(
        settings.seconds, settings.answer_rows, settings.answer_bytes, settings.sql_memory_bytes
    )
    try:
        body = answered(
            version.catalog.snapshot.root, version.number, query.sql, asked.parameters, bounds,
            is_json=media == "application/json",
        )  # fmt: skip
    finally:
        _SLOTS.release()
    return Response(body, media_type=media)


_LIST: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "",
        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}},
    }
}


@router.get("/cohorts", responses=_LIST)
def cohorts(request: Request) -> list[dict[str, Any]]:
    """List cohorts: name, kind, description and parameters."""
    saved = serving(request).warehouse.cohorts()
    return [
        {
            "name": cohort.name, "kind": cohort.kind, "description": cohort.description,
            "parameters": [
                {"name": p.name, "type": p.type, "default": p.default, "description": p.description}
                for p in cohort.params
            ],
        }
        for cohort in saved.values()
    ]  # fmt: skip


@router.get("/runs", responses=_LIST)
def runs(request: Request) -> list[dict[str, Any]]:
    """List runs of cohorts: query, time, version and number of members."""
    return [plain(asdict(run)) for run in serving(request).warehouse.runs()]


@router.get("/runs/{name}/series", responses=_LIST)
def members(request: Request, name: str) -> list[dict[str, Any]]:
    """List the series of a run, with study and number of member instances."""
    series = (
        serving(request).warehouse.members(name)
        .group_by("study_key", "series_key").agg(pl.len().alias("instance_count"))
        .sort("study_key", "series_key").collect()
    )  # fmt: skip
    return [plain(row) for row in series.to_dicts()]


@router.get("/listeners", responses=_LIST)
def listeners(request: Request) -> list[dict[str, Any]]:
    """List DICOM listeners of the warehouse: AE title, port, counts, last error."""
    # The state of a listener in this process is newer than its state file.
    own = [listener.state() for listener in request.app.state.listeners]
    spools = {state.spool for state in own}
    others = read_states(serving(request).warehouse.root)
    states = map(asdict, [*own, *(state for state in others if state.spool not in spools)])
    return [{name: state[name] for name in state if name != "spool"} for state in states]
