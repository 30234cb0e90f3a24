"""Authentication by tokens in a file, each with a name and a role; secrets are stored as digests.

In: the header ``Authorization``. Out: ``Principal``. A secret is 32 random bytes that this
software chose, so that one SHA-256 is enough: there is nothing to guess. It is given as a bearer
token, or as the password of HTTP Basic with the name of the token as user.
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
"""What a token allows: to read everything; that and to store; to read what identifies nobody."""
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated client."""

    name: str
    role: str

    def may(self, what: str) -> bool:
        """Return whether the role permits to ``read``, ``write``, or read ``deidentified`` data."""
        return {
            "read": what in {"read", "deidentified"},
            "write": True,
            "deidentified": what == "deidentified",
        }[self.role]


ANYBODY_HERE = Principal("", "read")
"""Any client of a server without tokens, which serves this machine only."""


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file."""

    name: str
    role: str
    sha256: str
    created: str


def read_tokens(path: Path) -> list[Token]:
    """Return the tokens of a file; none if there is no file.

    Raises
    ------
    UsageError
        The file is no file of tokens.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        tokens = [Token(**one) for one in document["tokens"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path} is no file of tokens ({type(error).__name__}); make one with: "
            "dicom-warehouse token add NAME"
        ) from None
    if any(token.role not in ROLES for token in tokens):
        raise UsageError(f"{path}: a role is one of {', '.join(ROLES)}")
    return tokens


def add_token(path: Path, name: str, role: str) -> str:
    """Add a token and return its secret, which nobody can read again.

    Raises
    ------
    UsageError
        The name is taken or has other characters than letters, digits and ``._@-``.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("a name has 1 to 64 letters, digits and . _ @ -")
    if role not in ROLES:
        raise UsageError(f"unknown role {role!r}; choose one of: {', '.join(ROLES)}")
    with _changing(path):
        tokens = read_tokens(path)
        if any(token.name == name for token in tokens):
            raise UsageError(f"there is a token named {name!r}; revoke it first, or name another")
        secret = secrets.token_urlsafe(32)
        made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        _write(path, [*tokens, Token(name, role, _digest(secret), made)])
    return secret


def revoke_token(path: Path, name: str) -> None:
    """Take a token out of the file; a running server refuses it from the next request on.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    with _changing(path):
        tokens = read_tokens(path)
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            raise UsageError(f"there is no token named {name!r} in {path}")
        _write(path, kept)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Lock the file of tokens."""
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
    """Replace the file in one step; only its owner may read it."""
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
    """Authenticates requests; reads the file of tokens again when it has changed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []
        if path is not None:
            read_tokens(path)  # says what is wrong with it
        self._read()

    @property
    def is_open(self) -> bool:
        """Whether no token is needed: there is none."""
        self._read()
        return not self._tokens and self._state is None

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            status = os.stat(self._path)
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            # A missing file admits nobody.
            self._tokens = []
            return
        with self._lock:
            if state != self._state:
                try:
                    self._tokens, self._state = read_tokens(self._path), state
                except UsageError:
                    # A damaged file admits nobody.
                    self._tokens, self._state = [], state

    def principal(self, authorization: str) -> Principal | None:
        """Return the client of an ``Authorization`` header; None if it is unknown."""
        if self.is_open:
            return ANYBODY_HERE
        kind, _, given = authorization.partition(" ")
        name = None
        if kind.lower() == "basic":
            try:
                name, _, given = base64.b64decode(given, validate=True).decode().partition(":")
            except ValueError:
                return None
        elif kind.lower() != "bearer":
            return None
        digest = _digest(given.strip())
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, digest) and name in {None, token.name}:
                return Principal(token.name, token.role)
        return None
