"""The rows of a query → CSV, JSON or Parquet, streamed.

In: a relation. Out: a file, or bytes on standard output. DuckDB writes; memory stays bounded
whatever the number of rows.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import duckdb

from warehouse.errors import QueryFailed, WriteFailed
from warehouse.store.duck import columns_for_json, literal

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

FORMATS = {
    "csv": "(format csv, header true)",
    "json": "(format json, array true)",
    "parquet": "(format parquet, compression zstd)",
}


def write(catalog: Catalog, relation: duckdb.DuckDBPyRelation, form: str, target: Path) -> None:
    """Write the rows of a relation to a file; it appears only when it is complete.

    Raises
    ------
    QueryFailed, WriteFailed
    """
    draft = target.with_name(f".{target.name}.part")
    writer = catalog.connection.cursor()
    try:
        writer.register("answer", relation.to_arrow_reader())
        shown = columns_for_json(writer, "from answer") if form == "json" else "*"
        sql = f"select {shown} from answer"
        writer.execute(f"copy ({sql}) to {literal(str(draft))} {FORMATS[form]}")
        draft.replace(target)
    except (duckdb.IOException, OSError) as error:
        raise WriteFailed(str(target), error) from error
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error
    finally:
        draft.unlink(missing_ok=True)
        writer.close()


def send(catalog: Catalog, relation: duckdb.DuckDBPyRelation, form: str, out: IO[bytes]) -> None:
    """Write the rows of a relation to an open binary stream, such as standard output."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "answer"
        write(catalog, relation, form, target)
        with target.open("rb") as file:
            shutil.copyfileobj(file, out)
