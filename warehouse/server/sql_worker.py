"""Program that runs SQL of users; ``sql_processes`` starts it.

In: queries that have passed the guard, as JSON over a socket. Out: two messages for each. The first
states that its time limit starts; the second is the body of the response, or an error.
"""

from __future__ import annotations

import io
import json
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from warehouse.cohorts.asking import limit_memory
from warehouse.cohorts.guard import locked_catalog
from warehouse.process import do_without_pandas
from warehouse.server.json_values import plain

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

BEGUN, BODY, FAILED, TOO_LARGE, NO_MEMORY = b"begun", b"b", b"f", b"l", b"m"
"""The first message, and the first byte of the second one."""
SPARE_SECONDS = 5
"""Time beyond its limit after which a query ends the process."""


class _TooLarge(Exception):
    """A result has more rows or bytes than the limits allow."""


class _NotWritable(Exception):
    """A result has a value that Python cannot represent."""


def main(descriptor: int, memory_bytes: int) -> None:
    """Run queries from a socket until it is closed."""
    do_without_pandas()
    limit_memory(memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the server, which ends this process
    connection, opened, catalog = Connection(descriptor), None, None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            query = json.loads(connection.recv_bytes())
            if catalog is None or opened != (query["root"], query["version"]):
                opened = query["root"], query["version"]
                catalog = locked_catalog(Path(query["root"]), query["version"])
            connection.send_bytes(BEGUN)
            # Some functions cannot be interrupted, and the server may have ended.
            signal.setitimer(signal.ITIMER_REAL, query["seconds"] + SPARE_SECONDS)
            connection.send_bytes(_message(catalog, query))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _message(catalog: Catalog, query: dict[str, Any]) -> bytes:
    try:
        return BODY + _body(catalog, query)
    except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError):
        return NO_MEMORY
    except duckdb.Error as error:
        return FAILED + str(error).strip().encode()
    except _TooLarge as error:
        return TOO_LARGE + str(error).encode()
    except _NotWritable as error:
        return FAILED + str(error).encode()


def _plain_values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as JSON types."""
    try:
        return [plain(value) for value in column.to_pylist()]
    except (ValueError, OverflowError, ImportError):
        # Dates and times outside of the years 1 to 9999, infinite ones, and nanoseconds.
        raise _NotWritable(
            f"a value of type {column.type} cannot be written as JSON: cast it to VARCHAR, or "
            "request Arrow"
        ) from None


def _body(catalog: Catalog, query: dict[str, Any]) -> bytes:
    max_rows = query["rows"]
    relation = catalog.session().sql(
        f"select * from ({query['sql'].rstrip(';')}) limit {max_rows + 1}",
        params=query["parameters"] or None,
    )
    table = relation.to_arrow_table()
    if table.num_rows > max_rows:
        raise _TooLarge(f"more than {max_rows} rows: aggregate, or add a LIMIT")
    if query["is_json"]:
        columns = [_plain_values(column) for column in table.itercolumns()]
        reply = {
            "version": query["version"], "columns": relation.columns,
            "rows": [list(row) for row in zip(*columns, strict=True)],
        }  # fmt: skip
        body = json.dumps(
            reply, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    else:
        out = io.BytesIO()
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        body = out.getvalue()
    if len(body) > query["bytes"]:
        raise _TooLarge(f"more than {query['bytes'] >> 20} MiB: name fewer columns, or add a LIMIT")
    return body
