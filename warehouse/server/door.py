"""Outermost ASGI middleware: host, sizes, number of requests, authentication, audit log.

A refused request never reaches a route. The audit log has one JSON object per line: time, token,
client, method, route, UIDs of the path, status, version, seconds. It has no query parameters, which
may contain names of patients.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

from warehouse.server.access import ANYBODY_HERE
from warehouse.server.asking import SLASH
from warehouse.server.errors import problem
from warehouse.server.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from warehouse.server.access import Gate
    from warehouse.server.settings import ServerSettings

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PARAMETER_BYTES = 4096
QUERY_BYTES = 32_768
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UID = re.compile(r"[0-9.]{1,64}")
_SERVICES = re.compile(r"/(api|dicomweb)(/|$)")
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_ENTITIES = {"studies": "study", "series": "series", "instances": "instance"}
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"private, no-cache",
    b"vary": b"Accept, Authorization",
}
CHALLENGE = 'Bearer realm="dicom-warehouse", Basic realm="dicom-warehouse", charset="UTF-8"'


class TooLong(Exception):
    """A body is longer than the settings allow."""


class TooSlow(Exception):
    """No bytes of a body arrived within the time limit."""


_WRONG_BODIES: dict[type[Exception], tuple[int, str, str]] = {
    TooLong: (413, "TooLong", "the body is longer than this server accepts"),
    TooSlow: (408, "TooSlow", "no bytes of the body arrived within the time limit"),
}


class Door:
    """The outermost ASGI application."""

    def __init__(self, inner: Asgi, settings: ServerSettings, gate: Gate) -> None:
        self._inner = inner
        self._settings = settings
        self._gate = gate
        self._busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began = time.perf_counter()
        scope.setdefault("state", {})
        is_head = scope["method"] == "HEAD"
        # A copy, because HEAD is passed on as GET and encoded slashes are replaced.
        inner_scope = {
            **scope, "method": "GET" if is_head else scope["method"],
            "headers": _with_one_accept(scope["headers"]),
        }  # fmt: skip
        status, head_sent = 500, asyncio.Event()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                if failure := scope["state"].pop("wrong_body", None):
                    raise failure  # FastAPI has replaced it by a parsing error
                status = message["status"]
                _add_headers(message, scope)
            elif is_head:
                if head_sent.is_set():
                    return
                # The response to HEAD ends with its headers; the route must stop producing a body.
                head_sent.set()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        async def wait_for_head() -> Message:
            await head_sent.wait()
            return {"type": "http.disconnect"}

        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        # Static pages do not count, so that clients that read them slowly block no others.
        is_service = bool(_SERVICES.match(scope["path"]))
        if refusal is None and is_service and self._busy >= self._settings.requests:
            refusal = problem(503, "Busy", "too many concurrent requests", **{"Retry-After": "1"})
        if refusal is not None:
            await refusal(inner_scope, receive, send_noted)
            self._write_audit(inner_scope, scope["method"], status, began)
            return
        if is_service:
            inner_scope["path"] = _path_with_slashes(scope)
        self._busy += is_service
        try:
            inner_receive = wait_for_head if is_head else self._limited_receive(scope, receive)
            await self._inner(inner_scope, inner_receive, send_noted)
        except (TooLong, TooSlow) as error:
            scope["state"].pop("wrong_body", None)
            failure = _WRONG_BODIES[type(error)]
            if status == 500:
                headers = {"Connection": "close"} if isinstance(error, TooSlow) else {}
                await problem(*failure, **headers)(scope, receive, send_noted)
        finally:
            self._busy -= is_service
            self._write_audit(inner_scope, scope["method"], status, began)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> Any:
        """Return the response to a refused request; None if it is accepted."""
        if not self._knows_host(headers.get(b"host", "")):
            return problem(
                400, "UsageError", "the Host header does not name this server; see --public-url"
            )
        query = scope["query_string"].decode("latin-1")
        pairs = parse_qsl(query, keep_blank_values=True)
        if len(query) > QUERY_BYTES or any(len(n) + len(v) > PARAMETER_BYTES for n, v in pairs):
            return problem(
                400,
                "UsageError",
                f"a parameter may have at most {PARAMETER_BYTES} bytes, a query {QUERY_BYTES}",
            )
        try:
            unquote_to_bytes(scope["query_string"]).decode("utf-8")
        except UnicodeDecodeError:
            # Decoded with replacement characters, a condition would match nothing.
            return problem(
                400, "UsageError", "the query is not percent-encoded UTF-8; ü is written %C3%BC"
            )
        texts = [scope["path"], *(text for pair in pairs for text in pair)]
        if any(_CONTROL.search(text) for text in texts):
            return problem(
                400, "UsageError", "control characters are not allowed in a path or query"
            )
        if _SERVICES.match(scope["path"]):
            principal = self._gate.principal(headers.get(b"authorization", ""))
            if principal is ANYBODY_HERE and not _is_local(scope):
                # A proxy on this machine has stated the address of a remote client.
                principal = None
            if principal is None:
                message = (
                    "send a token: Authorization: Bearer …; dicom-warehouse token add creates one"
                )
                return problem(401, "Unauthorized", message, **{"WWW-Authenticate": CHALLENGE})
            scope["state"]["principal"] = principal
        length = headers.get(b"content-length", "0")
        if (
            not length.isascii()
            or not length.isdigit()
            or int(length) > self._max_body_bytes(scope)
        ):
            return problem(
                413, "TooLong", f"the body may have at most {self._max_body_bytes(scope)} bytes"
            )
        return None

    def _knows_host(self, host: str) -> bool:
        """Return whether the Host header names this server (protects against DNS rebinding)."""
        if not self._settings.is_loopback:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # not a host, such as [
            return False
        public = urlsplit(self._settings.public_url).hostname
        return name in LOOPBACK or (public is not None and name == public)

    def _max_body_bytes(self, scope: Scope) -> int:
        if scope["path"].startswith("/dicomweb/studies"):
            return self._settings.body_bytes
        if scope["path"] == "/api/v1/values":
            return self._settings.value_bytes
        return self._settings.text_bytes

    def _limited_receive(self, scope: Scope, receive: Receive) -> Receive:
        """Limit the size of a body, and the time that its next bytes may take."""
        received, limit, is_complete = 0, self._max_body_bytes(scope), False

        def body_failure(kind: type[Exception]) -> Exception:
            scope["state"]["wrong_body"] = kind()
            return kind()

        async def receive_limited() -> Message:
            nonlocal received, is_complete
            if is_complete:
                # Only a disconnect can follow, which may take any time.
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._settings.seconds)
            except TimeoutError:
                raise body_failure(TooSlow) from None
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > limit:
                raise body_failure(TooLong)
            return message

        return receive_limited

    def _write_audit(self, scope: Scope, method: str, status: int, began: float) -> None:
        if not _SERVICES.match(scope["path"]):
            return
        state = scope.get("state", {})
        principal = state.get("principal")
        route = scope.get("route")
        path_params = scope.get("path_params", {})
        uids = {
            name: value for name, value in path_params.items()
            if name in {"study", "series", "instance"} and _UID.fullmatch(str(value))
        }  # fmt: skip
        entity = _entity(getattr(route, "path", ""), path_params)
        if entity and _UID.fullmatch(str(path_params["key"])):
            uids[entity] = path_params["key"]
        if "studies" in state:
            uids["studies"] = state["studies"]
        entry = {
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "who": principal.name if principal else None,
            "role": principal.role if principal else None,
            "from": (scope.get("client") or ("",))[0], "method": method,
            "route": getattr(route, "path", None), **uids, "status": status,
            "version": state.get("version"), "seconds": round(time.perf_counter() - began, 4),
        }  # fmt: skip
        if self._settings.audit is None:
            sys.stderr.write(f"{json.dumps(entry)}\n")
            return
        # Opened for each line, so that the file can be rotated.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._settings.audit, flags, 0o600)
        try:
            os.write(descriptor, f"{json.dumps(entry)}\n".encode())
        finally:
            os.close(descriptor)


def _with_one_accept(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers with the lines of ``Accept`` as one list (RFC 9110 5.3)."""
    accepted = [value for name, value in headers if name == b"accept"]
    if len(accepted) < 2:
        return headers
    others = [header for header in headers if header[0] != b"accept"]
    return [*others, (b"accept", b", ".join(accepted))]


def _is_local(scope: Scope) -> bool:
    """Return whether the client is local; a client of a Unix socket has no address."""
    host = (scope.get("client") or ("127.0.0.1",))[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path_with_slashes(scope: Scope) -> str:
    """Return the path with ``SLASH`` for every encoded slash: keys of patients contain slashes."""
    raw = scope.get("raw_path") or b""
    if not _ENCODED_SLASH.search(raw):
        return str(scope["path"])
    return unquote(_ENCODED_SLASH.sub(SLASH.encode(), raw).decode("ascii", "replace"))


def _entity(route: str, path_params: Mapping[str, Any]) -> str | None:
    """Return the level of the key in a path; None for a patient, whose key is not logged."""
    kind = (
        path_params.get("level")
        or path_params.get("table")
        or route.removeprefix("/api/v1/").split("/")[0]
    )
    return _ENTITIES.get(kind) if "key" in path_params else None


def _add_headers(message: Message, scope: Scope) -> None:
    names = {name for name, _ in message["headers"]}
    state = scope.get("state", {})
    added = dict(_HEADERS)
    if "version" in state:
        added[b"x-warehouse-version"] = str(state["version"]).encode()
    if "etag" in state and message["status"] in {200, 206, 304}:
        added[b"etag"] = state["etag"].encode()
    message["headers"] = [
        *message["headers"], *((name, value) for name, value in added.items() if name not in names)
    ]  # fmt: skip
