"""Dependencies of routes: the client, the version, and the address of the service.

In: a request. Out: ``Version`` and texts. The entity tag of an answer follows from version,
address, ``Accept`` and role: what has not changed is not made again.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import inspect
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from warehouse.server.access import Principal
from warehouse.server.errors import Refused
from warehouse.server.serving import Serving, Version
from warehouse.server.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable


SLASH = "\x1f"
"""Stands for an encoded slash in a path; requests with control characters are refused."""


@functools.cache
def _release() -> str:
    """Return the version of this package: looking it up takes as long as some answers."""
    return metadata.version("dicom-warehouse")


class NotModified(Exception):
    """The client has the current answer."""


def serving(request: Request) -> Serving:
    """Return the warehouse that is served."""
    found: Serving = request.app.state.serving
    return found


def may(what: str) -> Callable[[Request], Principal]:
    """Return a dependency that requires a permission.

    Raises
    ------
    Refused
    """

    def checked(request: Request) -> Principal:
        principal: Principal = request.state.principal
        if not principal.may(what):
            raise Refused(f"the role {principal.role} does not allow to {what} here")
        return principal

    return checked


def version(request: Request) -> Version:
    """Return the newest version; raise ``NotModified`` if the client has its answer.

    Raises
    ------
    NotModified
    """
    found = serving(request).version()
    request.state.version = found.number
    # The meaning of a condition such as `during=today` changes with the day and the release.
    given = (
        found.catalog.snapshot.root, found.number, request.state.principal.role, base_url(request),
        request.url.path, request.url.query, request.headers.get("accept"),
        dt.date.today(), _release(),  # noqa: DTZ011 - as conditions do
    )  # fmt: skip
    tag = f'"{hashlib.sha256(repr(given).encode()).hexdigest()[:32]}"'
    request.state.etag = tag
    known = {
        one.strip().removeprefix("W/")
        for one in request.headers.get("if-none-match", "").split(",")
    }
    # `If-None-Match: *` matches any existing answer, which is known only when it was made.
    if request.method == "GET" and tag in known:
        raise NotModified
    return found


def base_url(request: Request) -> str:
    """Return the base URL of this server as clients see it, without a trailing slash."""
    if public := serving(request).settings.public_url:
        return public.rstrip("/")
    url, listening = request.base_url, request.scope.get("server")
    if url.hostname in LOOPBACK and url.port is None and listening:
        # Some clients leave the port out of Host (dicomweb-client); no proxy has such a name.
        url = url.replace(port=listening[1])
    return str(url).rstrip("/")


class Timed(APIRoute):
    """A route whose path parameters may contain slashes, and whose queries have a time limit."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        @functools.wraps(endpoint)
        def limited(**asked: Any) -> Any:
            for name, value in asked.items():
                if isinstance(value, str):
                    asked[name] = value.replace(SLASH, "/")
            shown = asked.get("version")
            if not isinstance(shown, Version):
                return endpoint(**asked)
            with shown.limit():
                return endpoint(**asked)

        # FastAPI includes a router by creating its routes again.
        is_limited = hasattr(endpoint, "__wrapped__") or inspect.iscoroutinefunction(endpoint)
        super().__init__(path, endpoint if is_limited else limited, **given)


Shown = Annotated[Version, Depends(version)]
"""The version that a route shows."""
