"""Open a version of the store as a DuckDB database with every table and view of ``sql/``.

In: the root of a warehouse. Out: ``Catalog``. The views are defined in ``sql/``; this module only
creates them, in the order of their dependencies.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import duckdb

from warehouse.catalog.databases import from_pool, return_to_pool
from warehouse.catalog.dictionaries import private_dictionary, sequence_rules
from warehouse.catalog.frames import relation
from warehouse.catalog.materialized import materialized_files
from warehouse.catalog.statements import require_one
from warehouse.catalog.template import attach_views, id_variables, see_views, views_file
from warehouse.errors import QueryFailed, UnknownTable, UsageError
from warehouse.given import plain
from warehouse.sqlfiles import Model, read_models, statement
from warehouse.store import delta
from warehouse.store.dictionary import read_dictionary
from warehouse.store.duck import Variable, connect, literal, set_variables
from warehouse.store.rules import read_rules
from warehouse.store.schema import STORED_AS
from warehouse.store.tables import named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from warehouse.dicom.private_names import Dictionary
    from warehouse.store.delta import Snapshot


class Sessions:
    """Connections to one database with the same variables and search path, one per thread.

    In DuckDB both belong to a connection; ``connection`` already has them.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection,
        variables: Mapping[str, Variable] | None = None,
    ) -> None:  # fmt: skip
        path = connection.execute("select current_setting('search_path')").fetchall()[0][0]
        self._search_path = path
        self._variables = dict(variables or {})
        # No query runs on it, so it is never busy.
        self._database = connection.cursor()
        self._process = os.getpid()
        self._of_thread = threading.local()
        self._of_thread.connection = connection

    def begin(self, stored: Mapping[str, Sequence[str]] | None = None) -> duckdb.DuckDBPyConnection:
        """Return a new connection; with ``stored``, its views read only these files."""
        self._require_own_process()
        connection = self._database.cursor()
        other: dict[str, Variable] = {} if stored is None else {"stored": stored}
        set_variables(connection, self._variables | other)
        if self._search_path:
            connection.execute(f"set search_path = {literal(self._search_path)}")
        return connection

    def of_thread(self) -> duckdb.DuckDBPyConnection:
        """Return the connection of this thread."""
        self._require_own_process()
        found: duckdb.DuckDBPyConnection | None = getattr(self._of_thread, "connection", None)
        if found is None:
            found = self._of_thread.connection = self.begin()
        return found

    def _require_own_process(self) -> None:
        """Raise in a forked process, in which the threads of DuckDB do not exist."""
        if self._process != os.getpid():
            raise UsageError(
                "this process was forked from one with an open warehouse, and cannot use it; start "
                "it by spawn or forkserver, and open the warehouse there, or pass it to it"
            )


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Catalog:
    """One version of a warehouse, open for queries by any number of threads."""

    snapshot: Snapshot
    sessions: Sessions
    models: dict[str, Model]
    """Views by name, each after the views it reads."""
    names: Dictionary = field(default_factory=dict)
    """Names of private elements that users added."""
    is_kept: bool = False
    """Whether its views read materialized rows."""

    def session(self) -> duckdb.DuckDBPyConnection:
        """Return a new connection to this version, which takes one or two milliseconds.

        A connection runs one query at a time, and rejects a second one while a result is being
        read. Therefore each relation that is returned to a caller has its own session, which ends
        when its last result is garbage-collected.
        """
        return self.sessions.begin()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The session of this thread, for queries whose rows are fetched immediately."""
        return self.sessions.of_thread()

    def model(self, name: str) -> Model:
        """Return a table or view by its name, ignoring case as in SQL.

        Raises
        ------
        UnknownTable
        """
        for known, model in self.models.items():
            if known.lower() == name.lower():
                return model
        raise UnknownTable(name, self.models)


def open_catalog(
    root: Path, version: int | None = None, *, order: int = 0, threads: int | None = None
) -> Catalog:
    """Open a version of a warehouse; later commits are not visible in it.

    Parameters
    ----------
    root
        Folder of the warehouse.
    version
        An older version; the newest by default.
    order
        Return the same rows in another order, with other ids of instances and batches. A result
        that then differs depends on how the warehouse was filled. 0 is the stored order, 1 the
        reverse order, and each larger number a different scattered order.

    Raises
    ------
    NotAWarehouse, LayoutMismatch, UnknownVersion
    """
    snapshot = delta.snapshot(root, version)
    kept = None if order else materialized_files(snapshot)
    # A database with special settings cannot be shared.
    is_plain = threads is None and not order
    file = views_file(kept=kept is not None) if is_plain else None
    waited = from_pool(file) if file and file.exists() else None
    connection = waited or connect(threads=threads)
    if order:
        for name, number in id_variables(order).items():
            connection.execute(f"set variable {name} = $1", [number])
        connection.execute("set preserve_insertion_order = false")
    names = read_dictionary(root)
    stored = {table: snapshot.paths(table)[:: -1 if order else 1] for table in snapshot.parts}
    variables: dict[str, Variable] = {"private_dictionary": private_dictionary(names)}
    variables["sequence_rules"] = sequence_rules(read_rules(root))
    stored |= {f"{name}_kept": files for name, files in (kept or {}).items()}
    variables["stored"] = stored
    variables["output_columns"] = "{}"
    set_variables(connection, variables)
    if waited:
        see_views(connection)
    elif not attach_views(connection, kept=kept is not None, reordered=order > 0):
        file = None
    if snapshot.parts.get("algorithm_versions"):
        variables["output_columns"] = columns = _output_columns(connection, snapshot)
        connection.execute("set variable output_columns = $1", [columns])
    models = {model.name: model for model in read_models() if model.is_view}
    sessions = Sessions(connection, variables)
    if file:
        return_to_pool(sessions, connection, file)
    return Catalog(snapshot, sessions, models, names, kept is not None)


def _output_columns(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> str:
    """Return the output columns of each algorithm, for the macro `outputs`.

    The query takes as long as opening the database, so its result is cached. It changes only with
    the parts of the tables of algorithms, interfaces and sockets; parts are immutable and have
    unique names.
    """
    key = tuple(snapshot.parts.get(table, ()) for table in _OUTPUT_COLUMNS_OF)
    found = _OUTPUT_COLUMNS.get(key)
    if found is None:
        asked = connection.execute(statement("output_columns", "components")).fetchall()
        found = str(asked[0][0] or "{}")
        if len(_OUTPUT_COLUMNS) >= _OUTPUT_COLUMNS_KEPT:
            _OUTPUT_COLUMNS.clear()
        _OUTPUT_COLUMNS[key] = found
    return found


_OUTPUT_COLUMNS_OF = (
    "algorithm_versions", "algorithm_matching", "algorithm_interfaces", "socket_versions",
)  # fmt: skip
"""Stored tables that the statement reads, directly or through `algorithms` and `sockets`."""
_OUTPUT_COLUMNS: dict[tuple[tuple[str, ...], ...], str] = {}
_OUTPUT_COLUMNS_KEPT = 16


def reorder(catalog: Catalog, order: int, first: int | None = None) -> None:
    """Change the row order in this thread's session; the catalog was opened with an order above 0.

    With ``first``, use the stored order, starting with the instance of this id.
    """
    for name, number in id_variables(order, first).items():
        catalog.connection.execute(f"set variable {name} = $1", [number])


def ask(
    catalog: Catalog, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None,
    frames: Mapping[str, object] | None = None,
) -> duckdb.DuckDBPyRelation:  # fmt: skip
    """Return the relation of a query; it runs when its rows are fetched.

    Parameters
    ----------
    catalog
        Open catalog.
    query
        One statement that returns rows.
    params
        A sequence for ``?`` and ``$1``, or a mapping for ``$name``; with parameters the query runs
        immediately.
    frames
        Frames of the caller that the query may name; tables of the warehouse take precedence.

    Raises
    ------
    QueryFailed
        DuckDB rejects the statement, or it is of a kind that returns no rows.
    UsageError
        There is no statement, or more than one.
    """
    given: Any = None
    if isinstance(params, Mapping):
        given = {name: plain(value) for name, value in params.items()}
    elif isinstance(params, Iterable) and not isinstance(params, str | bytes):
        given = [plain(value) for value in params]
    elif params is not None:
        raise UsageError("params must be a list or a mapping of values; for one write [value]")
    try:
        require_one(query)
        found = relation(catalog.session(), query, given, frames or {})
    except UsageError:
        raise
    except (duckdb.Error, TypeError, ValueError) as error:
        # Show only DuckDB's message and hint; its traceback does not help.
        raise QueryFailed(str(error).strip()) from None
    if found is None:
        raise QueryFailed("the statement returns no rows; use SELECT, FROM, DESCRIBE or SHOW")
    answer: duckdb.DuckDBPyRelation = found
    return answer


def table(catalog: Catalog, name: str) -> pl.LazyFrame:
    """Return any table or view as a Polars LazyFrame with the rows that DuckDB returns.

    Polars scans the Parquet files of stored tables, with filters and columns pushed down. DuckDB
    computes views when the frame is collected.

    Raises
    ------
    UnknownTable
    """
    # Polars is imported only where needed: the import takes as long as many queries.
    import polars as pl  # noqa: PLC0415
    from duckdb.polars_io import duckdb_source  # noqa: PLC0415

    model = catalog.model(name)
    if model.table is None:
        # Columns are listed as in the header: planning a view takes as long as reading it.
        nulls = ", ".join(f'cast(null as {each.type}) as "{each.name}"' for each in model.columns)
        empty = catalog.connection.sql(f"select {nulls} limit 0")
        asked = _EachTime(catalog, f"from {model.name}", empty.columns, empty.types)
        return duckdb_source(cast("duckdb.DuckDBPyRelation", asked), empty.pl().schema)
    frame = pl.scan_parquet(
        catalog.snapshot.paths(model.table), hive_partitioning=True,
        hive_schema={"batch": pl.String}, missing_columns="raise",
    )  # fmt: skip
    stored = frame.collect_schema().names()
    columns = []
    for column in model.columns:
        if column.name == "batch" and (found := named(model.table).batch_in):
            # As in the SQL, derive the batch from the id: a folder names only a part's first batch.
            key, bits = found
            columns.append((pl.col(key) // (1 << bits)).cast(pl.String).str.zfill(6).alias("batch"))
            continue
        if column.type != "TIME":
            columns.append(pl.col(STORED_AS.get(column.name, column.name)).alias(column.name))
            continue
        # Times are stored in microseconds since midnight; Polars counts them in nanoseconds.
        source = column.name if column.name in stored else f"{column.name}_us"
        columns.append((pl.col(source) * 1000).cast(pl.Time).alias(column.name))
    return frame.select(columns)


@dataclass(frozen=True, slots=True)
class _EachTime:
    """Proxy of a relation: each access runs the query in a new session.

    A frame may be collected by several threads, or occur on both sides of a join.
    """

    catalog: Catalog
    query: str
    columns: list[str]
    types: list[Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.catalog.session().sql(self.query), name)
