"""Long values, each stored once → those that a new version adds, and those that it drops.

In: what was staged, and the parts of ``elements`` that come and go. Out: changes of ``blobs``. All
within a commit, under its lock: only there is known which rows point to a value.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.elements.schema import BLOBS, INLINE_BYTES
from warehouse.errors import WriteFailed
from warehouse.sqlfiles import statement
from warehouse.store import layout
from warehouse.store.layout import Part

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from warehouse.store.delta import Change, Snapshot
    from warehouse.store.stage import Staged


def settle_blobs(
    connection: duckdb.DuckDBPyConnection, base: Snapshot, batch: str, staged: list[Staged],
    changes: dict[str, Change], *, is_whole: bool = False,
) -> None:  # fmt: skip
    """Store each long value once that some row of the new version points to, and no other.

    With ``is_whole`` every row that was staged is taken over. What points to the staged values then
    need not be asked of all these rows: no others were staged.
    """
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
    blobs = layout.table_folder(base.root, "blobs")
    held = [str(blobs / some.parts["blobs"].path) for some in staged if "blobs" in some.parts]
    connection.execute("set variable staged_blobs = $1", [held])
    new = statement("new_staged_blobs" if is_whole else "new_blobs")
    wanted: pa.ChunkedArray | None = None
    for number, portion in enumerate(staged):
        part = portion.parts.get("blobs")
        if part is not None:
            if wanted is None:
                wanted = connection.sql(new).to_arrow_table()["sha256"]
            wanted = _copy_blobs(
                base.root, part.path, layout.part_name(batch, number), wanted, changes["blobs"]
            )
            layout.drop_parts(base.root, [("blobs", part)])
    if removed:
        kept = [path for path in base.paths("elements") if path not in removed]
        connection.execute("set variable removed = $1", [removed])
        connection.execute("set variable kept = $1", [kept + added])
        _drop_blobs(connection, base, changes["blobs"])


def _drop_blobs(connection: duckdb.DuckDBPyConnection, base: Snapshot, change: Change) -> None:
    """Remove long values that only removed rows pointed to."""
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
        name = layout.part_name(layout.batch_of_part(part), 0)
        _copy_blobs(base.root, part, name, kept, change)


def _copy_blobs(
    root: Path, source: str, target: str, wanted: pa.ChunkedArray, change: Change
) -> pa.ChunkedArray:
    """Write the wanted values of one part to another; return what is still wanted.

    Row group by row group, because these values are the only long ones: a part may hold hundreds
    of MiB.
    """
    folder = layout.table_folder(root, "blobs")
    written = 0
    try:
        with (
            pq.ParquetFile(folder / source, memory_map=True) as parquet,
            pq.ParquetWriter(folder / target, BLOBS, compression="zstd") as writer,
        ):
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, columns=BLOBS.names).cast(BLOBS)
                rows = rows.filter(pc.is_in(rows["sha256"], wanted))
                if rows.num_rows:
                    writer.write_table(rows)
                    written += rows.num_rows
                    wanted = wanted.filter(pc.invert(pc.is_in(wanted, rows["sha256"])))
        size = os.path.getsize(folder / target)
        part = Part(layout.sealed(folder, target), written, size)
    except OSError as error:
        (folder / target).unlink(missing_ok=True)
        raise WriteFailed("rows of blobs", error) from error
    if written:
        change.add.append(part)
    else:
        layout.drop_parts(root, [("blobs", part)])
    return wanted
