"""Write the parts of a batch in advance, assuming that none of its files is known.

In: staged rows and long values. Out: ``Ready``: parts of ``instances``, ``files`` and ``blobs``
that no table references yet, and the facts that the commit needs about them. In nearly all batches
no file is known by path or instance, and then these parts are exactly what the batch adds.
Therefore a worker writes them without the lock, and the commit only checks that assumption. If it
is false, the commit decides file by file. Long values are checked separately, because a value may
be known even if its file is not (docs/decisions/0024-what-a-commit-costs.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import StoreDamaged
from warehouse.store import layout, tables
from warehouse.store.blobs import new_values
from warehouse.store.duck import connect
from warehouse.store.known import hashes_of
from warehouse.store.rows import ROW_GROUP_ROWS
from warehouse.store.schema import FILES
from warehouse.store.stage import write_part, write_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from warehouse.store.blobs import NewValues
    from warehouse.store.layout import Part
    from warehouse.store.stage import Staged


@dataclass(frozen=True, slots=True)
class Ready:
    """Parts of a batch; they are valid if no file of the batch is known."""

    parts: dict[str, Part]
    """Part of ``files`` and, if there are instances, of ``instances``."""
    values: NewValues | None
    """New long values; None if a part to compare with was missing."""
    hashes: NDArray[np.uint64]
    """Sorted hashes of paths and identities, by which the commit checks whether any is known."""
    outcomes: dict[str, int]
    """created, rejected → number of files."""
    readers: dict[str, int]

    @property
    def written(self) -> list[tuple[str, Part]]:
        """All parts with their tables."""
        values = self.values.parts if self.values else []
        return [*self.parts.items(), *(("blobs", part) for part in values)]


def make_ready(
    root: Path, batch: str, staged: Sequence[Staged], compared_parts: Sequence[str],
    connection: duckdb.DuckDBPyConnection | None = None,
) -> Ready | None:  # fmt: skip
    """Write the parts of a batch; None if it has no file or repeats an instance.

    Parameters
    ----------
    root
        Folder of the warehouse.
    batch
        Partition of its parts.
    staged
        Portions staged by the workers.
    compared_parts
        Parts of ``blobs`` whose values are left out: the newest ones, listed without a lock.
    connection
        A connection of ``warehouse.store.duck``; without one, a worker opens its own.

    Raises
    ------
    WriteFailed
    """
    files = files_of(staged)
    keys = files["instance_key"].drop_null()
    if not files.num_rows or pc.count_distinct(keys).as_py() != len(keys):
        return None
    instances = instances_of(staged)
    parts: dict[str, Part] = {}
    try:
        if instances.num_rows:
            parts["instances"] = write_small(root, "instances", batch, 0, instances)
        ordered = files.take(pc.sort_indices(files["path"]))
        parts["files"] = write_part(
            root, "files", batch, 0, partial(_write_files, ordered), files.num_rows
        )
        hashes = _hashes(root, parts["files"], connection)
        # Written last: nothing can fail afterwards, so it need not be removed.
        values = _values(root, batch, staged, compared_parts)
    except BaseException:
        layout.drop_parts(root, parts.items())
        raise
    outcomes = {
        "created" if status == "ingested" else status: number
        for status, number in _counted(files["status"]).items()
    }
    return Ready(parts, values, hashes, outcomes, _counted(files["reader"]))


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    """Return how often each value occurs."""
    counted = pc.value_counts(column.drop_null())
    return dict(zip(*(part.to_pylist() for part in counted.flatten()), strict=True))


def _hashes(
    root: Path, part: Part, connection: duckdb.DuckDBPyConnection | None
) -> NDArray[np.uint64]:
    path = str(layout.table_folder(root, "files") / part.path)
    with (_of_worker() if connection is None else connection).cursor() as own:
        return np.sort(hashes_of(own, [path]))


@cache
def _of_worker() -> duckdb.DuckDBPyConnection:
    """Return the single-threaded database of this process; opening one takes 50 ms."""
    return connect(threads=1)


def _values(
    root: Path, batch: str, staged: Sequence[Staged], compared_parts: Sequence[str]
) -> NewValues | None:
    """Write the long values that the warehouse does not have yet."""
    try:
        return new_values(root, batch, staged, compared_parts)
    except StoreDamaged:
        # No lock is held, so parts may have been replaced meanwhile; the commit checks that.
        return None


def files_of(staged: Iterable[Staged]) -> pa.Table:
    """Return the rows of ``files``, as staged."""
    return pa.concat_tables([FILES.empty_table(), *(some.files for some in staged)])


def instances_of(staged: Iterable[Staged]) -> pa.Table:
    """Return the rows of ``instances``, sorted by id."""
    nothing = tables.named("instances").stored_schema.empty_table()
    made = pa.concat_tables([nothing, *(some.instances for some in staged)])
    ids = made["instance_id"].to_numpy()
    # They are usually sorted already, and sorting copies all columns.
    return made if (np.diff(ids) > 0).all() else made.take(np.argsort(ids))


_ENCODED = {
    # Consecutive paths share most of their characters.
    "path": "DELTA_BYTE_ARRAY",
    # Values that differ in every file gain nothing from a dictionary.
    "instance_key": "DELTA_LENGTH_BYTE_ARRAY",
    "SOPInstanceUID": "DELTA_LENGTH_BYTE_ARRAY",
    "instance_id": "DELTA_BINARY_PACKED",
    "modified_at": "DELTA_BINARY_PACKED",
}


def _write_files(rows: pa.Table, path: str) -> None:
    pq.write_table(
        rows, path, compression="zstd", row_group_size=ROW_GROUP_ROWS, store_schema=False,
        data_page_version="2.0", column_encoding=_ENCODED,
        use_dictionary=[name for name in rows.column_names if name not in _ENCODED],
    )  # fmt: skip
