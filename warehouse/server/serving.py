"""Provide a consistent version of the warehouse for each request, for many threads.

In: a warehouse. Out: a ``Version`` for a request. Each thread has its own connection to the
database of a catalog (``Sessions``), with the variables that its views read. After a commit, the
next request opens the new version; running requests keep the old one, which is closed after the
last of them. One time limit holds for all queries of a request.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
from anyio import CapacityLimiter

from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.guard import locked_catalog
from warehouse.errors import QueryFailed
from warehouse.server.found import Images
from warehouse.server.index import StudyIndex
from warehouse.server.limits import BoundedSessions, within
from warehouse.store.duck import bound
from warehouse.store.layout import table_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from warehouse.api import Warehouse
    from warehouse.catalog.connect import Catalog
    from warehouse.server.settings import ServerSettings

_WRITERS = 4
_LIST_SECONDS = 60.0
"""Interval after which the log is listed even if the next version does not exist."""


class Version:
    """One version of the warehouse, with its caches."""

    def __init__(self, catalog: Catalog, seconds: float) -> None:
        self.catalog = _time_limited(catalog)
        self.seconds = seconds
        """Time limit of the queries of a request."""
        self.index = StudyIndex(self.catalog)
        self.images = Images(self.catalog)
        self._locked: Catalog | None = None
        self._locking = threading.Lock()

    @property
    def number(self) -> int:
        """Number of the version."""
        return self.catalog.snapshot.version

    def limit(self) -> AbstractContextManager[None]:
        """Limit the time of the queries of this thread in a block.

        Raises
        ------
        TookTooLong
        """
        return within(self.seconds)

    def locked(self) -> Catalog:
        """Return a catalog of this version for SQL of users, which can read only the warehouse."""
        with self._locking:
            if self._locked is None:
                snapshot = self.catalog.snapshot
                self._locked = _time_limited(locked_catalog(snapshot.root, snapshot.version))
            return self._locked


def _time_limited(catalog: Catalog) -> Catalog:
    return replace(catalog, sessions=BoundedSessions(catalog.sessions))


class Serving:
    """A warehouse that many threads query."""

    def __init__(self, warehouse: Warehouse, settings: ServerSettings) -> None:
        self.warehouse = warehouse
        self.settings = settings
        self.writing = threading.Lock()
        """Held while a request changes the warehouse."""
        self.writers = CapacityLimiter(_WRITERS)
        """Limits the threads that wait for ``writing``, so that others remain for reading."""
        self._opening = threading.Lock()
        self._listed_at = 0.0
        self._version = self._open()

    def version(self) -> Version:
        """Return the newest version, with everything that was committed before."""
        if not self._is_newest():
            with self._opening:
                if not self._is_newest():
                    self._version = self._open()
        return self._version

    def _open(self) -> Version:
        root = self.warehouse.root
        catalog = open_catalog(root)
        bound(catalog.connection)
        self._listed_at = time.monotonic()
        return Version(catalog, self.settings.seconds)

    def _is_newest(self) -> bool:
        """Return whether the log of the table ``files`` has no later version."""
        log = table_folder(self.warehouse.root, "files") / "_delta_log"
        current = self._version.number
        if (log / f"{current + 1:020}.json").exists():
            return False
        if time.monotonic() - self._listed_at < _LIST_SECONDS:
            return True
        # Log entries of old versions may have been cleaned up since the last request.
        self._listed_at = time.monotonic()
        self.warehouse.refresh()  # fetches newer versions of a warehouse in a bucket
        return all(
            int(path.stem) <= current for path in log.glob("[0-9]*.json") if path.stem.isdigit()
        )


def fetched(
    catalog: Catalog, sql: str, params: Mapping[str, Any] | Sequence[Any] | None
) -> list[tuple[Any, ...]]:
    """Run a trusted query with untrusted parameters; return all rows.

    Raises
    ------
    TookTooLong, QueryFailed
    """
    try:
        return catalog.connection.execute(sql, params).fetchall()
    except duckdb.Error as error:
        raise QueryFailed(str(error).splitlines()[0]) from None
