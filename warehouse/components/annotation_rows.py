"""Convert the shapes of annotations to rows of `annotations`, with lengths, areas and angles.

In: validated annotations. Out: one Arrow table; for a large file, parts that no version references
yet.
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
"""Size of Arrow rows from which they are written as a part, in bytes."""


def stage(
    root: Path, value_id: str, kind: Kind, file: Path
) -> tuple[list[Part], dict[str, Any], int]:
    """Write the shapes of a large annotation as parts that no version references yet.

    Returns the parts, the head of the annotation, and the number of shapes.
    """
    staged: list[Part] = []
    head: dict[str, Any] = {}
    tables: list[pa.Table] = []
    count = size = 0
    try:
        # Other threads would each hold rows of their own.
        with closing(connect(threads=1)) as connection:
            connection.execute(by_name("shapes").sql)
            for block in streamed_shapes(file, kind, head):
                rows = shapes.rows_of(value_id, kind, block, count)
                tables.append(_measured(connection, rows))
                count += len(block)
                size += tables[-1].nbytes
                if size >= STAGED_BYTES:
                    staged.append(_write_part(root, tables))
                    tables, size = [], 0
        if tables:
            staged.append(_write_part(root, tables))
    except BaseException:
        ledger.drop_parts(root, [("annotations", part) for part in staged])
        raise
    return staged, head, count


def _write_part(root: Path, tables: list[pa.Table]) -> Part:
    return write_small(root, "annotations", layout.OF_NO_BATCH, 0, pa.concat_tables(tables))


def measured(annotations: Iterable[tuple[str, Kind, Any]]) -> pa.Table:
    """Return the rows of annotations, given the id, kind and shapes of each; ids count once."""
    rows_by_value: dict[str, pa.Table] = {}
    for value_id, kind, value_shapes in annotations:
        if value_shapes and value_id not in rows_by_value:
            rows_by_value[value_id] = shapes.rows_of(value_id, kind, value_shapes)
    if not rows_by_value:
        return named("annotations").schema.empty_table()
    with lent() as connection:
        connection.execute(by_name("shapes").sql)
        return pa.concat_tables(
            [_measured(connection, rows) for rows in _by_kind(rows_by_value.values())]
        )


def _by_kind(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Concatenate the tables of each kind of shape."""
    tables_by_kind: dict[str, list[pa.Table]] = defaultdict(list)
    for table in tables:
        tables_by_kind[table["kind"][0].as_py()].append(table)
    return [pa.concat_tables(same_kind) for same_kind in tables_by_kind.values()]


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
