"""Limit the total time of the queries of a request.

In: the sessions of a catalog. Out: sessions that register their connections with the request of
their thread. One thread interrupts those of overdue requests, repeatedly until the request ends.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from warehouse.catalog.connect import Sessions
from warehouse.server.errors import TookTooLong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

_CHECK_SECONDS = 0.1


class _Limit:
    """The deadline of a request, and the connections that it uses."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.connections: dict[int, duckdb.DuckDBPyConnection] = {}

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.end

    def error(self) -> TookTooLong:
        return TookTooLong(self.seconds)


class _Watch:
    """A thread that interrupts the connections of requests beyond their deadline."""

    def __init__(self) -> None:
        self._limits: set[_Limit] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, limit: _Limit) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._limits.add(limit)
            if len(self._limits) == 1:
                self._changed.notify()

    def remove(self, limit: _Limit) -> None:
        # Under the lock, so no query of a later request is interrupted.
        with self._changed:
            self._limits.discard(limit)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._limits:
                    self._changed.wait()
                for limit in self._limits:
                    if limit.is_over:
                        for connection in [*limit.connections.values()]:
                            connection.interrupt()
            time.sleep(_CHECK_SECONDS)


_WATCH = _Watch()
_THREAD = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the time of all queries of this thread in the block.

    Raises
    ------
    TookTooLong
    """
    before = getattr(_THREAD, "limit", None)
    limit = _THREAD.limit = _Limit(seconds)
    _WATCH.add(limit)
    try:
        yield
    except Exception:
        if limit.is_over:
            # A library may have replaced the interrupt by its own exception.
            raise limit.error() from None
        raise
    finally:
        _WATCH.remove(limit)
        _THREAD.limit = before


@contextmanager
def unbounded() -> Iterator[None]:
    """Suspend the time limit of this thread, to create tables that all requests share."""
    before = getattr(_THREAD, "limit", None)
    _THREAD.limit = None
    try:
        yield
    finally:
        _THREAD.limit = before


def _registered(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Register a connection with the limit of this thread, and return it."""
    limit: _Limit | None = getattr(_THREAD, "limit", None)
    if limit is not None:
        if limit.is_over:
            raise limit.error()
        limit.connections[id(connection)] = connection
    return connection


class BoundedSessions(Sessions):
    """Sessions of a catalog that are interrupted at the deadline of their request."""

    def __init__(self, inner: Sessions) -> None:
        self._inner = inner

    def begin(self, stored: Mapping[str, Sequence[str]] | None = None) -> duckdb.DuckDBPyConnection:
        """Return a new session."""
        return _registered(self._inner.begin(stored))

    def of_thread(self) -> duckdb.DuckDBPyConnection:
        """Return the session of this thread."""
        return _registered(self._inner.of_thread())
