"""Authenticate requests by the tokens of a file; each has a name, a role and a secret.

In: the ``Authorization`` header. Out: ``Principal``. The file stores SHA-256 digests of secrets; as
a secret has 32 random bytes, no slow hash is needed. Clients send it as a bearer token, or as the
password of HTTP Basic authentication with the name of the token as user.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from warehouse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLES = ("read", "write", "deidentified")
"""Roles: read everything; read and write everything; read columns of ``deidentified`` only."""
_DELETED = (0, 0, 0)
"""State of a token file that was read before and cannot be found now; no file has inode 0."""
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated client."""

    name: str
    role: str

    def may(self, permission: str) -> bool:
        """Return whether the role permits ``read``, ``write`` or ``deidentified`` access."""
        return {
            "read": permission in {"read", "deidentified"},
            "write": True,
            "deidentified": permission == "deidentified",
        }[self.role]


ANYBODY_HERE = Principal("", "read")
"""Any client of a server without tokens, which serves this machine only."""


@dataclass(frozen=True, slots=True)
class Token:
    """An entry of the token file."""

    name: str
    role: str
    sha256: str
    created: str


def read_tokens(path: Path) -> list[Token]:
    """Return the tokens of a file; an empty list if it does not exist.

    Raises
    ------
    UsageError
        The file is not a valid token file.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        tokens = [Token(**entry) for entry in document["tokens"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path} is not a token file ({type(error).__name__}); create one with: "
            "dicom-warehouse token add NAME"
        ) from None
    if any(token.role not in ROLES for token in tokens):
        raise UsageError(f"{path} has an unknown role; roles are: {', '.join(ROLES)}")
    return tokens


def add_token(path: Path, name: str, role: str) -> str:
    """Add a token and return its secret, which is not stored.

    Raises
    ------
    UsageError
        The name exists or is not 1 to 64 letters, digits and ``._@-``, or the role is unknown.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("the name of a token must be 1 to 64 letters, digits and . _ @ -")
    if role not in ROLES:
        raise UsageError(f"unknown role {role!r}; choose one of: {', '.join(ROLES)}")
    with _locked_file(path):
        tokens = read_tokens(path)
        if any(token.name == name for token in tokens):
            raise UsageError(f"the token {name!r} exists; revoke it first, or choose another name")
        secret = secrets.token_urlsafe(32)
        created = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        _write(path, [*tokens, Token(name, role, _digest(secret), created)])
    return secret


def revoke_token(path: Path, name: str) -> None:
    """Remove a token from the file; a running server refuses it from the next request on.

    Raises
    ------
    UsageError
        No token has that name.
    """
    with _locked_file(path):
        tokens = read_tokens(path)
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            raise UsageError(f"{path} has no token named {name!r}")
        _write(path, kept)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@contextlib.contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    """Hold the lock of the token file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: Path, tokens: list[Token]) -> None:
    """Replace the token file atomically; only its owner may read it."""
    draft = path.with_name(f".{uuid.uuid4().hex}.part")
    text = json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=1)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


class Gate:
    """Authenticates requests; reloads the token file when it has changed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []
        if path is not None:
            read_tokens(path)  # raises if the file is invalid
        self._reload()

    @property
    def is_open(self) -> bool:
        """Whether no token is needed: there has been no token file."""
        self._reload()
        return not self._tokens and self._state is None

    def _reload(self) -> None:
        if self._path is None:
            return
        try:
            status = os.stat(self._path)
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            # If the file was deleted, no token is valid until it can be read again.
            with self._lock:
                self._tokens = []
                if self._state is not None:
                    self._state = _DELETED
            return
        with self._lock:
            if state != self._state:
                try:
                    self._tokens, self._state = read_tokens(self._path), state
                except UsageError:
                    # If the file is damaged, no token is valid.
                    self._tokens, self._state = [], state

    def principal(self, authorization: str) -> Principal | None:
        """Return the client of an ``Authorization`` header; None if its token is unknown."""
        if self.is_open:
            return ANYBODY_HERE
        scheme, _, secret = authorization.partition(" ")
        name = None
        if scheme.lower() == "basic":
            try:
                name, _, secret = base64.b64decode(secret, validate=True).decode().partition(":")
            except ValueError:
                return None
        elif scheme.lower() != "bearer":
            return None
        digest = _digest(secret.strip())
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, digest) and name in {None, token.name}:
                return Principal(token.name, token.role)
        return None
