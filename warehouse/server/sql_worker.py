"""The program that runs SQL of users, started by ``sql_processes``.

In: questions that have passed the guard, as JSON over a socket. Out: two messages for each. The
first says that its time begins; the second is the body, or what is wrong.
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
"""The first message, and how the second one begins."""
SPARE_SECONDS = 5
"""That a question may go on when nobody waits for it any more."""


class _TooLarge(Exception):
    """An answer has more rows or bytes than it may."""


def main(descriptor: int, memory_bytes: int) -> None:
    """Run queries from standard input until it is closed."""
    do_without_pandas()
    limit_memory(memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # is meant for the server
    connection, held, catalog = Connection(descriptor), None, None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            asked = json.loads(connection.recv_bytes())
            if catalog is None or held != (asked["root"], asked["version"]):
                held = asked["root"], asked["version"]
                catalog = locked_catalog(Path(asked["root"]), asked["version"])
            connection.send_bytes(BEGUN)
            # Some functions cannot be interrupted, and the parent may be gone.
            signal.setitimer(signal.ITIMER_REAL, asked["seconds"] + SPARE_SECONDS)
            connection.send_bytes(_answer(catalog, asked))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(catalog: Catalog, asked: dict[str, Any]) -> bytes:
    try:
        return BODY + _body(catalog, asked)
    except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError):
        return NO_MEMORY
    except duckdb.Error as error:
        return FAILED + str(error).strip().encode()
    except _TooLarge as error:
        return TOO_LARGE + str(error).encode()


def _body(catalog: Catalog, asked: dict[str, Any]) -> bytes:
    most = asked["rows"]
    relation = catalog.session().sql(
        f"select * from ({asked['sql'].rstrip(';')}) limit {most + 1}",
        params=asked["parameters"] or None,
    )
    found = relation.to_arrow_table()
    if found.num_rows > most:
        raise _TooLarge(f"more than {most} rows: aggregate, or add a LIMIT")
    if asked["is_json"]:
        columns = [[plain(one) for one in column.to_pylist()] for column in found.itercolumns()]
        reply = {
            "version": asked["version"], "columns": relation.columns,
            "rows": [list(row) for row in zip(*columns, strict=True)],
        }  # fmt: skip
        made = json.dumps(
            reply, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    else:
        out = io.BytesIO()
        with pa.ipc.new_stream(out, found.schema) as writer:
            writer.write_table(found)
        made = out.getvalue()
    if len(made) > asked["bytes"]:
        raise _TooLarge(f"more than {asked['bytes'] >> 20} MiB: name fewer columns, or add a LIMIT")
    return made
