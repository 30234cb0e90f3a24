"""One version for each answer, the newest one for the next, and any number of readers at once.

In: a warehouse. Out: a ``Catalog`` for a request. A thread has a connection of its own to the
database of a catalog (``Sessions``), with the variables that its views read. When a version is
committed, the next request opens it; answers that have begun go on with the one before, which is
closed when the last of them is done.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.guard import locked_catalog
from warehouse.errors import CohortStopped, QueryFailed
from warehouse.server.found import Images
from warehouse.server.index import StudyIndex
from warehouse.store.duck import bound
from warehouse.store.layout import table_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from warehouse.api import Warehouse
    from warehouse.catalog.connect import Catalog
    from warehouse.server.settings import ServerSettings

_LOOK_SECONDS = 60.0
"""After which the folder of versions is read even if the next version is not there."""


class Version:
    """One version of the warehouse, and what was learned of it once."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.index = StudyIndex(catalog)
        self.images = Images(catalog)
        self._locked: Catalog | None = None
        self._locking = threading.Lock()

    @property
    def number(self) -> int:
        """Number of the version."""
        return self.catalog.snapshot.version

    def locked(self) -> Catalog:
        """Return the same version where SQL of users can read nothing but the warehouse."""
        with self._locking:
            if self._locked is None:
                self._locked = locked_catalog(self.catalog.snapshot.root, self.number)
            return self._locked


class Serving:
    """A warehouse that is asked by many threads."""

    def __init__(self, warehouse: Warehouse, settings: ServerSettings) -> None:
        self.warehouse = warehouse
        self.settings = settings
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
        return Version(catalog)

    def _is_newest(self) -> bool:
        """Tell whether no later version is there: each has an entry in the log of `files`."""
        log = table_folder(self.warehouse.root, "files") / "_delta_log"
        shown = self._version.number
        if (log / f"{shown + 1:020}.json").exists():
            return False
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return True
        # Entries of old versions may have been cleaned away while nobody asked.
        self._looked = time.monotonic()
        self.warehouse.refresh()  # of a bucket, fetches what was published
        return all(
            int(path.stem) <= shown for path in log.glob("[0-9]*.json") if path.stem.isdigit()
        )


@contextmanager
def within(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Stop what a connection is asked after some time.

    Raises
    ------
    CohortStopped
    """
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        raise CohortStopped(f"it took more than {seconds:g} s") from None
    finally:
        timer.cancel()


def fetched(
    catalog: Catalog, sql: str, params: Mapping[str, Any] | Sequence[Any] | None, seconds: float
) -> list[tuple[Any, ...]]:
    """Return all rows of a question of this software, whose values came from outside.

    Raises
    ------
    CohortStopped, QueryFailed
    """
    connection = catalog.connection
    with within(connection, seconds):
        try:
            return connection.execute(sql, params).fetchall()
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            raise QueryFailed(str(error).splitlines()[0]) from None
