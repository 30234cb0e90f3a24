"""Derive rows of `annotations` from the shapes of annotations, with lengths and areas.

In: what was checked. Out: one Arrow table; of a file of very many shapes, parts that no version
names yet.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.components import ledger, shapes
from warehouse.components.checking import streamed_shapes
from warehouse.sqlfiles import by_name, statement
from warehouse.store import layout
from warehouse.store.duck import connect, lent
from warehouse.store.stage import write_small
from warehouse.store.tables import named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import duckdb

    from warehouse.components.kinds import Kind
    from warehouse.store.layout import Part

STAGED_BYTES = 4 << 20
"""Arrow rows of annotations that are written as one part."""


def stage(
    root: Path, value_id: str, kind: Kind, file: Path
) -> tuple[list[Part], dict[str, Any], int]:
    """Write the shapes of a large annotation as parts that no version names yet.

    Returns them, what the file says beside its shapes, and the number of shapes.
    """
    staged: list[Part] = []
    head: dict[str, Any] = {}
    waiting: list[pa.Table] = []
    count = size = 0
    try:
        # Other threads would each hold rows of their own.
        with closing(connect(threads=1)) as connection:
            connection.execute(by_name("shapes").sql)
            for block in streamed_shapes(file, kind, head):
                rows = shapes.rows_of(value_id, kind, block, count)
                waiting.append(_measured(connection, rows))
                count += len(block)
                size += waiting[-1].nbytes
                if size >= STAGED_BYTES:
                    staged.append(_part(root, waiting))
                    waiting, size = [], 0
        if waiting:
            staged.append(_part(root, waiting))
    except BaseException:
        ledger.drop_parts(root, [("annotations", part) for part in staged])
        raise
    return staged, head, count


def _part(root: Path, tables: list[pa.Table]) -> Part:
    return write_small(root, "annotations", layout.OF_NO_BATCH, 0, pa.concat_tables(tables))


def measured(annotations: Iterable[tuple[str, Kind, Any]]) -> pa.Table:
    """Return the rows of annotations: the id of each value, its kind and its shapes, if any."""
    made: dict[str, pa.Table] = {}
    for value_id, kind, found in annotations:
        if found and value_id not in made:
            made[value_id] = shapes.rows_of(value_id, kind, found)
    if not made:
        return named("annotations").schema.empty_table()
    with lent() as connection:
        connection.execute(by_name("shapes").sql)
        return pa.concat_tables([_measured(connection, rows) for rows in _by_kind(made.values())])


def _by_kind(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Return the rows of each kind of shape together."""
    kinds: dict[str, list[pa.Table]] = defaultdict(list)
    for table in tables:
        kinds[table["kind"][0].as_py()].append(table)
    return [pa.concat_tables(some) for some in kinds.values()]


def _measured(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
    """Return rows of one kind of shape with their sizes.

    The connection has the macros of ``sql/0_macros/shapes.sql``.
    """
    schema = named("annotations").schema
    if not rows.num_rows:
        return schema.empty_table()
    kind = rows["kind"][0].as_py()
    if kind == "POIN":  # points have no size
        nulls = [pa.nulls(rows.num_rows, pa.float64())] * 3
        return pa.Table.from_arrays([*rows.columns, *nulls], schema=schema)
    # One statement per kind: binding the macros of every kind takes longer than most annotations.
    connection.register("shapes", rows)
    answer = connection.sql(statement(f"measures_{kind.lower()}", "components")).to_arrow_table()
    connection.unregister("shapes")
    return answer.cast(schema)
