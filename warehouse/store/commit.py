"""Commit the staged parts of a batch as a new version of the warehouse.

In: the parts staged by the workers. Out: ``Counts``. The outcome of each file is determined here,
by sql/ingest/resolve.sql under the lock, because it depends on other files and other writers. Parts
are replaced by copies without the removed rows; nothing is changed in place.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, locks, tables
from warehouse.store.blobs import are_still_new, new_values, staged_values, update_blobs
from warehouse.store.delta import Change, Snapshot
from warehouse.store.duck import copy_part, lent
from warehouse.store.known import may_be_known
from warehouse.store.ledger import view_ledger
from warehouse.store.ready import Ready, files_of, instances_of, make_ready
from warehouse.store.stage import Staged, discard, write_small
from warehouse.store.tombstones import mark_forgotten, tombstones

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb

    from warehouse.store.layout import Part


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of files of a batch by outcome and by reader."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """created, replaced, existing, duplicate, rejected → number of files."""
    readers: Counter[str] = field(default_factory=Counter)
    unreachable: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of stored files that could not be read this time; they keep their rows."""


def commit_batch(
    connection: duckdb.DuckDBPyConnection, root: Path, batch: str, staged: list[Staged], *,
    ready: Ready | None = None, read_anew: bool = False,
    damaged: Mapping[str, set[str]] | None = None,
) -> Counts:  # fmt: skip
    """Determine the outcome of each staged file and commit the rows of the batch.

    Parameters
    ----------
    connection
        Connection of ``warehouse.store.duck``; opening one takes as long as a small commit. Tables
        created in it are temporary.
    root
        Folder of the warehouse.
    batch
        Partition of the new rows of ``files``.
    staged
        Portions staged by the workers.
    ready
        Parts of the batch that ``warehouse.store.ready`` has written in advance, if any.
    read_anew
        Replace the rows of known, unchanged files, too.
    damaged
        Table → unreadable parts, whose files were staged again: the parts are removed in the same
        transaction.

    Raises
    ------
    WriteFailed
        Nothing of the batch was committed.
    """
    if not any(portion.count for portion in staged):
        return Counts()
    changes = {
        table: Change(remove=sorted((damaged or {}).get(table, ()))) for table in tables.names()
    }
    try:
        # Write parts before taking the lock, so that other writers wait only for the decision.
        if ready is None and not damaged and not read_anew and tombstones(root) is None:
            held = delta.newest_parts(root, "blobs")
            ready = make_ready(root, batch, staged, held, connection)
        written = ready.written if ready else []
    except BaseException:
        discard(root, staged)
        raise
    copies: list[tuple[str, Part]] = []
    with locks.locked(root), connection.cursor() as own:
        try:
            base = delta.snapshot(root, parts_are_here=not damaged)
            if ready and not damaged and _is_all_new(own, base, ready):
                counts = Counts(Counter(ready.outcomes), Counter(ready.readers))
                _add_all(base, batch, staged, ready, changes)
            else:
                counts, copies = _prepare(
                    own,
                    base.without(damaged or {}),
                    batch,
                    staged,
                    changes,
                    read_anew=read_anew,
                    may_be_new=ready is None,
                )
                layout.drop_parts(root, written)
        except BaseException:
            layout.drop_parts(
                root, [(table, part) for table in changes for part in changes[table].add]
            )
            layout.drop_parts(root, written)
            discard(root, staged)
            raise
        if any(change.add or change.remove for change in changes.values()):
            # From here on the parts may belong to a version, so they are never deleted.
            delta.commit(root, changes, base, f"ingest {batch}")
    layout.drop_parts(root, copies)
    return counts


def _is_all_new(connection: duckdb.DuckDBPyConnection, base: Snapshot, ready: Ready) -> bool:
    """Return whether no file or instance of a batch is known, and there are no tombstones."""
    if tombstones(base.root) is not None:
        return False
    part = layout.table_folder(base.root, "files") / ready.parts["files"].path
    return not may_be_known(connection, base.paths("files"), (str(part), ready.hashes))


def _add_all(
    base: Snapshot, batch: str, staged: list[Staged], ready: Ready, changes: dict[str, Change]
) -> None:
    """Add all staged parts of a batch without known files or instances."""
    for table, part in ready.parts.items():
        changes[table].add.append(part)
    for portion in staged:
        for table, part in portion.parts.items():
            if tables.named(table).is_staged:
                changes[table].add.append(part)
    values = ready.values
    if values is None or not are_still_new(base, values):
        # Other writers have stored some of these values, or replaced parts that were compared.
        layout.drop_parts(base.root, [("blobs", part) for part in values.parts] if values else [])
        values = new_values(base.root, batch, staged, base.parts["blobs"])
    changes["blobs"].add.extend(values.parts)
    layout.drop_parts(base.root, staged_values(staged))


def commit_removal(root: Path, vanished: pa.Table) -> Counter[str]:
    """Mark files as removed, and remove the rows of the instances stored from them.

    Parameters
    ----------
    root
        Folder of the warehouse.
    vanished
        ``path``, ``batch``, ``size_bytes`` and ``modified_at`` of files, as in ``files`` when they
        were found missing. A file that was read again since is not removed.

    Returns
    -------
    Counter
        Previous status of the files → number removed.

    Raises
    ------
    WriteFailed
        Nothing was changed.
    """
    changes = {table: Change() for table in tables.names()}
    with locks.locked(root), lent() as connection:
        base = delta.snapshot(root)
        view_ledger(connection, base.paths("files"))
        connection.register("vanished", vanished)
        connection.execute(statement("removed"))
        rows = connection.execute("select status, count(*) from touched group by all").fetchall()
        try:
            remove_rows(connection, base, changes)
            update_blobs(connection, base, "", [], changes)
        except BaseException:
            layout.drop_parts(
                root, [(table, part) for table in changes for part in changes[table].add]
            )
            raise
        if rows:
            delta.commit(root, changes, base, "remove")
    return Counter(dict(rows))


def _prepare(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, batch: str,
    staged: list[Staged], changes: dict[str, Change], *, read_anew: bool, may_be_new: bool,
) -> tuple[Counts, list[tuple[str, Part]]]:  # fmt: skip
    """Determine the outcome of each file, and write the parts of the new version.

    ``may_be_new`` is false if some files or instances are known. Returns the counts, and the parts
    that are not needed.
    """
    files, instances = files_of(staged), instances_of(staged)
    folder = layout.table_folder(base.root, "elements")
    parts = [folder / some.parts["elements"].path for some in staged if "elements" in some.parts]
    files = mark_forgotten(base.root, files, instances, parts)
    connection.register("staged", files)
    _judge(connection, base, files, read_anew=read_anew, may_be_new=may_be_new)
    new_files = copy_part(
        connection, statement("new_files"), layout.table_folder(base.root, "files"),
        layout.part_name(batch, 0),
    )  # fmt: skip
    if not new_files.rows and not connection.execute("from touched limit 1").fetchall():
        # Every file was forgotten, or another writer committed it in the meantime.
        discard(base.root, staged)
        return _counts(connection, files), [("files", new_files)]
    if new_files.rows:
        changes["files"].add.append(new_files)
    remove_rows(connection, base, changes)
    copies = add_staged_rows(connection, base.root, batch, staged, instances, changes)
    update_blobs(connection, base, batch, staged, changes)
    if not new_files.rows:
        copies.append(("files", new_files))
    return _counts(connection, files), copies


def _judge(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, files: pa.Table, *, read_anew: bool,
    may_be_new: bool,
) -> None:  # fmt: skip
    """Create the tables ``verdict`` and ``touched``."""
    keys = files["instance_key"].drop_null()
    if (
        may_be_new
        and set(files["status"].unique().to_pylist()) <= {"ingested", "rejected"}
        and pc.count_distinct(keys).as_py() == len(keys)
        and not may_be_known(connection, base.paths("files"))
    ):
        connection.execute(statement("all_new"))
        return
    view_ledger(connection, base.paths("files"))
    connection.execute("create or replace temp view ledger as from files")
    connection.execute("set variable read_anew = $1", [read_anew])
    connection.execute(statement("resolve"))


def _counts(connection: duckdb.DuckDBPyConnection, files: pa.Table) -> Counts:
    outcomes = connection.execute("select outcome, count(*) from verdict group by all").fetchall()
    unreachable = connection.execute(
        "select path, reason from verdict join staged using (path) "
        "where is_unreachable order by path"
    ).fetchall()
    readers = Counter(files["reader"].drop_null().to_pylist())
    return Counts(Counter(dict(outcomes)), readers, unreachable)


def remove_rows(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, changes: dict[str, Change]
) -> None:
    """Copy the parts that have rows of touched files, without these rows."""
    connection.execute(
        "create or replace temp table gone as "
        "select instance_id from touched where instance_id is not null"
    )
    if connection.execute("select count(*) from touched").fetchall() == [(0,)]:
        return
    are_damaged = bool(changes["vendor_payloads"].remove)
    for table, condition, select in (
        ("files", "touched using (path)", "kept_files"),
        *(
            (table.name, "gone using (instance_id)", table.without_gone)
            for table in tables.REGISTRY
            if table.goes_with == "instance_id"
        ),
    ):
        connection.execute("set variable parts = $1", [base.paths(table)])
        names = connection.execute(
            "select distinct filename from read_parquet(getvariable('parts'), filename = true) "
            f"semi join {condition}"
        ).fetchall()
        for (filename,) in sorted(names):
            part = os.path.relpath(filename, layout.table_folder(base.root, table))
            changes[table].remove.append(part)
            _copy_part(connection, base.root, table, part, select, changes[table])
        if table == "vendor_payloads" and (names or are_damaged):
            _release(connection, [*(filename for (filename,) in names), base.empty(table)])
            if are_damaged:
                _release_lost(connection, base)
            _drop_values(connection, base, changes)


def _drop_values(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, changes: dict[str, Change]
) -> None:
    """Remove the values of released payloads from all parts, as compaction may have moved them."""
    connection.execute("set variable parts = $1", [base.paths("vendor_values")])
    names = connection.execute(
        "select distinct filename from read_parquet(getvariable('parts'), filename = true) "
        "semi join released using (payload)"
    ).fetchall()
    for (filename,) in sorted(names):
        part = os.path.relpath(filename, layout.table_folder(base.root, "vendor_values"))
        changes["vendor_values"].remove.append(part)
        _copy_part(
            connection, base.root, "vendor_values", part,
            tables.named("vendor_values").without_gone, changes["vendor_values"],
        )  # fmt: skip


def _release(connection: duckdb.DuckDBPyConnection, payloads: list[str]) -> None:
    """Fill ``released`` with the payloads that occur only in instances in ``gone``.

    All instances with a payload are in one part of ``vendor_payloads``.
    """
    connection.execute("set variable part = $1", [payloads])
    connection.execute(f"create or replace temp table released as {statement('released')}")


def _release_lost(connection: duckdb.DuckDBPyConnection, base: Snapshot) -> None:
    """Add the payloads of damaged parts to ``released``; they are read again under other numbers.

    Their values would belong to no instance, and so stay when it is forgotten.
    """
    connection.execute("set variable parts = $1", [base.paths("vendor_values")])
    connection.execute("set variable left_parts = $1", [base.paths("vendor_payloads")])
    connection.execute(f"insert into released {statement('lost_payloads')}")


def add_staged_rows(
    connection: duckdb.DuckDBPyConnection, root: Path, batch: str, staged: list[Staged],
    instances: pa.Table, changes: dict[str, Change],
) -> list[tuple[str, Part]]:  # fmt: skip
    """Add the staged rows, without those of instances stored from another file.

    Returns the staged parts that were copied and are no longer needed.
    """
    connection.execute(
        "create or replace temp table gone as select instance_id from verdict "
        "where instance_id is not null and status is distinct from 'ingested'"
    )
    gone = connection.sql("from gone").to_arrow_table()["instance_id"]
    copied = []
    for portion in staged:
        held = pc.is_in(gone, portion.files["instance_id"])
        loses = pc.any(held).as_py()
        # If an earlier file of the portion holds an instance, its elements were never staged.
        loses_rows = pc.any(pc.and_(held, pc.invert(pc.is_in(gone, portion.left_out)))).as_py()
        if loses and "vendor_payloads" in portion.parts:
            payloads = portion.parts["vendor_payloads"].path
            _release(connection, [str(layout.table_folder(root, "vendor_payloads") / payloads)])
        for table in tables.REGISTRY:
            part = portion.parts.get(table.name) if table.is_staged else None
            if part is None:
                continue
            change = changes[table.name]
            if loses_rows if table.name == "elements" else loses:
                _copy_part(connection, root, table.name, part.path, table.without_gone, change)
                copied.append((table.name, part))
            else:
                change.add.append(part)
    kept = instances.filter(pc.invert(pc.is_in(instances["instance_id"], gone)))
    if kept.num_rows:
        changes["instances"].add.append(write_small(root, "instances", batch, 0, kept))
    return copied


def _copy_part(
    connection: duckdb.DuckDBPyConnection, root: Path, table: str, part: str, select: str,
    change: Change,
) -> None:  # fmt: skip
    folder = layout.table_folder(root, table)
    connection.execute("set variable part = $1", [str(folder / part)])
    name = layout.part_name(layout.batch_of_part(part), 0)
    copy = copy_part(connection, statement(select), folder, name)
    if copy.rows:
        change.add.append(copy)
    else:
        layout.drop_parts(root, [(table, copy)])
