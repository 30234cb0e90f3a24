"""Run the checked SQL of a cohort, twice and in a separate process.

In: a query that ``guard`` accepted. Out: ``Picked``, the keys that it returns. SQL of users may
take any time and memory: ``repeat('a', 3e9)`` allocates more than DuckDB's own limit, and ``lpad``
cannot be interrupted. Limits on a process are reliable, and a process can be killed.

Some queries depend on the order of rows in ways that ``guard`` cannot see in their text. Therefore
the query runs a second time, with the parts of each table in reverse order, other ids, one thread,
and without preserving order. A cohort whose members then differ (``mode`` with ties, an aggregate
that depends on the row order, a condition on ``instance_id``) is rejected.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.ipc

from warehouse.catalog.connect import reorder
from warehouse.cohorts.guard import locked_catalog, suspects
from warehouse.errors import (
    CohortStopped,
    MembersUnclear,
    QueryFailed,
    UnsafeCohort,
    WarehouseError,
)
from warehouse.inputs import require_seconds
from warehouse.process import do_without_pandas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from warehouse.catalog.connect import Catalog

KEYS = {
    "instance_key": "instance", "SOPInstanceUID": "instance",
    "series_key": "series", "SeriesInstanceUID": "series",
    "study_key": "study", "StudyInstanceUID": "study",
    "patient_key": "patient",
}  # fmt: skip
"""Key column of a cohort → entity level, from instance to patient."""
_START = "import sys; sys.path[:] = {path!r}; from warehouse.cohorts.asking import main; main()"


SECONDS = 600.0

LEAST_ORDERS, SCATTERED, BEGUN_WITH, ORDERS_SECONDS = 5, 20, 200, 5.0
"""For a suspect query: minimum number of row orders that it runs in; maximum number of scattered
orders, and of orders that begin with one given instance; limit of CPU time, in seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of time and memory for the SQL of a cohort."""

    seconds: float = SECONDS
    """Time limit for both executions together."""
    memory_bytes: int = 4 << 30
    """Memory limit of the process; DuckDB spills to disk long before."""

    def __post_init__(self) -> None:
        """Refuse a time that cannot be waited for."""
        require_seconds("the time limit", self.seconds)


@dataclass(frozen=True, slots=True)
class Picked:
    """The keys that a query returned."""

    level: str
    """Entity level of the keys: instance, series, study or patient."""
    keys: pa.Array
    """Distinct keys as text, sorted."""
    column: str
    """Column of the query that has the keys, one of ``KEYS``."""


def pick(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> Picked:
    """Run a query once, on this connection.

    Raises
    ------
    MembersUnclear
        The query returns no key column, or rows without a key.
    QueryFailed
        DuckDB rejects the query.
    """
    key = require_key(connection, sql, parameters)
    return _keys(_naming(connection, sql, key, parameters), key)


def require_key(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]
) -> str:
    """Return the key column of a query without running it, the finest if there are several.

    Raises
    ------
    MembersUnclear, QueryFailed
    """
    try:
        described = connection.execute(f"describe {sql}", dict(parameters)).fetchall()
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    columns = {row[0] for row in described}
    key = next((name for name in KEYS if name in columns), None)
    if key is None:
        raise MembersUnclear(f"a cohort must return one of the columns {', '.join(KEYS)}")
    return key


def _naming(
    connection: duckdb.DuckDBPyConnection, sql: str, key: str, parameters: Mapping[str, Any]
) -> duckdb.DuckDBPyRelation:
    """Return the relation of the key column of a query."""
    named = f'select distinct cast("{key}" as varchar) as key from ({sql})'
    try:
        return connection.sql(f"{named} order by key nulls first", params=dict(parameters))
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error


def _keys(naming: duckdb.DuckDBPyRelation, key: str) -> Picked:
    """Run the query and return its keys."""
    try:
        keys = naming.to_arrow_table().column("key").combine_chunks()
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    if len(keys) and not keys[0].is_valid:
        raise MembersUnclear(
            f"the cohort returns rows without {key}; return {KEYS[key]}_key, which is never null "
            "for an image, or exclude these rows"
        )
    return Picked(KEYS[key], keys, key)


def pick_apart(
    root: Path, sql: str, parameters: Mapping[str, Any], version: int, limits: Limits
) -> Picked:
    """Run a query twice on one version, in a process with limits.

    Raises
    ------
    UnsafeCohort
        The two executions return different members.
    CohortStopped
        The query exceeded a limit.
    MembersUnclear, QueryFailed
        See ``pick``.
    """
    with tempfile.TemporaryDirectory(prefix="dicom-warehouse-cohort-") as folder:
        target = Path(folder, "keys.arrow")
        asked = {
            "root": str(root), "sql": sql, "version": version, "target": str(target),
            "parameters": [[name, *_typed(value)] for name, value in parameters.items()],
            "memory_bytes": limits.memory_bytes,
        }  # fmt: skip
        command = [sys.executable, "-c", _START.format(path=sys.path)]
        try:
            done = subprocess.run(  # noqa: S603
                command, input=json.dumps(asked).encode(), capture_output=True, check=False,
                timeout=limits.seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CohortStopped(
                f"it took more than {limits.seconds:g} s; allow more with --timeout"
            ) from None
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            # A failed allocation inside a library cannot be caught: the process ends.
            raise CohortStopped(
                f"it needs more than {limits.memory_bytes >> 20:,} MiB of memory, "
                f"or crashed the query process (exit code {done.returncode})"
            ) from None
        if "error" in answer:
            raise _ERRORS.get(answer["error"], QueryFailed)(answer["message"])
        with pa.memory_map(str(target)) as source:
            keys = pa.ipc.open_file(source).read_all()["key"].combine_chunks()
            return Picked(KEYS[answer["column"]], pa.concat_arrays([keys]), answer["column"])


_ERRORS: dict[str, type[WarehouseError]] = {
    error.__name__: error for error in (MembersUnclear, QueryFailed, UnsafeCohort)
}


def pick_twice(root: Path, sql: str, parameters: Mapping[str, Any], version: int) -> Picked:
    """Run a query on rows in two orders, in this process; in many orders if its text is suspect.

    Raises
    ------
    UnsafeCohort
        Two executions return different members.
    MembersUnclear, QueryFailed
        See ``pick``.
    """
    catalog = locked_catalog(root, version)
    first = pick(catalog.connection, sql, parameters)
    named = ", ".join(suspects(catalog.connection, sql))
    stored = locked_catalog(root, version, threads=1) if named else catalog
    # Cached per catalog: creating a relation takes half as long as running it.
    naming: dict[Catalog, duckdb.DuckDBPyRelation] = {}
    began = time.process_time()
    for asked, other in enumerate(_orders(root, version, stored, is_suspect=bool(named))):
        if asked > LEAST_ORDERS and time.process_time() - began > ORDERS_SECONDS:
            return first
        if other not in naming:
            naming[other] = _naming(other.connection, sql, first.column, parameters)
        if not _keys(naming[other], first.column).keys.equals(first.keys):
            break
    else:
        return first
    raise UnsafeCohort(
        "the cohort has other members if the same rows are stored in another order, so it could "
        f"not be repeated{named and ': see '}{named}. Order by a unique key, and put no condition "
        "on an id or a batch"
    )


def _orders(root: Path, version: int, stored: Catalog, *, is_suspect: bool) -> Iterator[Catalog]:
    """Yield catalogs with the rows in different orders, for all of which the result must be equal.

    The first order is the reverse one. If the text is suspect, further orders follow: the stored
    order with one thread, because several threads may by chance read the rows in reverse; scattered
    orders; and orders that begin with each instance in turn. The last ones detect, in small tables,
    a row of a tie that few other orders put first.
    """
    # One catalog for all orders: opening one takes as long as running the query.
    other = locked_catalog(root, version, order=1, threads=1)
    yield other
    if not is_suspect:
        return
    yield stored
    for order in range(2, SCATTERED + 2):
        reorder(other, order)
        yield other
    rows = stored.connection.execute(
        "select instance_id from instances order by hash(instance_id) limit $1", [BEGUN_WITH]
    ).fetchall()
    for (instance_id,) in rows:
        reorder(other, 1, instance_id)
        yield other


def main() -> None:
    """Run the query read from standard input; main function of the process of ``pick_apart``."""
    do_without_pandas()
    asked = json.load(sys.stdin)
    limit_memory(asked["memory_bytes"])
    json.dump(answered(asked), sys.stdout)


def answered(asked: Mapping[str, Any]) -> dict[str, str]:
    """Run the query sent by ``pick_apart``; write the keys, and return their column or an error."""
    parameters = {name: _value(kind, value) for name, kind, value in asked["parameters"]}
    try:
        picked = pick_twice(Path(asked["root"]), asked["sql"], parameters, asked["version"])
        table = pa.table({"key": picked.keys})
        with pa.OSFile(asked["target"], "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    except WarehouseError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"column": picked.column}


def _typed(value: object) -> tuple[str, Any]:
    """Return a parameter as a JSON value and its type."""
    if isinstance(value, list):
        return "list", [_typed(each) for each in value]
    kind = type(value).__name__
    return kind, value.isoformat() if isinstance(value, dt.date | dt.time) else value


def _value(kind: str, value: Any) -> Any:
    if kind == "list":
        return [_value(*each) for each in value]
    kinds: dict[str, type[dt.date | dt.time]] = {
        "date": dt.date, "time": dt.time, "datetime": dt.datetime,
    }  # fmt: skip
    return kinds[kind].fromisoformat(value) if kind in kinds else value


def limit_memory(memory_bytes: int) -> None:
    """Limit the address space of this process, where the kernel supports it.

    Address space that libraries reserved when they were imported does not count: pyarrow's
    allocator alone may reserve 1 GiB, and deltalake hangs if it cannot start its threads.
    """
    try:
        import resource  # noqa: PLC0415

        reserved = int(Path("/proc/self/statm").read_text("ascii").split()[5])
        most = memory_bytes + reserved * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return
