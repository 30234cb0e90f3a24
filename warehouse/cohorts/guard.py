"""Check that the SQL of a cohort is one repeatable SELECT on the warehouse alone.

In: text from a user. Out: the statement, generated again from DuckDB's parse tree, so without
comments and semicolons. There are three layers, each sufficient against mistakes of users:

1. two parsers, sqlglot and DuckDB, must see exactly one query;
2. every table must be in the catalog or a CTE, every table function must be one of this package,
   the result of every function must depend only on its arguments, and rows must be selected in a
   defined order, so that the cohort is repeatable;
3. it runs on a connection that can open only the Parquet files of the warehouse, and whose settings
   are locked.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.cohorts.ids import IDS, nodes, used_ids
from warehouse.errors import UnknownParameter, UnknownTable, UnsafeCohort
from warehouse.sqlfiles import read_models
from warehouse.store.duck import bound, literal
from warehouse.store.layout import cache_folder, table_folder

if TYPE_CHECKING:
    import duckdb

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_HARMLESS_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
_SURROUNDINGS = frozenset({
    "current_catalog", "current_database", "current_query", "current_role", "current_schema",
    "current_schemas", "current_setting", "current_user", "getenv", "getvariable", "query",
    "query_table", "session_user", "user", "version", "pg_postmaster_start_time", "pg_sleep",
})  # fmt: skip
"""Functions that return facts about the process, make it wait, or run text as SQL."""
_CLOCKS = frozenset({
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "now",
    "today", "get_current_time", "get_current_timestamp", "transaction_timestamp", "ago",
    "current_localtime", "current_localtimestamp", "pg_conf_load_time",
})  # fmt: skip
"""Functions that read the clock; some are written without parentheses, like a column."""
_SPECIAL_DATES = frozenset({"today", "now", "yesterday", "tomorrow"})
"""Text that other databases cast to the current date; DuckDB cannot cast it to a date."""
_ORDERED = frozenset({
    "any_value", "arbitrary", "first", "last", "row_number", "ntile", "lag", "lead", "first_value",
    "last_value", "nth_value",
})  # fmt: skip
"""Functions whose result depends on the row order, which without ORDER BY is that of the files."""
_IN_ORDER = frozenset({
    "mode", "list", "array_agg", "string_agg", "group_concat", "listagg", "arg_max", "arg_min",
    "max_by", "min_by", "argmax", "argmin", "sum", "avg", "fsum", "favg", "product", "histogram",
})  # fmt: skip
"""Aggregates that may depend on the row order: through ties, rounding, or collected values."""
_DRAWN = frozenset({"approx_quantile", "approx_top_k", "reservoir_quantile"})
"""Functions that return an approximation, which depends on the row order."""
_ZONED = re.compile(r"WITH TIME ZONE|TIMESTAMPTZ|TIMETZ")
_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""Statement types that only read; a CTE may also be an INSERT, UPDATE or DELETE."""


@dataclass(frozen=True, slots=True)
class Question:
    """SQL that has passed all checks."""

    sql: str
    parameters: frozenset[str]
    """Names of its parameters (``$name``)."""


def locked_catalog(
    root: Path, version: int | None = None, *, order: int = 0, threads: int | None = None
) -> Catalog:
    """Open a version on a connection that can read only the Parquet files of the warehouse."""
    catalog = open_catalog(root, version, order=order, threads=threads)
    snapshot = catalog.snapshot
    read = [table_folder(root, table) for table in snapshot.parts] + [cache_folder(root)]
    read += [Path(snapshot.empty(table)).parent for table in snapshot.parts]
    folders = [literal(f"{folder}/") for folder in read]
    connection = catalog.connection
    bound(connection)
    connection.execute(f"set allowed_directories = [{', '.join(folders)}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set python_enable_replacements = false")
    # Casts of timestamps to a time zone and back give the same result on every machine.
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set lock_configuration = true")
    return catalog


def check(catalog: Catalog, sql: str) -> Question:
    """Check the SQL of a user and return it as a ``Question``.

    Raises
    ------
    UnsafeCohort
        It is not one SELECT, reads something other than the warehouse, or is not repeatable.
    UnknownTable
    """
    try:
        return _checked(catalog, sql)
    except RecursionError:
        # Both parsers recurse as deep as the query is nested, and so does the walk over the tree.
        raise UnsafeCohort(
            "the query is nested too deeply: name its parts with WITH, or use fewer parentheses"
        ) from None


def _checked(catalog: Catalog, sql: str) -> Question:
    _one_query(sql)
    tree = _parsed(catalog.connection, sql)
    ctes = {name for node in nodes(tree) for name in _cte_names(node)}
    for name in ctes:
        if not _PLAIN.fullmatch(name):
            raise UnsafeCohort(f"the CTE {name!r} needs a name of letters, digits and _")
    rules = _Rules(
        tables={name.lower() for name in catalog.models},
        ctes={name.lower() for name in ctes},
        table_functions=_table_macros() | _HARMLESS_TABLE_FUNCTIONS,
        functions=_functions(catalog.connection),
    )
    names = set[str]()
    for node in nodes(tree):
        rules.check(node)
        if node.get("class") == "PARAMETER":
            names.add(str(node.get("identifier")))
    if used := used_ids(tree):
        raise UnsafeCohort(
            f"{' and '.join(used)} depends on the order in which files were ingested: put no "
            "condition on an id or a batch, only join by it or count it"
        )
    unnamed = [name for name in names if not _PLAIN.fullmatch(name)]
    if unnamed:
        raise UnknownParameter("name parameters, as in $max_mm, and declare them")
    again = catalog.connection.execute("select json_deserialize_sql($1)", [json.dumps(tree)])
    return Question(str(again.fetchall()[0][0]), frozenset(names))


def suspects(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """Return the parts of a query whose result may depend on the order or ids of rows."""
    found = set[str]()
    for node in nodes(_parsed(connection, sql)):
        name = str(node.get("function_name", "")).lower()
        if name in _ORDERED | _IN_ORDER:
            found.add(f"{name}()")
        if "LIMIT_MODIFIER" in {m["type"] for m in node.get("modifiers") or ()}:
            found.add("ORDER BY … LIMIT")
        if any((m.get("distinct_on_targets")) for m in node.get("modifiers") or ()):
            found.add("DISTINCT ON")
        if node.get("type") == "COLUMN_REF":
            column = str(node["column_names"][-1]).lower()
            found |= {column} & IDS
    return sorted(found)


def _one_query(sql: str) -> None:
    """Check with sqlglot, an independent parser, that the text is one query."""
    # Imported here because the import takes longer than most commands.
    import sqlglot  # noqa: PLC0415
    from sqlglot import exp  # noqa: PLC0415

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        parsed = sqlglot.parse(sql, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise UnsafeCohort(f"not SQL: {str(error).splitlines()[0]}") from None
    # sqlglot parses a comment after the last semicolon as a statement.
    statements = [s for s in parsed if s is not None and not isinstance(s, exp.Semicolon)]
    if len(statements) != 1:
        raise UnsafeCohort(f"a cohort is exactly one SELECT; this has {len(statements)} statements")
    if not isinstance(statements[0], exp.Query):
        raise UnsafeCohort(f"a cohort is one SELECT; this is {statements[0].key.upper()}")


def _parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(
        connection.execute("select json_serialize_sql($1)", [sql]).fetchall()[0][0]
    )
    if tree["error"]:
        raise UnsafeCohort(f"a cohort is one SELECT: {tree['error_message']}")
    if len(tree["statements"]) != 1:
        raise UnsafeCohort("a cohort is exactly one SELECT")
    return tree


def _cte_names(node: dict[str, Any]) -> list[str]:
    return [entry["key"] for entry in (node.get("cte_map") or {}).get("map", [])]


def _table_macros() -> frozenset[str]:
    return frozenset(m.name for m in read_models() if not m.is_view and " as table" in m.sql)


def _functions(connection: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """Return the functions of DuckDB and ``sql/``: name → whether it is deterministic.

    A locked catalog has no other functions, so the result is the same for all catalogs of a process
    and is cached: listing the functions takes longer than checking most queries.
    """
    if not _KNOWN_FUNCTIONS:
        overloads = overloads_of(connection)
        _KNOWN_FUNCTIONS.append({name: any(each) for name, each in overloads.items()})
    return _KNOWN_FUNCTIONS[0]


_KNOWN_FUNCTIONS: list[dict[str, bool]] = []
"""Cache of ``_functions``, with at most one item."""


def overloads_of(connection: duckdb.DuckDBPyConnection) -> dict[str, list[bool]]:
    """Return for each function whether its overloads are deterministic.

    DuckDB marks an overload for values with a time zone (``timestamptz - interval``) as consistent
    only within a query, because its result depends on the setting ``TimeZone``. Here that setting
    is locked (``locked_catalog``), so such an overload is as repeatable as the overloads without a
    time zone. A function that is still not deterministic has no deterministic overload for any
    types (a test checks this for the installed DuckDB), so its name is sufficient to reject it.
    """
    known: dict[str, list[bool]] = {}
    # Macros have no stability in DuckDB's catalog; some wrap a function of the same name.
    rows = connection.execute(
        "select function_name, stability, parameter_types, return_type from duckdb_functions() "
        "order by stability is null"
    ).fetchall()
    for name, stability, parameters, returned in rows:
        zoned = any(_ZONED.search(str(kind)) for kind in (*parameters, returned))
        locked = stability == "CONSISTENT_WITHIN_QUERY" and bool(parameters) and zoned
        steady = stability in {None, "CONSISTENT"} or locked or name == "error"
        overloads = known.setdefault(name.lower(), [])
        if stability is not None or not overloads:
            overloads.append(steady)
    return known


@dataclass(frozen=True, slots=True)
class _Rules:
    tables: set[str]
    ctes: set[str]
    table_functions: frozenset[str]
    functions: dict[str, bool]

    def check(self, node: dict[str, Any]) -> None:
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in _QUERIES:
            raise UnsafeCohort(f"a cohort is one SELECT; this has {kind.split('_', maxsplit=1)[0]}")
        self._order(node)
        if kind == "BASE_TABLE":
            self._table(node)
        elif kind == "SHOW_REF":
            raise UnsafeCohort("a cohort is one SELECT; DESCRIBE, SHOW and SUMMARIZE are not")
        elif kind == "TABLE_FUNCTION":
            self._function(node["function"], self.table_functions)
        elif node.get("class") == "CAST":
            self._cast(node)
        elif node.get("class") in {"COMPARISON", "BETWEEN"}:
            self._compared(node)
        elif "function_name" in node:
            self._function(node, None)
        elif kind == "COLUMN_REF":
            names = [str(name).lower() for name in node.get("column_names", [])]
            if len(names) == 1 and names[0] in _CLOCKS | _SURROUNDINGS:
                self._refuse(names[0])
        if node.get("sample"):
            raise UnsafeCohort(
                "TABLESAMPLE returns other rows each time; use dicom-warehouse cohort sample"
            )

    def _cast(self, node: dict[str, Any]) -> None:
        kind = str((node.get("type_expr") or {}).get("type_name", "")).lower()
        if kind.startswith(("date", "time")):
            self._no_special_date(node["child"])

    def _compared(self, node: dict[str, Any]) -> None:
        """Cast texts that are compared with dates to dates."""
        sides = [side for side in node.values() if isinstance(side, dict)]
        names = [str(side["column_names"][-1]) for side in sides if side.get("column_names")]
        if any(name.lower().endswith(("date", "time", "timestamp")) for name in names):
            for side in sides:
                self._no_special_date(side)

    def _no_special_date(self, node: dict[str, Any]) -> None:
        text = str((node.get("literal") or {}).get("text", "")).strip().lower()
        if text in _SPECIAL_DATES:
            self._refuse(f"'{text}'")

    @staticmethod
    def _order(node: dict[str, Any]) -> None:
        """Raise for clauses that select arbitrary rows, which may change with compaction."""
        modifiers = {m["type"]: m for m in node.get("modifiers") or ()}
        taken = "LIMIT_MODIFIER" in modifiers or "LIMIT_PERCENT_MODIFIER" in modifiers
        distinct = modifiers.get("DISTINCT_MODIFIER", {}).get("distinct_on_targets")
        name = str(node.get("function_name", "")).lower()
        ordered = node.get("orders") or (node.get("order_bys") or {}).get("orders")
        unordered = name if name in _ORDERED and not (ordered or node.get("arg_orders")) else ""
        if (taken or distinct) and "ORDER_MODIFIER" not in modifiers:
            unordered = "DISTINCT ON" if distinct else "LIMIT or OFFSET"
        if node.get("ref_type") == "POSITIONAL":
            raise UnsafeCohort("POSITIONAL JOIN depends on the order of files; join on a key")
        if unordered:
            raise UnsafeCohort(
                f"{unordered} without ORDER BY returns the first rows, which are others after the "
                "warehouse is compacted; order by a key"
            )
        if name in _DRAWN:
            raise UnsafeCohort(f"{name} returns an estimate; use the exact function")

    def _table(self, node: dict[str, Any]) -> None:
        name = str(node["table_name"])
        path = [p for p in (node.get("qualified_name") or {}).get("path", [name]) if p]
        if len(path) > 1 or node.get("schema_name") or node.get("catalog_name"):
            raise UnsafeCohort(f"name tables without catalog and schema: {name}")
        if name.lower() not in self.tables | self.ctes:
            if not _PLAIN.fullmatch(name):
                raise UnsafeCohort("a cohort cannot read files; query the tables of the warehouse")
            raise UnknownTable(name, sorted(self.tables | self.ctes))

    def _function(self, node: dict[str, Any], allowed: frozenset[str] | None) -> None:
        name = str(node["function_name"]).lower()
        if node.get("schema") not in {None, "", "main"} or node.get("catalog"):
            raise UnsafeCohort(f"name functions without catalog and schema: {name}")
        if allowed is not None:
            # A call of a table macro is also listed among the functions.
            if name not in allowed:
                raise UnsafeCohort(
                    f"{name}() is not a table of the warehouse; allowed: "
                    f"{', '.join(sorted(allowed))}"
                )
        elif name not in self.functions and name not in self.table_functions:
            raise UnsafeCohort(f"there is no function {name}")
        elif name in _CLOCKS | _SURROUNDINGS or not self.functions.get(name, True):
            self._refuse(name)
        elif name == "age" and len(node.get("arguments") or ()) == 1:
            # With one argument it returns the difference to today; with two it reads no clock.
            self._refuse(name)

    def _refuse(self, name: str) -> None:
        raise UnsafeCohort(
            f"{name} has another result each time, so the cohort could not be repeated; "
            "declare a parameter and give the value when the cohort is run"
        )
