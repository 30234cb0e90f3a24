"""FastAPI dependencies of routes: permissions, the served version, the base URL, time limits.

In: a request. Out: ``Principal``, ``Version`` and URLs. The entity tag of a response is a hash of
version, URL, ``Accept`` and role, so an unchanged response is not computed again.
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
"""Replaces an encoded slash in a path; requests with control characters are refused."""


@functools.cache
def _release() -> str:
    """Return the version of this package, cached because looking it up is slow."""
    return metadata.version("dicom-warehouse")


class NotModified(Exception):
    """The client has the current response."""


def serving(request: Request) -> Serving:
    """Return the ``Serving`` of the application."""
    state: Serving = request.app.state.serving
    return state


def may(permission: str) -> Callable[[Request], Principal]:
    """Return a dependency that requires a permission.

    Raises
    ------
    Refused
    """

    def require(request: Request) -> Principal:
        principal: Principal = request.state.principal
        if not principal.may(permission):
            raise Refused(f"the role {principal.role} does not permit {permission} access here")
        return principal

    return require


def version(request: Request) -> Version:
    """Return the newest version; raise ``NotModified`` if the client has the current response.

    Raises
    ------
    NotModified
    """
    newest = serving(request).version()
    request.state.version = newest.number
    # The meaning of a condition such as `during=today` changes with the day and the release.
    identity = (
        newest.catalog.snapshot.root, newest.number, request.state.principal.role,
        base_url(request), request.url.path, request.url.query, request.headers.get("accept"),
        dt.date.today(), _release(),  # noqa: DTZ011 - as conditions do
    )  # fmt: skip
    tag = f'"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}"'
    request.state.etag = tag
    client_tags = {
        entry.strip().removeprefix("W/")
        for entry in request.headers.get("if-none-match", "").split(",")
    }
    # `If-None-Match: *` matches any existing resource; whether it exists is not known yet.
    if request.method == "GET" and tag in client_tags:
        raise NotModified
    return newest


def base_url(request: Request) -> str:
    """Return the base URL of this server as clients see it, without a trailing slash."""
    if public := serving(request).settings.public_url:
        return public.rstrip("/")
    url, listening = request.base_url, request.scope.get("server")
    if url.hostname in LOOPBACK and url.port is None and listening:
        # Some clients omit the port in Host (dicomweb-client); no proxy has a loopback name.
        url = url.replace(port=listening[1])
    return str(url).rstrip("/")


class Timed(APIRoute):
    """A route whose path parameters may contain slashes, and whose queries have a time limit."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        @functools.wraps(endpoint)
        def endpoint_in_time(**arguments: Any) -> Any:
            for name, value in arguments.items():
                if isinstance(value, str):
                    arguments[name] = value.replace(SLASH, "/")
            served = arguments.get("version")
            if not isinstance(served, Version):
                return endpoint(**arguments)
            with served.limit():
                return endpoint(**arguments)

        # FastAPI includes a router by creating its routes again.
        is_limited = hasattr(endpoint, "__wrapped__") or inspect.iscoroutinefunction(endpoint)
        super().__init__(path, endpoint if is_limited else endpoint_in_time, **options)


Shown = Annotated[Version, Depends(version)]
"""The version that a route serves."""
