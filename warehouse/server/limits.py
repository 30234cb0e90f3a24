"""Time limit of a request, over all of its queries.

In: the sessions of a catalog. Out: sessions that know by which request they are asked; one thread
interrupts those whose time is over, again and again until the request has ended.
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

_LOOK_SECONDS = 0.1


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
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()
            self._limits.add(limit)
            if len(self._limits) == 1:
                self._changed.notify()

    def remove(self, limit: _Limit) -> None:
        # The lock is held, so the interrupted query belongs to this request.
        with self._changed:
            self._limits.discard(limit)

    def _look(self) -> None:
        while True:
            with self._changed:
                while not self._limits:
                    self._changed.wait()
                for limit in self._limits:
                    if limit.is_over:
                        for connection in [*limit.connections.values()]:
                            connection.interrupt()
            time.sleep(_LOOK_SECONDS)


_WATCH = _Watch()
_OF_THREAD = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the time of all queries of this thread in the block.

    Raises
    ------
    TookTooLong
    """
    before = getattr(_OF_THREAD, "limit", None)
    limit = _OF_THREAD.limit = _Limit(seconds)
    _WATCH.add(limit)
    try:
        yield
    except Exception:
        if limit.is_over:
            # A library may have replaced the interrupt by an exception of its own.
            raise limit.error() from None
        raise
    finally:
        _WATCH.remove(limit)
        _OF_THREAD.limit = before


@contextmanager
def unbounded() -> Iterator[None]:
    """Suspend the time limit of this thread, to create tables that all requests share."""
    before = getattr(_OF_THREAD, "limit", None)
    _OF_THREAD.limit = None
    try:
        yield
    finally:
        _OF_THREAD.limit = before


def _noted(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    limit: _Limit | None = getattr(_OF_THREAD, "limit", None)
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
        """Return a new one."""
        return _noted(self._inner.begin(stored))

    def of_thread(self) -> duckdb.DuckDBPyConnection:
        """Return the one of this thread."""
        return _noted(self._inner.of_thread())
