"""Erase an entity from all tables, and list the files that only older versions need.

In: the entity to erase. Out: ``Erased``. Its rows are removed from every stored table in one
commit, like those of removed files. Then all files that the newest version does not reference are
deleted, because parts of older versions still contain the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, tables
from warehouse.store.blobs import update_blobs
from warehouse.store.commit import remove_rows
from warehouse.store.delta import Change
from warehouse.store.duck import copy_part, view_files
from warehouse.store.value_names import named_values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from warehouse.store.delta import Snapshot


@dataclass(frozen=True, slots=True)
class Found:
    """Data of an entity in the newest version."""

    entities: list[tuple[str, str]] = field(default_factory=list)
    """Level and key of all entities that have no instance left afterwards; patients' names, too."""
    files: list[tuple[str, int | None, int | None]] = field(default_factory=list)
    """Path, size and modification time of its files."""
    instances: int = 0
    has_first_values: bool = False
    """Whether its key is the first of several values in a file, so that it may be of several."""
    still_named: int = 0
    """Number of elements of other instances that contain its identifier, such as references."""

    @property
    def counts(self) -> dict[str, int]:
        """Level → number of entities that are erased completely."""
        levels = [level for level, _ in self.entities]
        return {
            "patients": levels.count("patient"), "studies": levels.count("study"),
            "series": levels.count("series"), "instances": self.instances,
        }  # fmt: skip

    @property
    def is_nothing(self) -> bool:
        """Whether the entity has neither instances nor files."""
        return not self.instances and not self.files


def find(connection: duckdb.DuckDBPyConnection, base: Snapshot, level: str, name: str) -> Found:
    """Find the data of an entity in a version; creates the tables of ``sql/ingest/erased.sql``."""
    view_files(connection, base.paths("files"))
    connection.execute("set variable asked = $1", [name])
    connection.execute("set variable asked_level = $1", [level])
    connection.execute("set variable instances_files = $1", [base.paths("instances")])
    connection.execute("set variable elements_files = $1", [base.paths("elements")])
    older = [*_older_parts(base, "instances"), base.empty("instances")]
    connection.execute("set variable older_parts = $1", [older])
    connection.execute(statement("erased"))
    rows = "select path, size_bytes, epoch_us(modified_at) from touched order by path"
    return Found(
        connection.execute("select level, key from erased_entities order by all").fetchall(),
        connection.execute(rows).fetchall(),
        connection.execute("select count(*) from erased").fetchall()[0][0],
        connection.execute(statement("first_values")).fetchone() is not None,
        connection.execute(statement("still_named")).fetchall()[0][0],
    )


def _older_parts(base: Snapshot, table: str) -> list[str]:
    """Return the parts of a table that the newest version does not reference."""
    folder = layout.table_folder(base.root, table)
    named = {str(folder / part) for part in base.parts[table]}
    return sorted({str(path) for path in folder.glob("batch=*/*.parquet")} - named)


def erase(connection: duckdb.DuckDBPyConnection, base: Snapshot) -> dict[str, int]:
    """Remove the rows found by ``find`` from every table in one commit; return rows by table.

    The caller holds the writer lock, and ``base`` is the version passed to ``find``.

    Raises
    ------
    WriteFailed
        Nothing was changed.
    """
    changes = {table: Change() for table in tables.names()}
    committing = False
    try:
        remove_rows(connection, base, changes)
        update_blobs(connection, base, "", [], changes)
        _drop_appended(connection, base, changes)
        erased = {
            table: gone for table, change in changes.items()
            if (gone := _rows(base, table, change.remove) - sum(part.rows for part in change.add))
            or change.remove
        }  # fmt: skip
        if erased:
            committing = True
            delta.commit(base.root, changes, base, "forget")
    except BaseException:
        if not committing:
            for table, change in changes.items():
                for part in change.add:
                    (layout.table_folder(base.root, table) / part.path).unlink(missing_ok=True)
        raise
    return erased


def _drop_appended(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, changes: dict[str, Change]
) -> None:
    """Replace parts of appended tables by copies without rows about the erased entities."""
    connection.execute("set variable use_parts = $1", [base.paths("value_uses")])
    connection.execute("set variable value_parts = $1", [base.paths("socket_values")])
    connection.execute(statement("erased_values"))
    connection.execute("set variable spec_parts = $1", [base.paths("job_specs")])
    connection.execute("set variable event_parts = $1", [base.paths("job_events")])
    connection.execute(statement("erased_jobs"))
    for table in tables.REGISTRY:
        if table.without_erased is None:
            continue
        select = statement(table.without_erased)
        folder = layout.table_folder(base.root, table.name)
        for part in base.parts[table.name]:
            connection.execute("set variable part = $1", [str(folder / part)])
            whole = "select * exclude (batch) from read_parquet(getvariable('part'))"
            if connection.execute(f"({whole}) except all ({select}) limit 1").fetchone() is None:
                continue
            name = layout.part_name(layout.batch_of_part(part), 0)
            copy = copy_part(connection, select, folder, name)
            changes[table.name].remove.append(part)
            if copy.rows:
                changes[table.name].add.append(copy)
            else:
                (folder / copy.path).unlink()


def _rows(base: Snapshot, table: str, parts: list[str]) -> int:
    folder = layout.table_folder(base.root, table)
    # A part that only this batch has staged is in no version, so it is not listed here.
    return sum(pq.read_metadata(folder / part).num_rows for part in parts)


def unnamed_files(base: Snapshot) -> Iterator[Path]:
    """Yield every file with rows or values that the newest version does not reference.

    The caller excludes other writers, so no such file is about to be committed.
    """
    for table in tables.names():
        yield from map(base.root.__truediv__, _older_parts(base, table))
    folder = base.root / layout.VALUES
    named = named_values(base) if folder.is_dir() else set()
    yield from (
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in named
    )
    cache, cohorts = layout.cache_folder(base.root), base.root / "cohorts"
    yield from (path for path in sorted(cache.rglob("*")) if path.is_file())
    # Left by a process that was killed during a cohort run.
    yield from (path for path in sorted(cohorts.glob("**/.*/*")) if path.is_file())
    yield from (path for path in sorted(cohorts.glob(".*")) if path.is_file())
