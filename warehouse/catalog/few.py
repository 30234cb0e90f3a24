"""Sessions for queries about few instances, which open only the parts that may have their rows.

In: a catalog and instance ids. Out: a session in which the views read only these parts. The id
ranges of the parts are cached beside the materialized views (``catalog.spans``); without this
cache, all parts are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from warehouse.catalog.entities import IN_BATCHES, ids_of_batch
from warehouse.catalog.materialized import cached_spans, materialized_files
from warehouse.catalog.spans import TABLES, parts_within
from warehouse.sqlfiles import by_name
from warehouse.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from warehouse.catalog.connect import Catalog
    from warehouse.catalog.spans import Span, Spans


class _Noted(NamedTuple):
    spans: dict[str, Spans]
    """Table → its parts with their id ranges; empty if they are not cached."""
    kept: dict[str, list[str]]
    """View → files of its materialized rows."""


_KNOWN: WeakKeyDictionary[Catalog, _Noted] = WeakKeyDictionary()


def session_about(catalog: Catalog, ids: Iterable[int]) -> duckdb.DuckDBPyConnection:
    """Return a session for queries about instances with these ids.

    Its ``elements``, ``instances`` and ``files`` have all rows of these instances, and rows of
    other instances in the same parts. Materialized views are available; other tables may not be.
    Fetch results immediately: without cached ranges, this is the session of the thread.
    """
    return session_within(catalog, ((each, each) for each in ids))


def session_within(catalog: Catalog, ids: Iterable[Span]) -> duckdb.DuckDBPyConnection:
    """Return a session for queries about instances in these ranges of ids."""
    spans, kept = _noted(catalog)
    if not spans:
        return catalog.connection
    snapshot = catalog.snapshot
    wanted = list(ids)
    stored = dict(kept)
    for table in TABLES:
        folder = layout.table_folder(snapshot.root, table)
        # A part whose range is unknown may have rows of any instance.
        known = spans[table]
        held = {*parts_within(known, wanted)}
        parts = [part for part in snapshot.parts[table] if part in held or part not in known]
        stored[table] = [*(f"{folder}/{part}" for part in parts), snapshot.empty(table)]
    return catalog.sessions.begin(stored)


def session_of(catalog: Catalog, entity: str, key: str) -> duckdb.DuckDBPyConnection:
    """Return a session for queries about the instances of one series or study."""
    if not is_noted(catalog):
        return catalog.connection
    (column,) = by_name(entity).grain
    # A materialized row lists the batches of its instances; an entity without a row has none.
    batches = catalog.connection.execute(
        f"select distinct unnest({IN_BATCHES}) "
        f"from read_parquet(getvariable('stored').{entity}_kept) where {column} = $1",
        [key],
    ).fetchall()
    return session_within(catalog, (ids_of_batch(batch) for (batch,) in batches))


def is_noted(catalog: Catalog) -> bool:
    """Return whether the id ranges of the parts of a catalog are cached."""
    return bool(_noted(catalog).spans)


def _noted(catalog: Catalog) -> _Noted:
    if catalog not in _KNOWN:
        # A catalog in another order has other ids and cannot use materialized rows.
        kept = materialized_files(catalog.snapshot) if catalog.is_kept else None
        spans = {} if kept is None else cached_spans(catalog.snapshot)
        stored = {f"{name}_kept": files for name, files in (kept or {}).items()}
        _KNOWN[catalog] = _Noted(spans, stored)
    return _KNOWN[catalog]
