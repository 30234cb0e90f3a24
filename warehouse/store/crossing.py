"""Arrow tables that are pickled as compressed bytes and decompressed on first access.

Rows read by one worker pass through the committing process to another worker, mostly without being
accessed. Compressing them is faster than pickling copies, because neighboring rows repeat values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence


class Crossing:
    """Picklable tables; after unpickling they are decompressed on first access.

    Parameters
    ----------
    tables
        The tables.

    Examples
    --------
    >>> import pickle
    >>> import pyarrow as pa
    >>> pickle.loads(pickle.dumps(Crossing(pa.table({"a": [1]})))).tables[0]["a"].to_pylist()
    [1]
    """

    __slots__ = ("_packed", "_tables")

    def __init__(self, *tables: pa.Table) -> None:
        self._tables: tuple[pa.Table, ...] | None = tables
        self._packed: Sequence[bytes] | None = None

    @property
    def tables(self) -> tuple[pa.Table, ...]:
        """The tables."""
        if self._tables is None:
            self._tables = tuple(pa.ipc.open_stream(some).read_all() for some in self._packed or ())
        return self._tables

    def __reduce__(self) -> tuple[Any, ...]:
        packed = self._packed
        return _crossed, (list(map(_pack, self.tables)) if packed is None else packed,)


def _crossed(packed: Sequence[bytes]) -> Crossing:
    crossing = Crossing()
    crossing._tables, crossing._packed = None, packed  # noqa: SLF001 - of this module
    return crossing


def _pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # A worker has one core, so threads would only add cost.
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed
