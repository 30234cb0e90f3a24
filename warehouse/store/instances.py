"""Attributes of a batch → rows of ``instances``, by the SQL that defines them.

In: what workers gathered. Out: rows, and the files that can have none: where the SQL fails, the
batch is halved until the file stands alone that makes it fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.elements.schema import ELEMENTS
from warehouse.errors import ReadingFailed, WriteFailed
from warehouse.sqlfiles import by_name
from warehouse.stages import Stage, unexpected
from warehouse.store.attributes import gather
from warehouse.store.schema import FILES, STORED_AS

if TYPE_CHECKING:
    from warehouse.store.stage import Staged

_OF_THE_DATABASE = (duckdb.OperationalError, duckdb.FatalException, duckdb.PermissionException)
"""Memory, disk, a database that is gone: no file of the batch is to blame."""


def derive_instances(
    connection: duckdb.DuckDBPyConnection, files: pa.Table, staged: list[Staged]
) -> tuple[pa.Table, pa.Table]:
    """Return the rows of ``instances``, and ``files`` with those rejected that can have none.

    Raises
    ------
    WriteFailed
        There is no memory or no disk for it.
    ReadingFailed
        The SQL fails without any file, too.
    """
    nothing = ELEMENTS.empty_table()
    nameless = pa.concat_tables([nothing, *(portion.nameless for portion in staged)])
    attributes = pa.concat_tables([gather(nothing), *(portion.attributes for portion in staged)])
    # The macros that it uses; to make all takes longer than a small batch.
    connection.execute(by_name("person_name").sql)
    answers: list[pa.Table] = []
    waiting = [files]
    while waiting:
        some = waiting.pop()
        try:
            answers.append(_derived(connection, some, nameless, attributes))
        except _OF_THE_DATABASE as error:
            raise WriteFailed("rows of instances", error) from error
        except duckdb.Error as error:
            if not some.num_rows:
                raise ReadingFailed(Stage.INSTANCES, type(error).__name__) from error
            if some.num_rows == 1:
                why = unexpected(Stage.INSTANCES, type(error).__name__)
                files = _reject(files, some["instance_id"], why)
                # No file at all: this raises if the fault is not the file's.
                waiting.append(some.slice(1))
            else:
                middle = some.num_rows // 2
                waiting += [some.slice(middle), some.slice(0, middle)]
    answer = pa.concat_tables(answers)
    # DuckDB would sort all columns; they come in order already, or nearly.
    ids = answer["instance_id"].to_numpy()
    return answer if (np.diff(ids) > 0).all() else answer.take(np.argsort(ids)), files


def _derived(
    connection: duckdb.DuckDBPyConnection, files: pa.Table, nameless: pa.Table,
    attributes: pa.Table,
) -> pa.Table:  # fmt: skip
    ids = files["instance_id"]
    given = {
        "files": files.rename_columns({old: new for new, old in STORED_AS.items()}),
        "elements": nameless.filter(pc.is_in(nameless["instance_id"], ids)),
        "instance_attributes": attributes.filter(pc.is_in(attributes["instance_id"], ids)),
    }
    for name, table in given.items():
        connection.register(name, table)
    try:
        answer = connection.sql(by_name("instances_from_elements").query).to_arrow_table()
        return answer.rename_columns(STORED_AS)
    finally:
        for name in given:
            connection.unregister(name)


def _reject(files: pa.Table, instance_id: pa.ChunkedArray, why: str) -> pa.Table:
    """Make a file a reject that the next ingest tries again; its id says which rows have to go."""
    mine = pc.is_in(files["instance_id"], instance_id)
    for number, field in enumerate(FILES):
        if field.name in {"path", "mode", "instance_id"}:
            continue
        value = {"status": "rejected", "reason": why}.get(field.name)
        cell = pa.scalar(value, field.type)
        files = files.set_column(number, field, pc.if_else(mine, cell, files[field.name]))
    return files
