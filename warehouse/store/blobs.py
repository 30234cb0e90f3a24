"""Deduplicate long binary values: choose which ones a commit adds to ``blobs`` or removes.

In: the staged values, and the parts of ``elements`` that are added and removed. Out: parts and
changes of ``blobs``. If no file of a batch is known, a worker writes the parts before the lock is
taken (``ready.py``), and the commit checks only parts that were added since. If files are known,
the references to each value are determined under the lock.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.elements.schema import BLOBS, INLINE_BYTES
from warehouse.errors import StoreDamaged, WriteFailed
from warehouse.sqlfiles import statement
from warehouse.store import layout, tables
from warehouse.store.stage import write_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.store.delta import Change, Snapshot
    from warehouse.store.layout import Part
    from warehouse.store.stage import Staged

_DIGESTS_AT_ONCE = 100_000
"""Number of stored digests compared at a time: 10 MB."""

_GROUP_BYTES = 16 << 20
"""Bytes of values in a row group, and maximum in memory in addition to one staged row group."""


@dataclass(frozen=True, slots=True)
class NewValues:
    """The long values of a batch that are not stored in given parts of ``blobs``."""

    parts: list[Part]
    """Parts with each new value once; no table references them yet."""
    compared_parts: frozenset[str]
    """The parts of ``blobs`` that the values were compared with."""


def new_values(
    root: Path, batch: str, staged: Iterable[Staged], compared_parts: Sequence[str]
) -> NewValues:
    """Write the staged values that are not in these parts of ``blobs``.

    Raises
    ------
    StoreDamaged
        One of these parts is missing or cannot be read.
    WriteFailed
    """
    folder = layout.table_folder(root, "blobs")
    sources = [part.path for _, part in staged_values(staged)]
    if not sources:
        return NewValues([], frozenset(compared_parts))
    try:
        digests = pa.chunked_array(_digests_in(folder / source for source in sources)).unique()
    except OSError as error:
        raise WriteFailed("rows of blobs", error) from error
    wanted = _without_stored(root, digests, compared_parts)
    return NewValues(_write_values(root, batch, sources, wanted), frozenset(compared_parts))


def staged_values(staged: Iterable[Staged]) -> list[tuple[str, Part]]:
    """Return the staged parts of ``blobs``, which are temporary: no version references them."""
    return [("blobs", some.parts["blobs"]) for some in staged if "blobs" in some.parts]


def are_still_new(base: Snapshot, values: NewValues) -> bool:
    """Return whether a version still lacks these values and still has the compared parts.

    Raises
    ------
    StoreDamaged
    """
    now = base.parts["blobs"]
    if not values.compared_parts.issubset(now):
        return False
    came = [part for part in now if part not in values.compared_parts]
    if not came or not values.parts:
        return True
    folder = layout.table_folder(base.root, "blobs")
    digests = pa.concat_arrays(_digests_in(folder / part.path for part in values.parts))
    return len(_without_stored(base.root, digests, came)) == len(digests)


def update_blobs(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, batch: str, staged: list[Staged],
    changes: dict[str, Change],
) -> None:  # fmt: skip
    """Add long values referenced by new rows, and remove values that are no longer referenced."""
    elements = layout.table_folder(base.root, "elements")
    empty = [base.empty("elements")]
    added = [str(elements / part.path) for part in changes["elements"].add]
    removed = [
        str(elements / part) for part in changes["elements"].remove
        if part in base.parts["elements"]
    ]  # fmt: skip
    connection.execute("set variable blobs_files = $1", [base.paths("blobs")])
    connection.execute("set variable added = $1", [added + empty])
    connection.execute("set variable inline_bytes = $1", [INLINE_BYTES])
    if held := staged_values(staged):
        wanted = connection.sql(statement("new_blobs")).to_arrow_table()["sha256"]
        changes["blobs"].add.extend(
            _write_values(base.root, batch, [part.path for _, part in held], wanted)
        )
        layout.drop_parts(base.root, held)
    if removed:
        kept = [path for path in base.paths("elements") if path not in removed]
        connection.execute("set variable removed = $1", [removed])
        connection.execute("set variable kept = $1", [kept + added])
        _drop_blobs(connection, base, changes["blobs"])


def _drop_blobs(connection: duckdb.DuckDBPyConnection, base: Snapshot, change: Change) -> None:
    """Remove long values that were referenced only by removed rows."""
    connection.execute(f"create or replace temp table orphans as {statement('orphan_blobs')}")
    connection.execute("set variable parts = $1", [base.paths("blobs")])
    names = connection.execute(
        "select distinct filename from read_parquet(getvariable('parts'), filename = true) "
        "semi join orphans using (sha256)"
    ).fetchall()
    for (filename,) in names:
        part = os.path.relpath(filename, layout.table_folder(base.root, "blobs"))
        connection.execute("set variable part = $1", [filename])
        kept = connection.sql(
            "select sha256 from read_parquet(getvariable('part')) anti join orphans using (sha256)"
        ).to_arrow_table()["sha256"]
        change.remove.append(part)
        change.add.extend(_write_values(base.root, layout.batch_of_part(part), [part], kept))


def _without_stored(root: Path, digests: pa.Array, parts: Sequence[str]) -> pa.Array:
    """Return the digests that are in none of these parts of ``blobs``.

    Digests of many parts are looked up together, because each look-up builds a hash table.
    """
    folder = layout.table_folder(root, "blobs")
    together: list[pa.Array] = []
    count = 0
    for part in parts:
        try:
            for some in _digests_in([folder / part]):
                together.append(some)
                count += len(some)
                if count >= _DIGESTS_AT_ONCE:
                    digests = _without(digests, together)
                    together, count = [], 0
        except (OSError, pa.ArrowException) as error:
            raise StoreDamaged(root, f"blobs/{part} cannot be read") from error
    return _without(digests, together) if together else digests


def _without(digests: pa.Array, held: list[pa.Array]) -> pa.Array:
    existing = pa.chunked_array(held)
    # Usually no digest is stored yet; looking up the stored ones in the new ones is then cheaper.
    found = existing.filter(pc.is_in(existing, digests))
    return digests.filter(pc.invert(pc.is_in(digests, found))) if len(found) else digests


def _digests_in(parts: Iterable[Path]) -> Iterator[pa.Array]:
    for part in parts:
        with pq.ParquetFile(part) as parquet:
            batches = parquet.iter_batches(_DIGESTS_AT_ONCE, columns=["sha256"], use_threads=False)
            for rows in batches:
                yield rows.column(0)


def _write_values(
    root: Path, batch: str, sources: Iterable[str], wanted: pa.Array | pa.ChunkedArray
) -> list[Part]:
    """Copy the wanted values of some parts of ``blobs`` to new parts, each value once."""
    folder = layout.table_folder(root, "blobs")
    values = _pieces(folder, sources, wanted)
    made: list[Part] = []
    try:
        for first in values:
            write = partial(_write_part, itertools.chain([first], values))
            part = write_part(root, "blobs", batch, len(made), write, 0)
            made.append(replace(part, rows=pq.read_metadata(folder / part.path).num_rows))
    except BaseException as error:
        layout.drop_parts(root, [("blobs", part) for part in made])
        if isinstance(error, OSError):
            raise WriteFailed("rows of blobs", error) from error
        raise
    return made


def _write_part(values: Iterable[pa.Table], path: str) -> None:
    """Write values until a part is full."""
    size = 0
    with pq.ParquetWriter(path, BLOBS, compression="zstd") as writer:
        for rows in values:
            writer.write_table(rows)
            size += rows.nbytes
            if size >= tables.named("blobs").part_size:
                return


def _pieces(
    folder: Path, sources: Iterable[str], wanted: pa.Array | pa.ChunkedArray
) -> Iterator[pa.Table]:
    """Yield the wanted values in tables that are large enough for a row group."""
    held: list[pa.Table] = []
    size = 0
    for rows in _values_in(folder, sources, wanted):
        held.append(rows)
        size += rows.nbytes
        if size >= _GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def _values_in(
    folder: Path, sources: Iterable[str], wanted: pa.Array | pa.ChunkedArray
) -> Iterator[pa.Table]:
    """Yield the first occurrence of each wanted value.

    Parts are read by row group, because a part may have hundreds of MiB.
    """
    for source in sources:
        with pq.ParquetFile(folder / source, memory_map=True) as parquet:
            for group in range(parquet.num_row_groups):
                if not len(wanted):
                    return
                rows = parquet.read_row_group(group, columns=BLOBS.names).cast(BLOBS)
                is_wanted = pc.is_in(rows["sha256"], wanted)
                # Usually all values are needed; then copying them is avoided.
                if not pc.all(is_wanted).as_py():
                    rows = rows.filter(is_wanted)
                if rows.num_rows:
                    wanted = wanted.filter(pc.invert(pc.is_in(wanted, rows["sha256"])))
                    yield rows
