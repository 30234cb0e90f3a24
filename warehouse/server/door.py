"""The outermost middleware: host, sizes, number of requests, authentication, audit log.

An ASGI application around the other one. What it refuses never reaches a route. The audit log has
one JSON object a line: when, who, method, the route, UIDs of the path, status, seconds. No value of
a parameter is in it: names of patients are looked for by parameters.
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
from urllib.parse import parse_qsl, unquote, urlsplit

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
    """A client sends a body, and nothing of it has come for a while."""


_WRONG_BODIES: dict[type[Exception], tuple[int, str, str]] = {
    TooLong: (413, "TooLong", "the body is longer than this server takes"),
    TooSlow: (408, "TooSlow", "nothing of the body has come for too long"),
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
        # State of this request, apart from that of the server.
        asked = {**scope, "method": "GET" if is_head else scope["method"]}
        status, is_told = 500, asyncio.Event()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                if wrong := scope["state"].pop("wrong_body", None):
                    raise wrong  # a framework took it for a body that it cannot read
                status = message["status"]
                _add_headers(message, scope)
            elif is_head:
                if is_told.is_set():
                    return
                # The response to HEAD ends with its headers; the producer of the body has to stop.
                is_told.set()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        async def ended() -> Message:
            await is_told.wait()
            return {"type": "http.disconnect"}

        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        # Static pages do not count: a slow reader must not keep others from an answer.
        is_service = bool(_SERVICES.match(scope["path"]))
        if refused is None and is_service and self._busy >= self._settings.requests:
            refused = problem(503, "Busy", "too many requests at a time", **{"Retry-After": "1"})
        if refused is not None:
            await refused(asked, receive, noted)
            self._note(asked, scope["method"], status, began)
            return
        if is_service:
            asked["path"] = _with_keys(scope)
        self._busy += is_service
        try:
            taken = ended if is_head else self._limited(scope, receive)
            await self._inner(asked, taken, noted)
        except (TooLong, TooSlow) as error:
            scope["state"].pop("wrong_body", None)
            wrong = _WRONG_BODIES[type(error)]
            if status == 500:
                headers = {"Connection": "close"} if isinstance(error, TooSlow) else {}
                await problem(*wrong, **headers)(scope, receive, noted)
        finally:
            self._busy -= is_service
            self._note(asked, scope["method"], status, began)

    def _refused(self, scope: Scope, headers: dict[bytes, str]) -> Any:
        """Return the response to a refused request; None if it is accepted."""
        if not self._knows_host(headers.get(b"host", "")):
            return problem(400, "UsageError", "this server has another name; see --public-url")
        query = scope["query_string"].decode("latin-1")
        named = parse_qsl(query, keep_blank_values=True)
        if len(query) > QUERY_BYTES or any(len(n) + len(v) > PARAMETER_BYTES for n, v in named):
            return problem(400, "UsageError", f"a parameter has at most {PARAMETER_BYTES} bytes")
        texts = [scope["path"], *(text for pair in named for text in pair)]
        if any(_CONTROL.search(text) for text in texts):
            return problem(400, "UsageError", "a control character has no meaning here")
        if _SERVICES.match(scope["path"]):
            principal = self._gate.principal(headers.get(b"authorization", ""))
            if principal is ANYBODY_HERE and not _is_here(scope):
                # A proxy on this machine has named the user.
                principal = None
            if principal is None:
                message = (
                    "give a token: Authorization: Bearer …; dicom-warehouse token add makes one"
                )
                return problem(401, "Unauthorized", message, **{"WWW-Authenticate": CHALLENGE})
            scope["state"]["principal"] = principal
        length = headers.get(b"content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > self._most(scope):
            return problem(413, "TooLong", f"a body here has at most {self._most(scope)} bytes")
        return None

    def _knows_host(self, host: str) -> bool:
        """Return whether the Host header names this server (protects against DNS rebinding)."""
        if not self._settings.is_loopback:
            return True
        name = urlsplit(f"//{host}").hostname or ""
        public = urlsplit(self._settings.public_url).hostname
        return name in LOOPBACK or (public is not None and name == public)

    def _most(self, scope: Scope) -> int:
        if scope["path"].startswith("/dicomweb/studies"):
            return self._settings.body_bytes
        if scope["path"] == "/api/v1/values":
            return self._settings.value_bytes
        return self._settings.text_bytes

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Limit the bytes of a body, and the seconds without any."""
        seen, most, is_whole = 0, self._most(scope), False

        def wrong(kind: type[Exception]) -> Exception:
            scope["state"]["wrong_body"] = kind()
            return kind()

        async def counted() -> Message:
            nonlocal seen, is_whole
            if is_whole:
                # From now on wait only for the client to disconnect.
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._settings.seconds)
            except TimeoutError:
                raise wrong(TooSlow) from None
            seen += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if seen > most:
                raise wrong(TooLong)
            return message

        return counted

    def _note(self, scope: Scope, method: str, status: int, began: float) -> None:
        if not _SERVICES.match(scope["path"]):
            return
        state = scope.get("state", {})
        principal = state.get("principal")
        route = scope.get("route")
        given = scope.get("path_params", {})
        uids = {
            name: value for name, value in given.items()
            if name in {"study", "series", "instance"} and _UID.fullmatch(str(value))
        }  # fmt: skip
        entity = _entity(getattr(route, "path", ""), given)
        if entity and _UID.fullmatch(str(given["key"])):
            uids[entity] = given["key"]
        if "studies" in state:
            uids["studies"] = state["studies"]
        line = {
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "who": principal.name if principal else None,
            "role": principal.role if principal else None,
            "from": (scope.get("client") or ("",))[0], "method": method,
            "route": getattr(route, "path", None), **uids, "status": status,
            "version": state.get("version"), "seconds": round(time.perf_counter() - began, 4),
        }  # fmt: skip
        if self._settings.audit is None:
            sys.stderr.write(f"{json.dumps(line)}\n")
            return
        # Opened for each line, so that the file can be rotated.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._settings.audit, flags, 0o600)
        try:
            os.write(descriptor, f"{json.dumps(line)}\n".encode())
        finally:
            os.close(descriptor)


def _is_here(scope: Scope) -> bool:
    """Return whether the client is on this machine; a unix socket has no address."""
    host = (scope.get("client") or ("127.0.0.1",))[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_keys(scope: Scope) -> str:
    """Return the path with ``SLASH`` for every encoded slash: keys of patients have slashes."""
    raw = scope.get("raw_path") or b""
    if not _ENCODED_SLASH.search(raw):
        return str(scope["path"])
    return unquote(_ENCODED_SLASH.sub(SLASH.encode(), raw).decode("ascii", "replace"))


def _entity(route: str, given: Mapping[str, Any]) -> str | None:
    """Return the level of the key in a path; None for a patient, whose key is not logged."""
    kind = given.get("level") or given.get("table") or route.removeprefix("/api/v1/").split("/")[0]
    return _ENTITIES.get(kind) if "key" in given else None


def _add_headers(message: Message, scope: Scope) -> None:
    there = {name for name, _ in message["headers"]}
    state = scope.get("state", {})
    added = dict(_HEADERS)
    if "version" in state:
        added[b"x-warehouse-version"] = str(state["version"]).encode()
    if "etag" in state and message["status"] in {200, 206, 304}:
        added[b"etag"] = state["etag"].encode()
    message["headers"] = [
        *message["headers"], *((name, value) for name, value in added.items() if name not in there)
    ]  # fmt: skip
