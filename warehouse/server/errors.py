"""Map errors to HTTP statuses and JSON bodies.

In: exceptions. Out: ``{"error": …, "message": …}``. An unexpected exception is a 500 with a fixed
message, as its own could contain values of a header.
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

_STORE_ERROR = re.compile(r"IO Error|magic bytes|\.parquet")
LOGGER = logging.getLogger("dicom-warehouse.server")


class NotFound(errors.WarehouseError, LookupError):
    """A resource is not in this version of the warehouse."""


class NotAcceptable(errors.UsageError):
    """No media type that the client accepts is available."""


class Refused(errors.WarehouseError):
    """The role of the token does not permit this."""


class Busy(errors.WarehouseError):
    """A write or SQL query has waited too long for others."""


class TookTooLong(errors.WarehouseError):
    """A request exceeded its time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request took more than {seconds:g} s: request less at a time")


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
        400: "The request is invalid; the message says why",
        401: "The token is missing or unknown",
        403: "The role of the token does not permit this",
        404: "Not in this version of the warehouse",
        406: "No accepted media type is available",
        408: "The request exceeded its time limit",
        409: "Stored data conflict with the request, or cannot be returned in this form",
        410: "A source file is missing, or has changed since its ingest",
        413: "The body is too long",
        415: "The media type of the body is not supported",
        503: "Too many concurrent requests",
    }.items()
}


def problem(status: int, error: str, message: str, **headers: str) -> JSONResponse:
    """Return an error response."""
    return JSONResponse({"error": error, "message": message}, status, headers)


def status_of(error: errors.WarehouseError) -> int:
    """Return the HTTP status of an error of this package."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _path_methods(app: FastAPI, request: Request) -> set[str]:
    """Return the methods of all routes that match the path of a request."""
    methods = {
        method for route in app.state.routes if _is_match(route, request.scope)
        for method in route.methods
    }  # fmt: skip
    return methods | ({"HEAD"} if "GET" in methods else set())


def _is_match(route: APIRoute, scope: Scope) -> bool:
    """Return whether a route matches a path and its path parameters are valid."""
    level, match = route.matches(scope)
    if level == Match.NONE:
        return False
    parts = match["path_params"]
    return not any(
        field.validate(parts[field.name], {}, loc=())[1] for field in route.dependant.path_params
    )


def handle(app: FastAPI, root: Path) -> None:
    """Install exception handlers that return ``problem`` responses."""

    def known(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.WarehouseError)
        if isinstance(error, errors.QueryFailed) and _STORE_ERROR.search(str(error)):
            # An unreadable file of the warehouse is not the client's fault.
            error = explained(root, error) or errors.StoreError("a file of the store is unreadable")
        if status_of(error) == 500:
            LOGGER.error("failed: %s", type(error).__name__)
        return problem(status_of(error), type(error).__name__, str(error))

    def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        methods = _path_methods(app, request)
        if methods and request.method not in methods:
            # `/{table}` matched and failed, but the path has a route with other methods.
            allow = ", ".join(sorted(methods))
            return problem(405, "HTTPException", "Method Not Allowed", Allow=allow)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(400, "UsageError", f"{where}: {first['msg']}")

    def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers = {"Allow": ", ".join(sorted(_path_methods(app, request)))} if headers else {}
        return problem(error.status_code, "HTTPException", str(error.detail), **headers)

    def unexpected(_: Request, error: Exception) -> JSONResponse:
        damage = explained(root, error) if isinstance(error, failures()) else None
        LOGGER.error("unexpected %s", type(damage or error).__name__)
        return problem(500, type(damage or error).__name__, "internal error of the server")

    app.add_exception_handler(errors.WarehouseError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, unexpected)
