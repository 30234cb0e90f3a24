"""Objects in S3-compatible storage: list them, and read ranges of their bytes.

In: ``s3://bucket/key`` and ``S3Access``. Out: listed objects, and bytes. All ranges of an object
are read from one state of it: the first response gives its ETag, and later requests require it.

Without given credentials, requests are unsigned: neither profiles of the user nor metadata services
of the machine are consulted. Objects are never written.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from warehouse.errors import BucketUnreachable, SourceNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from obstore.store import S3Store

    from warehouse.settings import S3Access

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

SCHEME = "s3://"

CONNECTIONS = 64
"""Concurrent requests; each takes 10 to 100 ms, regardless of its size."""

READ_BYTES = 256 << 10
"""Minimum size of further ranges of an object; smaller ones are not faster."""

_BUCKET = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_IMPOSSIBLE = re.compile(r"[\0-\x1f\x7f]|(?:^|/)\.{0,2}/|/\.{1,2}$|^\.{1,2}$")
"""What the client refuses, some of it by a panic."""

_CLIENT: dict[str, Any] = {"timeout": "30s", "connect_timeout": "5s"}
_RETRY: dict[str, Any] = {
    "max_retries": 8,
    "retry_timeout": dt.timedelta(seconds=120),
    "backoff": {
        "init_backoff": dt.timedelta(milliseconds=50), "max_backoff": dt.timedelta(seconds=10),
        "base": 2,
    },
}  # fmt: skip
"""Retries, for a server that is temporarily busy."""


class Listed(NamedTuple):
    """One object of a listing."""

    path: str
    size_bytes: int
    modified_us: int
    """In whole seconds, as some servers list milliseconds, which a HEAD request never gives."""


class Range(NamedTuple):
    """A byte range of an object."""

    data: memoryview
    size_bytes: int
    """Size of the whole object."""
    state: str | None
    """ETag, which identifies this state of the object."""


def is_object(path: object) -> bool:
    """Return whether a source is in a bucket."""
    return isinstance(path, str) and path.startswith(SCHEME)


def list_objects(url: str, access: S3Access) -> Iterator[Listed]:
    """List the object with this key, and all objects whose keys continue it after a slash.

    Raises
    ------
    SourceNotFound
        There is no such bucket.
    UsageError
        There can be no such bucket or key.
    BucketUnreachable
        The server rejects the request or does not answer, or a key is invalid.
    """
    obstore = _obstore()
    bucket, key = parts_of(url)
    store = bucket_store(bucket, access)
    try:
        alone = _head(store, key) if key and not key.endswith("/") else None
        if alone is not None:
            yield _listed(bucket, alone)
        is_empty = alone is None
        for some in obstore.list(store, prefix=key.rstrip("/") or None, chunk_size=1000):
            for meta in some:
                is_empty = False
                yield _listed(bucket, meta)
        # A web page, as of a login or of the console of a server, is read as a listing of nothing.
        if is_empty and _has_any_key(store):
            raise BucketUnreachable(url, "the server has every key, so it is none of S3")
    except (obstore.exceptions.BaseError, OSError) as error:
        if "NoSuchBucket" in str(error):
            raise SourceNotFound(f"{SCHEME}{bucket}") from error
        raise BucketUnreachable(url, str(error).partition("\n")[0]) from error


def find_objects(urls: Sequence[str], access: S3Access) -> list[Listed | None]:
    """Return the current size and time of each object; None if it no longer exists.

    Raises
    ------
    BucketUnreachable
        The server rejects the request or does not answer, so it is unknown whether objects exist.
    """
    obstore = _obstore()

    def find(url: str) -> Listed | None:
        bucket, key = parts_of(url)
        try:
            meta = _head(bucket_store(bucket, access), key)
        except (obstore.exceptions.BaseError, OSError) as error:
            raise BucketUnreachable(url, str(error).partition("\n")[0]) from error
        return None if meta is None else _listed(bucket, meta)

    return list(_many(find, urls))


def read_ranges(
    asked: Iterable[tuple[str, S3Access, int, int, str | None]],
) -> Iterator[Range | None]:
    """Read many ranges in parallel; None for those that could not be read."""

    def read(one: tuple[str, S3Access, int, int, str | None]) -> Range | None:
        try:
            return read_range(*one)
        except OSError:
            return None

    return _many(read, asked)


def read_range(
    url: str, access: S3Access, offset: int, length: int, state: str | None = None
) -> Range:
    """Read ``length`` bytes of an object; fewer at its end.

    Parameters
    ----------
    state
        Read from this state of the object, or fail.

    Raises
    ------
    OSError
        The range could not be read, or the object has changed.
    """
    obstore = _obstore()
    bucket, key = parts_of(url)
    options: dict[str, Any] = {"range": (offset, offset + length)}
    if state is not None:
        options["if_match"] = state
    try:
        answer = obstore.get(bucket_store(bucket, access), key, options=options)
        data = memoryview(answer.bytes())
    except obstore.exceptions.PreconditionError as error:
        raise OSError(None, "the object changed while it was read") from error
    except FileNotFoundError as error:
        raise OSError(None, "no such object") from error
    except obstore.exceptions.BaseError as error:
        raise OSError(None, f"the server did not answer: {type(error).__name__}") from error
    return Range(data, answer.meta["size"], answer.meta["e_tag"])


class ObjectFile(io.RawIOBase):
    """A seekable, read-only file over one version of an object."""

    def __init__(
        self, url: str, access: S3Access, size_bytes: int | None = None, state: str | None = None
    ) -> None:
        self._url, self._access, self._state = url, access, state
        self.name = url
        """Name, as of any open file; pydicom reads it."""
        self._at = 0
        self._size = size_bytes or 0
        # Read one byte to learn size and ETag; a range of an empty object is an error.
        if state is None and size_bytes != 0:
            first = read_range(url, access, 0, 1)
            self._size, self._state = first.size_bytes, first.state

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; nothing is read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read from the current position; return 0 at the end."""
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        got = read_range(self._url, self._access, self._at, length, self._state).data
        buffer[: len(got)] = got
        self._at += len(got)
        return len(got)


def open_object(
    url: str, access: S3Access, size_bytes: int | None, state: str | None = None
) -> io.BufferedReader:
    """Open an object for reading; raise OSError as for a file.

    With ``state``, that state is read, and ``size_bytes`` must be its size.
    """
    return io.BufferedReader(ObjectFile(url, access, size_bytes, state), READ_BYTES)


def _many(work: Callable[[_Asked], _Answer], items: Iterable[_Asked]) -> Iterator[_Answer]:
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        yield from threads.map(work, items)


def parts_of(url: str) -> tuple[str, str]:
    """Return bucket and key of a URL.

    Raises
    ------
    UsageError
        There is no bucket of this name, or the client cannot ask for this key.

    Examples
    --------
    >>> parts_of("s3://bucket/day 1/")
    ('bucket', 'day 1/')
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not _BUCKET.fullmatch(bucket) or _IMPOSSIBLE.search(key.rstrip("/")):
        raise UsageError(
            f"{url!r} cannot be asked for: a bucket has a name of letters, digits, '.', '_' and "
            "'-'; a key has no empty, '.' or '..' segment and no control characters"
        )
    return bucket, key


def _head(store: S3Store, key: str) -> Any:
    try:
        return _obstore().head(store, key)
    except FileNotFoundError:
        return None


def _has_any_key(store: S3Store) -> bool:
    """Return whether a server answers that it has an object of a random name."""
    obstore = _obstore()
    try:
        return _head(store, uuid.uuid4().hex) is not None
    except obstore.exceptions.PermissionDeniedError:
        return False


def _listed(bucket: str, meta: Any) -> Listed:
    age = meta["last_modified"] - dt.datetime.fromtimestamp(0, dt.UTC)
    microseconds = whole_seconds(age // dt.timedelta(microseconds=1))
    return Listed(f"{SCHEME}{bucket}/{meta['path']}", meta["size"], microseconds)


def whole_seconds(microseconds: int) -> int:
    """Return a time in microseconds without the fraction of its second.

    >>> whole_seconds(1_700_000_000_123_000)
    1700000000000000
    """
    return microseconds - microseconds % 1_000_000


@lru_cache(maxsize=64)
def bucket_store(bucket: str, access: S3Access) -> S3Store:
    """Return the client of a bucket: one per process, because it keeps connections open."""
    _obstore()
    from obstore.store import S3Store  # noqa: PLC0415

    signed: dict[str, Any] = {"skip_signature": True}
    if access.access_key_id:
        signed = {
            "access_key_id": access.access_key_id,
            "secret_access_key": access.secret_access_key,
            "skip_signature": False,
        }
        if access.session_token:
            signed["session_token"] = access.session_token
    if access.endpoint:
        signed["endpoint"] = access.endpoint
        signed["virtual_hosted_style_request"] = False
    client: Any = _CLIENT | {"allow_http": access.endpoint.startswith("http://")}
    retry: Any = _RETRY
    return S3Store(
        bucket, region=access.region, client_options=client, retry_config=retry, **signed
    )


def _obstore() -> Any:
    try:
        import obstore  # noqa: PLC0415 - an extra
        import obstore.exceptions  # noqa: PLC0415
    except ImportError:
        raise UsageError("reading from a bucket needs: pip install 'dicom-warehouse[s3]'") from None
    return obstore
