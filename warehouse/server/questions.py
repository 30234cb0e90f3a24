"""REST: one read-only SELECT over the warehouse, as JSON or Arrow; cohorts and their runs.

In: SQL of a user. Out: its rows. The walls are those of cohorts (``warehouse.cohorts.guard``): two
parsers, tables of the warehouse only, a connection that can open nothing else. Time, memory, rows
and bytes are bounded, and what is beyond a bound is refused, never cut off.
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

_AT_A_TIME = threading.BoundedSemaphore(4)
"""Questions of users that run side by side: each may use every processor."""
_PATIENCE_SECONDS = 2.0
"""That one waits for its turn: meanwhile it keeps a thread from other requests."""
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "",
        "content": {
            "application/json": {"schema": {"type": "object"}}, MEDIA["arrow"]: {},
        },
    }
}  # fmt: skip


class Question(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid")
    sql: Annotated[str, Field(min_length=1, max_length=65_536)]
    parameters: dict[str, str | int | float | bool | None] = {}


@router.post("/sql", responses=_ANSWER)
def sql(request: Request, version: Shown, asked: Annotated[Question, Body()]) -> Response:
    """Answer one SELECT over tables and views of the warehouse, with `$name` for parameters."""
    media = choose(request.headers.get("accept"), ["application/json", MEDIA["arrow"]])
    settings = serving(request).settings
    question = check(version.locked(), asked.sql)
    if question.parameters != set(asked.parameters):
        named = ", ".join(sorted(question.parameters)) or "none"
        raise UsageError(f"the parameters of this question are: {named}")
    if not _AT_A_TIME.acquire(timeout=_PATIENCE_SECONDS):
        raise Busy("too many questions at a time; ask again")
    bounds = Bounds(
        settings.seconds, settings.answer_rows, settings.answer_bytes, settings.sql_memory_bytes
    )
    try:
        body = answered(
            version.catalog.snapshot.root, version.number, question.sql, asked.parameters, bounds,
            is_json=media == "application/json",
        )  # fmt: skip
    finally:
        _AT_A_TIME.release()
    return Response(body, media_type=media)


_LIST: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "",
        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}},
    }
}


@router.get("/cohorts", responses=_LIST)
def cohorts(request: Request) -> list[dict[str, Any]]:
    """List cohorts: name, what it selects, and its parameters."""
    found = serving(request).warehouse.cohorts()
    return [
        {
            "name": one.name, "kind": one.kind, "description": one.description,
            "parameters": [
                {"name": p.name, "type": p.type, "default": p.default, "description": p.description}
                for p in one.params
            ],
        }
        for one in found.values()
    ]  # fmt: skip


@router.get("/runs", responses=_LIST)
def runs(request: Request) -> list[dict[str, Any]]:
    """List runs of cohorts: what was asked, when, of which version, and how many members it has."""
    return [plain(asdict(run)) for run in serving(request).warehouse.runs()]


@router.get("/runs/{name}/series", responses=_LIST)
def members(request: Request, name: str) -> list[dict[str, Any]]:
    """List the series of a run of a cohort, with their studies: what a viewer opens."""
    found = (
        serving(request).warehouse.members(name)
        .group_by("study_key", "series_key").agg(pl.len().alias("instance_count"))
        .sort("study_key", "series_key").collect()
    )  # fmt: skip
    return [plain(row) for row in found.to_dicts()]


@router.get("/listeners", responses=_LIST)
def listeners(request: Request) -> list[dict[str, Any]]:
    """List DICOM listeners that receive beside the warehouse: title, port, counts, last error."""
    # Listeners of this process are known better than by their state files.
    here = [listener.state() for listener in request.app.state.listeners]
    spools = {state.spool for state in here}
    others = read_states(serving(request).warehouse.root)
    states = map(asdict, [*here, *(state for state in others if state.spool not in spools)])
    return [{name: state[name] for name in state if name != "spool"} for state in states]
