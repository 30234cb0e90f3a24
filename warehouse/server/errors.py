"""Turn errors into HTTP statuses and JSON bodies.

In: errors of this software. Out: ``{"error": …, "message": …}``. What nobody expected is a 500
without a word of its own: its text could hold a value of a header.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from warehouse import errors
from warehouse.store.damage import explained, failures

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI
    from fastapi.routing import APIRoute
    from starlette.requests import Request
    from starlette.types import Scope

_OF_THE_STORE = re.compile(r"IO Error|magic bytes|\.parquet")
LOGGER = logging.getLogger("dicom-warehouse.server")


class NotFound(errors.WarehouseError, LookupError):
    """A resource is not in this version of the warehouse."""


class NotAcceptable(errors.UsageError):
    """No form that the client accepts is available."""


class Refused(errors.WarehouseError):
    """The role of the token does not permit this."""


class Busy(errors.WarehouseError):
    """Waiting for other changes of the warehouse takes too long."""


class TookTooLong(errors.WarehouseError):
    """A request exceeded its time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took more than {seconds:g} s: ask for less at a time")


_STATUS: tuple[tuple[type[errors.WarehouseError], int], ...] = (
    (TookTooLong, 408),
    (Busy, 503),
    (NotFound, 404),
    (NotAcceptable, 406),
    (Refused, 403),
    (errors.SeriesNotFound, 404),
    (errors.InstanceNotFound, 404),
    (errors.ValueNotFound, 404),
    (errors.UnknownTable, 404),
    (errors.UnknownCohort, 404),
    (errors.NoPixels, 404),
    (errors.CohortStopped, 408),
    (errors.UnknownSocket, 404),
    (errors.UnknownValue, 404),
    (errors.UnknownAlgorithm, 404),
    (errors.UnknownJob, 404),
    (errors.JobRefused, 409),
    (errors.TransitionRefused, 409),
    (errors.UsageError, 400),
    (errors.QueryFailed, 400),
    (errors.NoDecoder, 406),
    (errors.SourceChanged, 410),
    (errors.PixelError, 409),
    (errors.SourceError, 410),
)

# Responses that every operation may return; declared for clients and tests.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in {
        400: "The request has no meaning here; the message says why",
        401: "No token, or one that is not known",
        403: "The token does not allow this",
        404: "Not in this version of the warehouse",
        406: "No form that the client accepts",
        408: "It took more time than it may",
        409: "What the archive holds cannot be had in this form, or stands in the way",
        410: "A source file is gone, or is not what was ingested",
        413: "The body is too long",
        415: "The body is of another type",
        503: "Too many requests at a time",
    }.items()
}


def problem(status: int, error: str, message: str, **headers: str) -> JSONResponse:
    """Return the body of every failure."""
    return JSONResponse({"error": error, "message": message}, status, headers)


def status_of(error: errors.WarehouseError) -> int:
    """Return the HTTP status of an error of this library."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Return the methods of an address: of all the routes that take it."""
    found = {
        method for route in app.state.routes if _takes(route, request.scope)
        for method in route.methods
    }  # fmt: skip
    return found | ({"HEAD"} if "GET" in found else set())


def _takes(route: APIRoute, scope: Scope) -> bool:
    """Tell whether a route is meant by a path: some parts of paths are one of a few words."""
    matched, found = route.matches(scope)
    if matched == Match.NONE:
        return False
    parts = found["path_params"]
    return not any(
        field.validate(parts[field.name], {}, loc=())[1] for field in route.dependant.path_params
    )


def handle(app: FastAPI, root: Path) -> None:
    """Install handlers that answer every failure with a problem body."""

    def known(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.WarehouseError)
        if isinstance(error, errors.QueryFailed) and _OF_THE_STORE.search(str(error)):
            # An unreadable file of the warehouse is not the client's fault.
            error = explained(root, error) or errors.StoreError("a file of the store is unreadable")
        if status_of(error) == 500:
            LOGGER.error("failed: %s", type(error).__name__)
        return problem(status_of(error), type(error).__name__, str(error))

    def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        methods = _methods(app, request)
        if methods and request.method not in methods:
            # Another route takes any last part of an address, but this one has a route of its own.
            allow = ", ".join(sorted(methods))
            return problem(405, "HTTPException", "Method Not Allowed", Allow=allow)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(400, "UsageError", f"{where}: {first['msg']}")

    def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers = {"Allow": ", ".join(sorted(_methods(app, request)))} if headers else {}
        return problem(error.status_code, "HTTPException", str(error.detail), **headers)

    def unexpected(_: Request, error: Exception) -> JSONResponse:
        damage = explained(root, error) if isinstance(error, failures()) else None
        LOGGER.error("unexpected %s", type(damage or error).__name__)
        return problem(500, type(damage or error).__name__, "something went wrong in the server")

    app.add_exception_handler(errors.WarehouseError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, unexpected)
