"""Create the views and macros of ``sql/`` once, in a DuckDB file that every catalog attaches.

In: the files of ``sql/``. Out: a database file in the user's cache folder. DuckDB plans a view when
it is created: sixty views with their comments take half a second, attaching the file takes 5 ms.
The file has no data and no paths: views read the Parquet files named by variables of a connection.
"""

from __future__ import annotations

import hashlib
import uuid
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog.dictionaries import make_dictionaries
from warehouse.catalog.entities import materialized_query
from warehouse.settings import user_cache
from warehouse.sqlfiles import read_models, sql_folder
from warehouse.store import layout
from warehouse.store.duck import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from warehouse.sqlfiles import Model

NAME = "dicom_warehouse"
"""Database name under which the file is attached."""


def make_views(
    connection: duckdb.DuckDBPyConnection,
    models: Iterable[Model],
    *,
    kept: bool,
    reordered: bool = False,
) -> None:
    """Create the views and macros; the variable with the files of each table must be set.

    With ``kept``, the entity views read materialized rows from the files that variables name
    (``catalog.materialized``). With ``reordered``, instances and batches have other ids, as set by
    ``id_variables``, as if the files had been ingested in another order; this tests whether a
    result depends on that order. Headers become comments, which any database client can display.
    """
    connection.execute("begin")
    make_dictionaries(connection)
    for model in models:
        if kept and model.is_kept:
            query = materialized_query(model, f"getvariable('stored').{model.name}_kept")
            connection.execute(f"create or replace view {model.name} as {query}")
        else:
            connection.execute(_reordered(model) if reordered else model.sql)
        if model.is_view:
            connection.execute(_comments(model))
    connection.execute("commit")


def id_variables(order: int, first: int | None = None) -> dict[str, int]:
    """Return the variables that map ids to other ids, modulo 2^47, for an order from 1 on.

    Order 1 reverses the ids. Larger orders scatter them by multiplying with a factor. The lowest
    bits of a product do not depend on the higher bits of the id, so the upper half of the bits is
    then combined with the lower half. With ``first``, ids keep their order but start with this one.

    >>> id_variables(1)
    {'id_factor': 140737488355327, 'id_offset': -1, 'batch_offset': -1, 'id_mixed': 0}
    >>> id_variables(1, first=5 << 24)
    {'id_factor': 1, 'id_offset': -83886080, 'batch_offset': -5, 'id_mixed': 0}
    """
    if first is not None:
        offset, batch = -first, -(first >> layout.ID_BITS)
        return {"id_factor": 1, "id_offset": offset, "batch_offset": batch, "id_mixed": 0}
    factor = (1 << 47) - 1 if order == 1 else (order * 0x9E3779B97F4A7C15 >> 17) % (1 << 47) | 1
    return {"id_factor": factor, "id_offset": -1, "batch_offset": -1, "id_mixed": int(order > 1)}


def _reordered(model: Model) -> str:
    """Return the SQL of a model whose stored table has other ids and batches.

    Rows are sorted by these ids; reordering the parts would not change the order within a part.
    """
    columns = {column.name for column in model.columns}
    if model.table is None or "instance_id" not in columns:
        return model.sql
    head = f"create or replace view {model.name} as"
    body = model.sql[model.sql.index(head) + len(head) :].rstrip().rstrip(";")

    def other(number: str, bits: int, offset: str) -> str:
        # Multiplication by odd numbers and XOR with the upper bits are both one-to-one.
        product = f"cast({number} as hugeint) * getvariable('id_factor')"
        whole = 1 << bits
        moved = f"({product} % {whole} + getvariable('{offset}') + {whole}) % {whole}"
        half = f"((cast({moved} as bigint) >> {bits - bits // 2}) * getvariable('id_mixed'))"
        return f"xor(cast({moved} as bigint), {half})"

    swapped = f"{other('instance_id', 47, 'id_offset')} as instance_id"
    if "batch" in columns:
        other_batch = other("cast(batch as bigint)", 47 - layout.ID_BITS, "batch_offset")
        swapped += f", printf('%06d', {other_batch}) as batch"
    return f"{head} select * replace ({swapped}) from ({body}) order by instance_id"


def views_file(*, kept: bool, reordered: bool = False) -> Path | None:
    """Return the path of the view file; None if there is no cache folder."""
    return _file("reordered" if reordered else "kept" if kept else "views")


def attach_views(
    connection: duckdb.DuckDBPyConnection, *, kept: bool, reordered: bool = False
) -> bool:
    """Attach the view file to a connection, or create the views in the connection.

    The variables with the files of each table must be set. Tables and views that a user creates are
    in memory in both cases. Returns whether the views are those of the file.
    """
    file = views_file(kept=kept, reordered=reordered)

    def make() -> None:
        make_views(connection, read_models(), kept=kept, reordered=reordered)

    if file is None:
        make()
        return False
    try:
        if not file.exists():
            _make(connection, file, make)
        connection.execute(f"attach {literal(str(file))} as {NAME} (read_only)")
    except (OSError, duckdb.Error):
        # Without a cache folder, or with a damaged file, create the views in memory.
        make()
        return False
    see_views(connection)
    return True


def see_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the attached views to the search path of a connection."""
    connection.execute(f"set search_path = 'memory.main,{NAME}.main'")


def _make(connection: duckdb.DuckDBPyConnection, file: Path, make: Callable[[], None]) -> None:
    """Write the file atomically."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    try:
        connection.execute(f"attach {literal(str(draft))} as {NAME}")
        try:
            connection.execute(f"use {NAME}")
            make()
            connection.execute(f"checkpoint {NAME}")
        finally:
            connection.execute("use memory")
            connection.execute(f"detach {NAME}")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


@cache
def _file(kind: str) -> Path | None:
    """Return the path of the file for these models; None if there is no cache folder."""
    folder = user_cache()
    if folder is None:
        return None
    versions = (duckdb.__version__, metadata.version("pydicom"))
    # Include this module, which determines how models are created, and the tables in macros.
    made_by = Path(__file__).read_text("utf-8")
    rules = [path.read_text("utf-8") for path in sorted((sql_folder() / "rules").glob("*.csv"))]
    text = "\0".join([*versions, made_by, *rules, *(model.sql for model in read_models())])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return folder / f"{kind}-{key}.duckdb"


def _comments(model: Model) -> str:
    """Return the statements that store the header as comments in the database."""
    lines = [f"comment on view {model.name} is {literal(model.summary)};"]
    lines += [
        f'comment on column {model.name}."{column.name}" is {literal(column.description)};'
        for column in model.columns
    ]
    return "\n".join(lines)
