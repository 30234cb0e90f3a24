"""Write the rows of a query as CSV, JSON or Parquet, streamed.

In: a relation. Out: a file, or bytes on standard output. DuckDB writes the rows, in bounded memory
for any number of rows.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import duckdb

from warehouse.errors import QueryFailed
from warehouse.outputs import draft_of, is_stream, place, refuse_existing, stream_to
from warehouse.store.duck import columns_for_json, literal

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

FORMATS = {
    "csv": "(format csv, header true)",
    "tsv": "(format csv, header true, delimiter '\t')",
    "json": "(format json, array true)",
    "jsonl": "(format json, array false)",
    "parquet": "(format parquet, compression zstd)",
}

SUFFIXES = {f".{form}": form for form in FORMATS} | {".ndjson": "jsonl", ".txt": "table"}
"""File suffix → format; ``table`` is formatted for display."""


def write(
    catalog: Catalog, relation: duckdb.DuckDBPyRelation, form: str, target: Path, *,
    force: bool = False,
) -> None:  # fmt: skip
    """Write the rows of a relation to a file, which appears only when it is complete.

    Parameters
    ----------
    catalog
        Catalog of the relation.
    relation
        The rows.
    form
        One of ``FORMATS``.
    target
        File that does not exist yet, unless ``force``; or a device or pipe.
    force
        Replace an existing file.

    Raises
    ------
    TargetExists, UsageError, ExportFailed, QueryFailed
    """
    if is_stream(target):
        with stream_to(target) as out:
            send(catalog, relation, form, out)
        return
    refuse_existing(target, force=force)
    with draft_of(target) as draft:
        _copy(catalog, relation, form, draft)
        place(draft, target, force=force)


def _copy(catalog: Catalog, relation: duckdb.DuckDBPyRelation, form: str, draft: Path) -> None:
    writer = catalog.connection.cursor()
    try:
        writer.register("answer", relation.to_arrow_reader())
        shown = columns_for_json(writer, "from answer") if form.startswith("json") else "*"
        sql = f"select {shown} from answer"
        writer.execute(f"copy ({sql}) to {literal(str(draft))} {FORMATS[form]}")
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    finally:
        writer.close()


def send(catalog: Catalog, relation: duckdb.DuckDBPyRelation, form: str, out: IO[bytes]) -> None:
    """Write the rows of a relation to an open binary stream, such as standard output."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "answer"
        with draft_of(target) as draft:
            _copy(catalog, relation, form, draft)
            place(draft, target)
        with target.open("rb") as file:
            shutil.copyfileobj(file, out)
