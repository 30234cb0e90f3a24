"""A version of the store → a DuckDB connection with every table and view of ``sql/``.

In: the root of a warehouse. Out: ``Catalog``. What the views mean stands in ``sql/``; here they
are only created, in the order of their dependencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from warehouse.catalog.dictionaries import set_dictionaries, set_rules
from warehouse.catalog.kept import kept_files
from warehouse.catalog.statements import require_one
from warehouse.catalog.template import attach_views
from warehouse.errors import QueryFailed, UnknownTable
from warehouse.sqlfiles import Model, read_models
from warehouse.store import delta, layout
from warehouse.store.dictionary import read_dictionary
from warehouse.store.duck import connect
from warehouse.store.rules import read_rules

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.dicom.private_names import Dictionary
    from warehouse.store.delta import Snapshot


Scans = dict[str, tuple[pl.LazyFrame, pl.LazyFrame, int, int]]
"""By series: the parts of `instances` and of `files` that hold it, first and last instance_id."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """One version of a warehouse, open for questions."""

    snapshot: Snapshot
    connection: duckdb.DuckDBPyConnection
    models: dict[str, Model]
    """Views by name, each after those it reads."""
    names: Dictionary = field(default_factory=dict)
    """Names of private elements that users added."""
    pixel_scans: Scans = field(default_factory=dict)
    """How each series is read; filled by ``pixels/lookup`` when pixels are first asked for."""

    def model(self, name: str) -> Model:
        """Return a table or view; names ignore case as in SQL.

        Raises
        ------
        UnknownTable
        """
        for known, model in self.models.items():
            if known.lower() == name.lower():
                return model
        raise UnknownTable(name, self.models)


def open_catalog(root: Path) -> Catalog:
    """Open the newest version of a warehouse. Later commits are not seen until it is opened again.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    """
    snapshot = delta.snapshot(root)
    connection = connect()
    for table in snapshot.parts:
        connection.execute(f"set variable {table}_files = $1", [snapshot.paths(table)])
    names = read_dictionary(root)
    set_dictionaries(connection, names)
    set_rules(connection, read_rules(root))
    kept = kept_files(snapshot)
    for name, path in (kept or {}).items():
        connection.execute(f"set variable {name}_kept = $1", [[path]])
    attach_views(connection, kept=kept is not None)
    return Catalog(snapshot, connection, {m.name: m for m in read_models() if m.is_view}, names)


def ask(catalog: Catalog, query: str) -> duckdb.DuckDBPyRelation:
    """Return the relation of a query; it runs when its rows are fetched.

    Raises
    ------
    QueryFailed
        DuckDB refuses the statement, or it returns no rows by its nature.
    UsageError
        There is no statement, or more than one.
    """
    try:
        require_one(query)
        relation = catalog.connection.sql(query)
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    if relation is None:
        raise QueryFailed("the statement returns no rows; ask with SELECT, FROM, DESCRIBE or SHOW")
    return relation


def table(catalog: Catalog, name: str) -> pl.LazyFrame:
    """Return any table or view as a Polars LazyFrame, equal to DuckDB's answer.

    Stored tables are scanned in their Parquet files, filters and columns pushed down; views are
    computed by DuckDB when the frame is collected.

    Raises
    ------
    UnknownTable
    """
    model = catalog.model(name)
    if model.table is None:
        lazy: pl.LazyFrame = catalog.connection.sql(f"from {model.name}").pl(lazy=True)
        return lazy
    frame = pl.scan_parquet(
        catalog.snapshot.paths(model.table), hive_partitioning=True,
        hive_schema={"batch": pl.String}, missing_columns="raise",
    )  # fmt: skip
    stored = frame.collect_schema().names()
    columns = []
    for column in model.columns:
        if column.name == "batch" and model.table in layout.BATCH_IN:
            # As in the SQL: the folder of a part is that of its first batch only.
            key, bits = layout.BATCH_IN[model.table]
            columns.append((pl.col(key) // (1 << bits)).cast(pl.String).str.zfill(6).alias("batch"))
            continue
        if column.type != "TIME":
            columns.append(pl.col(column.name))
            continue
        # Stored in microseconds since midnight; Polars counts times in nanoseconds.
        source = column.name if column.name in stored else f"{column.name}_us"
        columns.append((pl.col(source) * 1000).cast(pl.Time).alias(column.name))
    return frame.select(columns)
