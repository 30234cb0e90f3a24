"""Summaries of the elements of an archive, brought forward from one version to the next.

In: a version, and the summaries of one before it. Out: Parquet, beside the other kept answers. The
views stay the definition (sql/2_entities/element_summaries.sql and others): here they are asked of
parts, and the answers are added (sql/summaries/). Only parts that came or went since are read, and
the rows of tags of which a value went that a summary names: it may stand in other parts too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.catalog.dictionaries import make_confidential
from warehouse.sqlfiles import by_name, statement
from warehouse.store import layout
from warehouse.store.duck import connect, copy_to, set_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.store.delta import Snapshot

SUMMARIES = ("element_summaries", "element_sketches", "element_sets", "element_set_kinds")
"""Views whose answers for parts of ``elements`` can be added."""

_MACROS = ("normal_text", "is_identifying")

PARTS = {"instances.json": "instances", "elements.json": "elements"}
"""File beside the answers → table of which it names the parts that they were made of."""

READ = ("elements", "element_runs", "element_segments")
"""Views that they read besides ``instances``."""

ROWS_AT_ONCE = 8_000_000
"""Rows of ``elements`` that are summarized together: what is in memory grows with them."""


def make_summaries(snapshot: Snapshot, before: Path | None, draft: Path) -> None:
    """Write the summaries of a version into a folder.

    Parameters
    ----------
    snapshot
        The version.
    before
        Folder with those of an older version: the parts that went since can still be read.
    draft
        Where they are written, each as a file of the name of its view, and the names of the parts.
    """
    # What takes time is one pass in the order of the rows: other threads would only wait for it.
    with connect(threads=1) as connection:
        make_confidential(connection)
        _read(connection, snapshot, [])
        for name in (*_MACROS, *READ, "instances", *SUMMARIES):
            connection.execute(by_name(name).sql)
        connection.execute("create table runs as from element_runs")
        connection.execute("create or replace view element_runs as from runs")
        if before is None or not _bring_forward(connection, snapshot, before):
            _summarize(connection, snapshot, "kept", snapshot.parts["elements"])
        for name in SUMMARIES:
            copy_to(connection, f"from kept_{name} order by all", draft, f"{name}.parquet")
    note_parts(snapshot, draft)


def note_parts(snapshot: Snapshot, draft: Path) -> None:
    """Write the names of the parts that answers were made of."""
    for name, table in PARTS.items():
        (draft / name).write_text(json.dumps(snapshot.parts[table]))


def _bring_forward(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, before: Path) -> bool:
    """Make the tables ``kept_…`` from older ones; return False if these are of no use."""
    instances, elements = (json.loads((before / name).read_text()) for name in PARTS)
    if _has_other_series(connection, snapshot, instances):
        return False
    for name in SUMMARIES:
        connection.execute("set variable kept = $1", [str(before / f"{name}.parquet")])
        connection.execute(
            f"create temp table kept_{name} as from read_parquet(getvariable('kept'))"
        )
    now = snapshot.parts["elements"]
    _summarize(connection, snapshot, "came", _without(now, elements))
    then = replace(snapshot, parts=snapshot.parts | {"instances": tuple(instances)})
    _summarize(connection, then, "gone", _without(elements, now))
    lost = connection.execute(statement("lost", "summaries")).fetchall()
    for name in SUMMARIES:
        _add(connection, name, "kept", {f"kept_{name}": 1, f"came_{name}": 1, f"gone_{name}": -1})
    connection.execute(
        "delete from kept_element_set_kinds "
        "where kind_set not in (select kind_set from kept_element_sets)"
    )
    if lost:
        # Of the sets nothing is ever lost: they are sums.
        some = SUMMARIES[:2]
        connection.execute("create temp table lost as select unnest($1) as tag", [[*sum(lost, ())]])
        elements_of_tags = f"from ({by_name('elements').query}) where tag in (from lost)"
        connection.execute(f"create or replace view elements as {elements_of_tags}")
        _summarize(connection, snapshot, "asked", now, some)
        for name in some:
            connection.execute(f"delete from kept_{name} where tag in (from lost)")
            connection.execute(f"insert into kept_{name} from asked_{name}")
    return True


def _has_other_series(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, before: list[str]
) -> bool:
    now = snapshot.parts["instances"]
    for name, parts in (("came", _without(now, before)), ("gone", _without(before, now))):
        paths = _paths(snapshot, "instances", parts)
        connection.execute(f"set variable {name}_instances = $1", [paths])
    return connection.execute(statement("other_series", "summaries")).fetchall() != [(0,)]


def _summarize(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, which: str, parts: Sequence[str],
    names: tuple[str, ...] = SUMMARIES,
) -> None:  # fmt: skip
    """Make the tables ``WHICH_NAME``: the summaries of some parts of ``elements``."""
    for name in names:
        connection.execute(f"create temp table {which}_{name} as from {name} limit 0")
    for number, paths in enumerate(_groups(snapshot, parts)):
        _read(connection, snapshot, paths)
        # All of the summaries read them.
        connection.execute(
            f"create or replace table runs as from ({by_name('element_runs').query})"
        )
        _narrow_instances(connection)
        for name in names:
            if number:
                _add(connection, name, which, {f"{which}_{name}": 1, name: 1})
            else:
                connection.execute(f"create or replace temp table {which}_{name} as from {name}")


def _read(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, elements: list[str]) -> None:
    """Let the views read these parts of ``elements``, and the instances of the version."""
    paths = [*elements, snapshot.empty("elements")]
    set_stored(connection, {"elements": paths, "instances": snapshot.paths("instances")})


def _groups(snapshot: Snapshot, parts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the paths of some parts at a time, without the one that has no rows."""
    group: list[str] = []
    rows = 0
    for path in _paths(snapshot, "elements", parts)[:-1]:
        more = pq.read_metadata(path).num_rows
        if group and rows + more > ROWS_AT_ONCE:
            yield group
            group, rows = [], 0
        group.append(path)
        rows += more
    if group:
        yield group


def _narrow_instances(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave out instances whose elements are not asked: their row groups are not read."""
    ((first, last),) = connection.execute(
        "select coalesce(min(instance_id), 0), coalesce(max(instance_id), 0) "
        "from (select unnest([min(first_id), max(first_id + run_length)]) as instance_id from runs)"
    ).fetchall()
    connection.execute(
        f"create or replace view instances as from ({by_name('instances').query}) "
        f"where instance_id between {first} and {last}"
    )


def _add(
    connection: duckdb.DuckDBPyConnection, name: str, which: str, signs: Mapping[str, int]
) -> None:
    """Replace the table ``WHICH_NAME`` by the sum of tables; the sign -1 takes one away."""
    pieces = " union all ".join(f"select {sign} as sign, * from {of}" for of, sign in signs.items())
    connection.execute(f"create or replace temp view pieces as {pieces}")
    connection.execute(f"create or replace temp table summed as {added(name)}")
    connection.execute(f"create or replace temp table {which}_{name} as from summed")


def added(name: str) -> str:
    """Return the SELECT that adds up ``pieces`` of the answers of a view."""
    return statement(f"added_{name}", "summaries")


def _without(parts: Sequence[str], others: Iterable[str]) -> list[str]:
    known = set(others)
    return [part for part in parts if part not in known]


def _paths(snapshot: Snapshot, table: str, parts: Iterable[str]) -> list[str]:
    folder = layout.table_folder(snapshot.root, table)
    return [*(str(folder / part) for part in parts), snapshot.empty(table)]
