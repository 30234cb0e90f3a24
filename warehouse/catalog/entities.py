"""Materialize the entity views: from scratch, or incrementally from an older version.

In: a version, and the materialized views of an older one. Out: pieces (``catalog.pieces``) of the
views of series, studies and patients, and of the frames of objects. An entity is computed again if
one of its instances is in a part that was added or removed since. If the entity had no row before,
all its instances are in added parts; otherwise they may also be in the parts of the batches that
its row lists. No other part is opened.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog.pieces import find_known, paths, reuse_pieces, write_piece
from warehouse.catalog.spans import TABLES, parts_within
from warehouse.catalog.summaries import SUMMARIES
from warehouse.sqlfiles import Model, by_name, macros_for, read_models
from warehouse.store import layout
from warehouse.store.duck import bound, connect, lent, literal, set_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import duckdb

    from warehouse.catalog.pieces import Answers, Pieces
    from warehouse.catalog.spans import Span, Spans
    from warehouse.store.delta import Snapshot

READ = ("elements", "files", "utc_offsets", "unread", "group_elements")
"""Views that the entity views read besides ``instances``, and that are not materialized themselves.

Their rows for an instance change only together with its row in ``instances``, so the version of
``instances`` is a sufficient cache key.
"""

IN_BATCHES = "in_batches"
"""Column stored for each entity in addition to those of its view: batches of its instances."""


@cache
def materialized_views() -> tuple[Model, ...]:
    """Return the models of the materialized views."""
    return tuple(model for model in read_models() if model.is_kept)


@cache
def entities() -> tuple[Model, ...]:
    """Return the materialized views with one row per key of `instances`, their ``grain``."""
    return tuple(model for model in materialized_views() if model.name not in SUMMARIES)


def make_entities(
    snapshot: Snapshot, before: Answers | None, spans: Mapping[str, Spans], draft: Path
) -> Pieces:
    """Write the materialized entity views of a version to a folder.

    Parameters
    ----------
    snapshot
        The version.
    before
        Materialized views of an older version; parts removed since must still exist.
    spans
        Table → parts of the version, with the range of instance ids of each.
    draft
        Folder to write to.
    """
    pieces: Pieces = {}
    with _bounded() if before is None else lent() as connection:
        views = ("instances", *READ)
        for macro in macros_for(*views, *(model.name for model in entities())):
            connection.execute(macro.sql)
        read = TABLES if before is None else ()
        set_stored(connection, _stored(snapshot, {table: snapshot.parts[table] for table in read}))
        for name in views:
            connection.execute(by_name(name).sql)
        for model in entities():
            if before is None:
                ordered = f"{_asked(model)} order by {model.grain[0]}"
                pieces[model.name] = [write_piece(connection, model.name, ordered, draft)]
            else:
                _read_touched(connection, model, snapshot, before, spans)
                for name in model.depends:
                    if name in pieces:
                        _narrow(connection, by_name(name), paths(draft, pieces[name]))
                connection.execute(f"create or replace temp table asked as {_asked(model)}")
                pieces[model.name] = reuse_pieces(connection, model, before, draft)
            _read_materialized(connection, model, paths(draft, pieces[model.name]))
    return pieces


@contextmanager
def _bounded() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that spills to disk; from scratch, a view is computed over all rows."""
    with connect() as connection:
        bound(connection)
        yield connection


def _asked(model: Model) -> str:
    """Return the SELECT of the rows to store; creating a view for it would plan it twice."""
    (key,) = model.grain
    if key == "instance_id":
        return f"select * from ({model.query})"
    return (
        f"select entity.*, held.{IN_BATCHES} from ({model.query}) as entity left join ("
        f"select {key}, list_sort(list(distinct instance_id >> {layout.ID_BITS})) as {IN_BATCHES} "
        f"from instances where {key} is not null group by {key}) as held using ({key})"
    )


def _stored(snapshot: Snapshot, parts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the paths that views read for each table: these parts, or none."""
    return {
        table: [*_paths(snapshot, table, parts.get(table, ())), snapshot.empty(table)]
        for table in TABLES
    }


def _paths(snapshot: Snapshot, table: str, parts: Iterable[str]) -> list[str]:
    folder = layout.table_folder(snapshot.root, table)
    return [f"{folder}/{part}" for part in parts]


def _read_touched(
    connection: duckdb.DuckDBPyConnection, model: Model, snapshot: Snapshot, before: Answers,
    spans: Mapping[str, Spans],
) -> None:  # fmt: skip
    """Restrict the views to the touched entities, and to the parts that may have rows of them.

    Creates the table ``touched`` with their keys, and ``known`` with those that have a row in the
    older materialized view.
    """
    (key,) = model.grain
    now, then = spans["instances"], before.spans["instances"]
    came = {part: span for part, span in now.items() if part not in then}
    gone = [part for part in then if part not in now]
    changed = [*_paths(snapshot, "instances", [*came, *gone]), snapshot.empty("instances")]
    connection.execute("set variable changed = $1", [changed])
    connection.execute(
        f"create or replace temp table touched as "
        f"select distinct {key} from read_parquet(getvariable('changed')) where {key} is not null"
    )
    old = paths(before.folder, before.pieces[model.name])
    if key == "instance_id":
        find_known(connection, key, old, [key])
        # The row of an instance is in at most one part; here, in an added part or in none.
        read = {table: parts_within(spans[table], came.values()) for table in ("elements", "files")}
        read["instances"] = list(came)
    else:
        find_known(connection, key, old, [key, IN_BATCHES])
        batches = connection.execute(f"select distinct unnest({IN_BATCHES}) from known").fetchall()
        of_known = parts_within(now, (ids_of_batch(batch) for (batch,) in batches))
        read = {"instances": list(dict.fromkeys([*came, *of_known]))}
    set_stored(connection, _stored(snapshot, read))
    connection.execute(
        f"create or replace view instances as from ({by_name('instances').query}) "
        f"where {key} in (from touched)"
    )
    if key == "instance_id":
        # Do not read row groups of other instances.
        first, last = connection.execute(
            "select min(instance_id), max(instance_id) from touched"
        ).fetchall()[0]
        for name in ("elements", "files"):
            connection.execute(
                f"create or replace view {name} as from ({by_name(name).query}) "
                f"where instance_id between {first or 0} and {last or 0}"
            )


def ids_of_batch(batch: int) -> Span:
    """Return the first and the last possible instance id of a batch."""
    return batch << layout.ID_BITS, ((batch + 1) << layout.ID_BITS) - 1


def materialized_query(model: Model, source: str) -> str:
    """Return the SELECT of the columns of a view from its materialized pieces."""
    columns = ", ".join(f'"{column.name}"' for column in model.columns)
    return f"select {columns} from read_parquet({source})"


def _read_materialized(
    connection: duckdb.DuckDBPyConnection, model: Model, files: list[str], where: str = ""
) -> None:
    """Make the views that read this view read its materialized rows."""
    source = f"[{', '.join(literal(path) for path in files)}]"
    query = f"{materialized_query(model, source)} {where}"
    connection.execute(f"create or replace view {model.name} as {query}")


def _narrow(connection: duckdb.DuckDBPyConnection, model: Model, files: list[str]) -> None:
    """Restrict a materialized view to the instances that `instances` now has."""
    first, last = connection.execute(
        "select coalesce(min(instance_id), 0), coalesce(max(instance_id), 0) from instances"
    ).fetchall()[0]
    _read_materialized(connection, model, files, f"where instance_id between {first} and {last}")
