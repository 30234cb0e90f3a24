"""Materialize the summaries of elements, incrementally from version to version.

In: a version, and the summaries of an older one. Out: Parquet, beside the other materialized views.
The views remain the definition (sql/2_entities/element_summaries.sql and others): this module runs
them on some parts and adds up the results (sql/summaries/). It reads only parts that were added or
removed since. If a value that a summary quotes was removed, it also reads the rows of that tag in
other parts, because the value may occur there as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.catalog.dictionaries import make_confidential
from warehouse.catalog.pieces import find_known, paths, reuse_pieces, write_piece
from warehouse.catalog.spans import parts_within
from warehouse.sqlfiles import by_name, statement
from warehouse.store import layout
from warehouse.store.duck import bound, connect, set_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import duckdb

    from warehouse.catalog.pieces import Answers, Pieces
    from warehouse.catalog.spans import Spans
    from warehouse.store.delta import Snapshot

SUMMARIES = ("element_summaries", "element_sketches", "element_sets", "element_set_kinds")
"""Views whose results for different parts of ``elements`` can be added up."""

_OF_SERIES = "element_sets"
"""The summary with rows per series, which grows with the archive; the others do not."""

_MACROS = ("normal_text", "equal_number", "is_identifying")

READ = ("elements", "element_runs", "element_segments")
"""Views that the summaries read besides ``instances``."""

ROWS_AT_ONCE = 8_000_000
"""Rows of ``elements`` that are summarized together, which determines the memory needed."""


def make_summaries(
    snapshot: Snapshot, before: Answers | None, spans: Mapping[str, Spans], draft: Path
) -> Pieces:
    """Write the summaries of a version to a folder.

    Parameters
    ----------
    snapshot
        The version.
    before
        Summaries of an older version; parts removed since must still exist.
    spans
        Table → parts of the version, with the range of instance ids of each.
    draft
        Folder to write to.
    """
    # Most time is spent in one ordered pass over the rows, for which other threads would wait.
    with connect(threads=1) as connection:
        bound(connection)
        make_confidential(connection)
        _read(connection, snapshot, [], [])
        for name in (*_MACROS, "elements"):
            connection.execute(by_name(name).sql)
        # Prefer tables and queries to views: creating a view takes as long as querying one.
        _make_runs(connection)
        connection.execute("create view element_runs as from runs")
        for name in ("element_segments", "instances"):
            connection.execute(by_name(name).sql)
        pieces: Pieces = {}
        if before is not None and not _has_other_series(connection, snapshot, before.spans):
            pieces = _update_from(connection, snapshot, before, spans, draft)
        else:
            _summarize(connection, snapshot, "kept", snapshot.parts["elements"], spans)
        for name in SUMMARIES:
            if name not in pieces:
                ordered = f"from kept_{name} order by {', '.join(by_name(name).grain)}"
                pieces[name] = [write_piece(connection, name, ordered, draft)]
    return pieces


def _update_from(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, before: Answers,
    spans: Mapping[str, Spans], draft: Path,
) -> Pieces:  # fmt: skip
    """Create the tables ``kept_…`` from older ones; write the one with a row per series."""
    now, then = snapshot.parts["elements"], before.spans["elements"]
    _summarize(connection, snapshot, "came", _without(now, then), spans)
    _summarize(connection, snapshot, "gone", _without(then, now), before.spans)
    _read_series(connection, before)
    for name in SUMMARIES:
        if name != _OF_SERIES:
            connection.execute(
                "set variable kept = $1", [paths(before.folder, before.pieces[name])]
            )
            connection.execute(
                f"create temp table kept_{name} as from read_parquet(getvariable('kept'))"
            )
    lost = connection.execute(statement("lost", "summaries")).fetchall()
    for name in SUMMARIES:
        _add(connection, name, "kept", {f"kept_{name}": 1, f"came_{name}": 1, f"gone_{name}": -1})
    connection.execute(f"create temp table asked as from kept_{_OF_SERIES}")
    written = reuse_pieces(connection, by_name(_OF_SERIES), before, draft)
    _forget_sets(connection, paths(draft, written))
    if lost:
        # Element sets are exact sums; only the first two summaries must be computed again.
        some = SUMMARIES[:2]
        connection.execute("create temp table lost as select unnest($1) as tag", [[*sum(lost, ())]])
        elements_of_tags = f"from ({by_name('elements').query}) where tag in (from lost)"
        connection.execute(f"create or replace view elements as {elements_of_tags}")
        _summarize(connection, snapshot, "asked", now, spans, some)
        for name in some:
            connection.execute(f"delete from kept_{name} where tag in (from lost)")
            connection.execute(f"insert into kept_{name} from asked_{name}")
    return {_OF_SERIES: written}


def _read_series(connection: duckdb.DuckDBPyConnection, before: Answers) -> None:
    """Create the table of sets from the older rows of only the added or removed series."""
    connection.execute(
        f"create temp table touched as "
        f"select series_key from came_{_OF_SERIES} union select series_key from gone_{_OF_SERIES}"
    )
    model = by_name(_OF_SERIES)
    columns = [column.name for column in model.columns]
    old = paths(before.folder, before.pieces[_OF_SERIES])
    find_known(connection, "series_key", old, columns)
    connection.execute(
        f"create temp table kept_{_OF_SERIES} as select {', '.join(columns)} from known"
    )


def _forget_sets(connection: duckdb.DuckDBPyConnection, sets: list[str]) -> None:
    """Remove kinds of sets that no series has any more."""
    fewer = connection.execute(
        f"select distinct kind_set from gone_{_OF_SERIES} "
        f"where kind_set not in (select kind_set from kept_{_OF_SERIES})"
    ).fetchall()
    if fewer:
        connection.execute("set variable sets = $1", [sets])
        connection.execute(
            "delete from kept_element_set_kinds where list_contains($1, kind_set) and kind_set "
            "not in (select kind_set from read_parquet(getvariable('sets')))",
            [[kind_set for (kind_set,) in fewer]],
        )


def _has_other_series(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, then: Mapping[str, Spans]
) -> bool:
    now, before = snapshot.parts["instances"], then["instances"]
    for name, parts in (("came", _without(now, before)), ("gone", _without(before, now))):
        files = _paths(snapshot, "instances", parts)
        connection.execute(f"set variable {name}_instances = $1", [files])
    return connection.execute(statement("other_series", "summaries")).fetchall() != [(0,)]


def _summarize(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, which: str, parts: Iterable[str],
    spans: Mapping[str, Spans], names: tuple[str, ...] = SUMMARIES,
) -> None:  # fmt: skip
    """Create the tables ``WHICH_NAME``: the summaries of some parts of ``elements``.

    The series of their instances are read from the parts of ``instances`` in ``spans``.
    """
    for name in names:
        # Take the columns from the header: planning the view takes longer than most queries.
        columns = ", ".join(f'"{column.name}" {column.type}' for column in by_name(name).columns)
        connection.execute(f"create temp table {which}_{name} ({columns})")
    for number, group in enumerate(_groups(snapshot, parts)):
        wanted = (spans["elements"][part] for part in group)
        _read(connection, snapshot, group, parts_within(spans["instances"], wanted))
        # All summaries read these.
        _make_runs(connection)
        _narrow_instances(connection)
        for name in names:
            asked = f"({by_name(name).query})"
            if number:
                _add(connection, name, which, {f"{which}_{name}": 1, asked: 1})
            else:
                connection.execute(f"create or replace temp table {which}_{name} as from {asked}")


def _make_runs(connection: duckdb.DuckDBPyConnection) -> None:
    query = by_name("element_runs").query
    connection.execute(f"create or replace table runs as from ({query})")


def _read(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, elements: list[str],
    instances: list[str],
) -> None:  # fmt: skip
    """Make the views read these parts."""
    parts = {"elements": elements, "instances": instances}
    set_stored(connection, {table: _paths(snapshot, table, parts[table]) for table in parts})


def _groups(snapshot: Snapshot, parts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the parts in groups of limited size."""
    folder = layout.table_folder(snapshot.root, "elements")
    group: list[str] = []
    rows = 0
    for part in parts:
        more = pq.read_metadata(folder / part).num_rows
        if group and rows + more > ROWS_AT_ONCE:
            yield group
            group, rows = [], 0
        group.append(part)
        rows += more
    if group:
        yield group


def _narrow_instances(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave out instances whose elements are not needed, so their row groups are not read."""
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
    """Replace the table ``WHICH_NAME`` by a sum of tables; a table with sign -1 is subtracted."""
    pieces = " union all ".join(f"select {sign} as sign, * from {of}" for of, sign in signs.items())
    connection.execute(f"create or replace temp view pieces as {pieces}")
    # The old rows are read before the table is replaced.
    connection.execute(f"create or replace temp table {which}_{name} as {added(name)}")


def added(name: str) -> str:
    """Return the SELECT that adds up the ``pieces`` of a view's results."""
    return statement(f"added_{name}", "summaries")


def _without(parts: Iterable[str], others: Iterable[str]) -> list[str]:
    known = set(others)
    return [part for part in parts if part not in known]


def _paths(snapshot: Snapshot, table: str, parts: Iterable[str]) -> list[str]:
    folder = layout.table_folder(snapshot.root, table)
    return [*(str(folder / part) for part in parts), snapshot.empty(table)]
