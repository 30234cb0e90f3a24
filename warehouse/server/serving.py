"""``Serving``: a consistent version for each request, for many threads.

In: a warehouse. Out: a ``Catalog`` for a request. A thread has a connection of its own to the
database of a catalog (``Sessions``), with the variables that its views read. When a version is
committed, the next request opens it; answers that have begun go on with the one before, which is
closed when the last of them is done. All that a request asks has one bound of time.
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
_LOOK_SECONDS = 60.0
"""After which the folder of versions is read even if the next version is not there."""


class Version:
    """One version of the warehouse, and what was learned of it once."""

    def __init__(self, catalog: Catalog, seconds: float) -> None:
        self.catalog = _bounded(catalog)
        self.seconds = seconds
        """That one request may ask."""
        self.index = StudyIndex(self.catalog)
        self.images = Images(self.catalog)
        self._locked: Catalog | None = None
        self._locking = threading.Lock()

    @property
    def number(self) -> int:
        """Number of the version."""
        return self.catalog.snapshot.version

    def limit(self) -> AbstractContextManager[None]:
        """Bound the time of what this thread asks in a block.

        Raises
        ------
        TookTooLong
        """
        return within(self.seconds)

    def locked(self) -> Catalog:
        """Return the same version where SQL of users can read nothing but the warehouse."""
        with self._locking:
            if self._locked is None:
                snapshot = self.catalog.snapshot
                self._locked = _bounded(locked_catalog(snapshot.root, snapshot.version))
            return self._locked


def _bounded(catalog: Catalog) -> Catalog:
    return replace(catalog, sessions=BoundedSessions(catalog.sessions))


class Serving:
    """A warehouse that is asked by many threads."""

    def __init__(self, warehouse: Warehouse, settings: ServerSettings) -> None:
        self.warehouse = warehouse
        self.settings = settings
        self.writing = threading.Lock()
        """Held while a request changes the warehouse: one at a time."""
        self.writers = CapacityLimiter(_WRITERS)
        """Threads that may wait for that; the others are for who reads."""
        self._opening = threading.Lock()
        self._looked = 0.0
        self._version = self._opened()

    def version(self) -> Version:
        """Return the newest version: what was committed before the request is seen by it."""
        if not self._is_newest():
            with self._opening:
                if not self._is_newest():
                    self._version = self._opened()
        return self._version

    def _opened(self) -> Version:
        root = self.warehouse.root
        catalog = open_catalog(root)
        bound(catalog.connection)
        self._looked = time.monotonic()
        return Version(catalog, self.settings.seconds)

    def _is_newest(self) -> bool:
        """Tell whether no later version is there: each has an entry in the log of `files`."""
        log = table_folder(self.warehouse.root, "files") / "_delta_log"
        shown = self._version.number
        if (log / f"{shown + 1:020}.json").exists():
            return False
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return True
        # Log entries of old versions may have been cleaned up since the last request.
        self._looked = time.monotonic()
        self.warehouse.refresh()  # of a bucket, fetches what was published
        return all(
            int(path.stem) <= shown for path in log.glob("[0-9]*.json") if path.stem.isdigit()
        )


def fetched(
    catalog: Catalog, sql: str, params: Mapping[str, Any] | Sequence[Any] | None
) -> list[tuple[Any, ...]]:
    """Run a query of this software with untrusted parameters; return all rows.

    Raises
    ------
    TookTooLong, QueryFailed
    """
    try:
        return catalog.connection.execute(sql, params).fetchall()
    except duckdb.Error as error:
        raise QueryFailed(str(error).splitlines()[0]) from None
