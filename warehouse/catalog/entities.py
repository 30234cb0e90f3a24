"""Materialize the entity views: from scratch, or incrementally from the version before.

In: a version, and the answers of one before it. Out: pieces (``catalog.pieces``) of the answers of
series, studies, patients and of the frames of objects. An entity of which an instance stands in a
part that came or went since is asked anew. If it had no row before, all of it is in the parts that
came; else it may also be in those of the batches that its row names. No other part is opened.
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
"""Views that these views read besides ``instances``, and not kept themselves.

What stands in them of an instance changes only with its row in ``instances``, whose version is
therefore enough of a key.
"""

IN_BATCHES = "in_batches"
"""Column that is kept of each entity besides those of its view: the batches of its instances."""


@cache
def materialized_views() -> tuple[Model, ...]:
    """Return the names of the materialized views."""
    return tuple(model for model in read_models() if model.is_kept)


@cache
def entities() -> tuple[Model, ...]:
    """Return those with one row per ``grain``, a key of `instances`."""
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
        Those of an older version: the parts that went since can still be read.
    spans
        Table → the parts of the version, and of which instances each may hold rows.
    draft
        Where they are written.
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
    """Give a connection that spills: what is made from nothing is asked of the whole archive."""
    with connect() as connection:
        bound(connection)
        yield connection


def _asked(model: Model) -> str:
    """Return the SELECT of what is kept; not of a view, which is planned when it is made too."""
    (key,) = model.grain
    if key == "instance_id":
        return f"select * from ({model.query})"
    return (
        f"select entity.*, held.{IN_BATCHES} from ({model.query}) as entity left join ("
        f"select {key}, list_sort(list(distinct instance_id >> {layout.ID_BITS})) as {IN_BATCHES} "
        f"from instances where {key} is not null group by {key}) as held using ({key})"
    )


def _stored(snapshot: Snapshot, parts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the paths that views read of each table: these parts, or none."""
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
    """Let views read the touched entities alone, in the parts that may hold rows of them.

    Makes the table ``touched`` of their keys, and ``known``: those that have a row in the answer of
    before.
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
        # The row of an instance is in at most one part, an added one or none.
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
        # Row groups of other instances are not read.
        first, last = connection.execute(
            "select min(instance_id), max(instance_id) from touched"
        ).fetchall()[0]
        for name in ("elements", "files"):
            connection.execute(
                f"create or replace view {name} as from ({by_name(name).query}) "
                f"where instance_id between {first or 0} and {last or 0}"
            )


def ids_of_batch(batch: int) -> Span:
    """Return the first and the last id that an instance of a batch can have."""
    return batch << layout.ID_BITS, ((batch + 1) << layout.ID_BITS) - 1


def materialized_query(model: Model, source: str) -> str:
    """Return the SELECT of the columns of a view from pieces of its answer."""
    columns = ", ".join(f'"{column.name}"' for column in model.columns)
    return f"select {columns} from read_parquet({source})"


def _read_materialized(
    connection: duckdb.DuckDBPyConnection, model: Model, files: list[str], where: str = ""
) -> None:
    """Let the views that read this one read its answer."""
    source = f"[{', '.join(literal(path) for path in files)}]"
    query = f"{materialized_query(model, source)} {where}"
    connection.execute(f"create or replace view {model.name} as {query}")


def _narrow(connection: duckdb.DuckDBPyConnection, model: Model, files: list[str]) -> None:
    """Let a kept answer be read for the instances alone that `instances` has now."""
    first, last = connection.execute(
        "select coalesce(min(instance_id), 0), coalesce(max(instance_id), 0) from instances"
    ).fetchall()[0]
    _read_materialized(connection, model, files, f"where instance_id between {first} and {last}")
