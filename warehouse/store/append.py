"""Append rows that are not derived from files (annotations, values, jobs) in one commit.

In: rows by table, for stored tables that are appended to. Out: ``Appended``. These rows cannot be
derived again, so they are committed like a batch: parts first, then one atomic commit under the
lock. Rows that are already stored are not appended again, so a call whose outcome is unknown can be
repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import KeyTaken, UsageError
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, locks, tables
from warehouse.store.delta import Change
from warehouse.store.duck import lent
from warehouse.store.rows import write_rows
from warehouse.store.stage import write_part, write_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import duckdb

    from warehouse.store.delta import Snapshot
    from warehouse.store.layout import Part
    from warehouse.store.tables import StoredTable


@dataclass(frozen=True, slots=True)
class Appended:
    """Result of an append."""

    rows: dict[str, int] = field(default_factory=dict)
    """Table → number of new rows."""
    version: int = 0
    """Version of the warehouse afterwards; unchanged if no row was new."""


def append_rows(root: Path, rows: Mapping[str, pa.Table]) -> Appended:
    """Append rows to one or more stored tables, in one version.

    For a warehouse in a bucket, ``Mirror.work`` calls this on the local folder, publishes the
    result, and repeats the call if another writer published first.

    Parameters
    ----------
    root
        Folder of the warehouse.
    rows
        Table → rows with the columns of that table, in any order. Rows that are already stored, or
        repeated here, are added only once.

    Raises
    ------
    UsageError
        A table is derived from files, its columns or types differ, or a value of its key or sort
        columns is missing.
    KeyTaken
        There is a row with the same key and other values, stored or among these rows.
    NotAWarehouse, LayoutMismatch
    WriteFailed
        Nothing was changed.
    """
    asked = {name: _fitting(name, some) for name, some in rows.items()}
    written: list[tuple[str, Part]] = []
    committing = False
    with locks.writing(root), locks.locked(root):
        base = delta.snapshot(root)
        try:
            with lent() as connection:
                new = {name: _new(connection, base, name, some) for name, some in asked.items()}
            for name, some in new.items():
                if some.num_rows:
                    written.append((name, _write(root, tables.named(name), some)))
            # From here on the parts may belong to a version, so they are never deleted.
            committing = bool(written)
            if written:
                changes = {name: Change(add=[part]) for name, part in written}
                delta.commit(root, changes, base, f"append {' '.join(sorted(changes))}")
        except BaseException:
            if not committing:
                for name, part in written:
                    (layout.table_folder(root, name) / part.path).unlink(missing_ok=True)
            raise
        version = delta.newest_files(root)[0]
    return Appended({name: some.num_rows for name, some in new.items()}, version)


def _fitting(name: str, rows: pa.Table) -> pa.Table:
    """Return rows cast to the schema of an appended table."""
    appended = [table.name for table in tables.REGISTRY if table.is_appended]
    if name not in appended:
        raise UsageError(
            f"rows cannot be appended to {name}; tables for them: {', '.join(appended) or 'none'}"
        )
    table = tables.named(name)
    schema = table.stored_schema
    if sorted(rows.column_names) != sorted(schema.names):
        raise UsageError(f"the columns of {name} are {', '.join(schema.names)}")
    try:
        rows = rows.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        # Do not quote Arrow's error message: it contains values.
        kinds = ", ".join(f"{column.name} {column.type}" for column in schema)
        raise UsageError(f"values do not fit the types of {name}: {kinds}") from None
    for column in dict.fromkeys((*table.key, *table.order)):
        if rows[column].null_count:
            raise UsageError(f"a value of {name}.{column} is missing")
    return rows


def _new(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, name: str, rows: pa.Table
) -> pa.Table:
    """Return the distinct rows that are not stored yet, in the order of the table."""
    table = tables.named(name)
    key, every = _listed(table.key), _listed(rows.column_names)
    places = pa.array(range(rows.num_rows), pa.int64())
    connection.register("given", rows.append_column("place of row", places))
    # Usually no key exists yet, so read only the key column of the stored rows.
    connection.execute("set variable parts = $1", [base.paths(name)])
    found = connection.execute(
        "select distinct filename from read_parquet(getvariable('parts'), filename = true) "
        f"semi join given using ({key})"
    ).fetchall()
    connection.execute(
        "set variable parts = $1", [[*(path for (path,) in found), base.empty(name)]]
    )
    as_structs = f"row({key}) as key, row({every}) as value"
    connection.execute(
        f"create or replace temp view stored as select {as_structs} "
        "from read_parquet(getvariable('parts'), hive_partitioning = false)"
    )
    connection.execute(
        "create or replace temp view appended as "
        f'select "place of row" as place, {as_structs} from given'
    )
    answer = connection.sql(statement("new_rows")).to_arrow_table()
    connection.unregister("given")
    if taken := pc.sum(answer["is_taken"]).as_py():
        raise KeyTaken(name, table.key, taken)
    new = rows.take(answer["place"])
    return new.sort_by([(column, "ascending") for column in table.order]) if table.order else new


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _write(root: Path, table: StoredTable, rows: pa.Table) -> Part:
    batch = layout.OF_NO_BATCH
    if not table.is_long:
        return write_small(root, table.name, batch, 0, rows)
    return write_part(root, table.name, batch, 0, partial(write_rows, rows), rows.num_rows)
