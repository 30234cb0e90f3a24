"""Two stored tables that are not of the library: what it takes to add one is what stands here.

Each is its SQL and its entry of the registry. ``register`` puts both in, as a change of the two
files would; a process of its own calls it too.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

from tests.made_once import made_once
from warehouse import sqlfiles
from warehouse.catalog import template
from warehouse.settings import Mode
from warehouse.store import tables
from warehouse.store.tables import StoredTable

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from warehouse.elements.extract import Portion

SQL = {
    "toy_notes": """-- One row per note that somebody made.
--
-- grain:   author, number
-- table:   toy_notes
-- column:  author | VARCHAR | who made it
-- column:  number | BIGINT | which of theirs
-- column:  made_at | TIMESTAMP | when, UTC
-- column:  text | VARCHAR | what it says; null if nothing
create or replace view toy_notes as
select author, number, made_at, text
from read_parquet(
    getvariable('stored').toy_notes, hive_partitioning = false
);
""",
    "toy_marks": """-- One row per instance, with the number of its elements.
--
-- grain:   instance_id
-- table:   toy_marks
-- column:  batch | VARCHAR | ingest batch that read the row: what its id begins with
-- column:  instance_id | BIGINT | key to `instances`
-- column:  element_count | BIGINT | rows of `elements` that were read
create or replace view toy_marks as
select printf('%06d', instance_id >> 24) as batch, instance_id, element_count
from read_parquet(
    getvariable('stored').toy_marks, hive_partitioning = false
);
""",
}


def marks(portion: Portion, mode: Mode) -> dict[str, pa.Table]:
    counted = portion.rows.group_by("instance_id").aggregate([([], "count_all")])
    return {
        "toy_marks": counted.rename_columns(["instance_id", "element_count"]).sort_by("instance_id")
    }


TOYS = (
    StoredTable("toy_notes", order=("author", "number"), is_appended=True),
    StoredTable("toy_marks", order=("instance_id",), goes_with="instance_id", derive=marks),
)


def register(folder: Path, patch: pytest.MonkeyPatch | None = None) -> None:
    """Let the library know both; ``folder`` is where its SQL then lies."""
    if not folder.exists():
        write_sql(folder)
    put = patch.setattr if patch else setattr
    put(sqlfiles, "sql_folder", lambda: folder)
    put(template, "_file", lambda kind: folder / f"{kind}.duckdb")
    *first, files = tables.REGISTRY
    put(tables, "REGISTRY", (*first, *TOYS, files))


def shared(factory: pytest.TempPathFactory) -> Path:
    """Return where the SQL lies for all tests of a run: views are made of it once, in seconds."""
    return made_once(factory, "toys", lambda folder: write_sql(folder / "sql")) / "sql"


def write_sql(folder: Path) -> None:
    """Write the SQL of the library and of both, but for views that no other layer reads.

    To make these, who opens the first warehouse takes six times as long.
    """
    left_out = shutil.ignore_patterns("3_features")
    shutil.copytree(sqlfiles.sql_folder(), folder, ignore=left_out)
    for name, sql in SQL.items():
        (folder / "1_long" / f"{name}.sql").write_text(sql)


def notes(author: str, count: int, first: int = 0) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table({
        "author": [author] * count, "number": list(numbers),
        "made_at": pa.array([n * 1_000_000 for n in numbers], pa.timestamp("us")),
        "text": pa.array([f"note {n}" if n % 3 else None for n in numbers], pa.string()),
    })  # fmt: skip
