"""Test by hashes whether any file or instance of a batch may be known already.

In: the files of a commit. Out: False, which is certain, or True. Most batches have no known file or
instance. Checking this with joins would read two columns of the whole ledger for each commit, which
takes several seconds for ten million files, even for a batch of twenty. Therefore a process keeps a
hash of each path and each identity (16 bytes per file), and reads only parts that were added since.
Hashes of removed parts are kept until most parts are removed; they can only cause an unnecessary
join, not a wrong result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    from numpy.typing import NDArray

MOST = 64 << 20
"""Largest number of hashes kept per warehouse (512 MiB); none are kept for a larger warehouse."""

_WAREHOUSES = 16

_kept: dict[str, _Hashes] = {}
"""Path of a warehouse's part of ``files`` without rows → hashes of its other parts."""

_asked: dict[str, NDArray[np.uint64]] = {}
"""Part of ``files`` that was about to be committed → its hashes, which need not be read again."""


@dataclass(frozen=True, slots=True)
class _Hashes:
    """Hashes of the paths and identities in some parts of ``files``."""

    parts: frozenset[str]
    runs: tuple[NDArray[np.uint64], ...]
    """Sorted arrays, each at least twice as long as the next one."""


def may_be_known(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[str],
    adds: tuple[str, NDArray[np.uint64]] | None = None,
) -> bool:  # fmt: skip
    """Return whether the warehouse may know a path or an instance of a batch.

    Parameters
    ----------
    connection
        Connection with the files in the table ``staged``.
    parts
        Result of ``warehouse.store.delta.newest_files``.
    adds
        Used instead of ``staged``: a part with the files, which the next version may reference, and
        its hashes.
    """
    kept = _extended(connection, parts)
    if kept is None:
        return True
    if adds is None:
        connection.execute("create or replace temp view hashed as from staged")
        asked = _hashes(connection)
    else:
        asked = adds[1]
    if any(_have_common(run, asked) for run in kept.runs):
        return True
    if adds is not None:
        if len(_asked) >= _WAREHOUSES:
            _asked.clear()
        _asked[adds[0]] = asked
    return False


def _extended(connection: duckdb.DuckDBPyConnection, parts: Sequence[str]) -> _Hashes | None:
    """Return the hashes of these parts, possibly with those of parts that were replaced since."""
    *full, empty = parts
    now = frozenset(full)
    before = _kept.get(empty, _Hashes(frozenset(), ()))
    # After a compaction all hashes would refer to removed parts.
    if 2 * len(before.parts & now) < len(before.parts):
        before = _Hashes(frozenset(), ())
    runs = list(before.runs)
    if new := [part for part in full if part not in before.parts]:
        asked = ((part, _asked.pop(part, None)) for part in new)
        hashes = {part: found for part, found in asked if found is not None}
        if left := [part for part in new if part not in hashes]:
            hashes[""] = hashes_of(connection, left)
        runs.append(np.sort(np.concatenate(list(hashes.values()))))
    while len(runs) > 1 and 2 * len(runs[-1]) > len(runs[-2]):
        last = runs.pop()
        runs[-1] = np.sort(np.concatenate([runs[-1], last]))
    if sum(map(len, runs)) > MOST:
        _kept.pop(empty, None)
        return None
    if empty not in _kept and len(_kept) >= _WAREHOUSES:
        _kept.clear()
    # Replace the entry in one step, because threads of a server commit to different warehouses.
    _kept[empty] = _Hashes(now, tuple(runs))
    return _kept[empty]


def hashes_of(connection: duckdb.DuckDBPyConnection, parts: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of each path and each instance key in parts of ``files``, unsorted."""
    connection.execute("set variable parts = $1", [parts])
    connection.execute(
        "create or replace temp view hashed as from read_parquet(getvariable('parts'))"
    )
    return _hashes(connection)


def _hashes(connection: duckdb.DuckDBPyConnection) -> NDArray[np.uint64]:
    found: NDArray[np.uint64] = connection.execute(statement("hashes")).fetchnumpy()["hash"]
    return found


def _have_common(run: NDArray[np.uint64], asked: NDArray[np.uint64]) -> bool:
    place = np.searchsorted(run, asked)
    inside = place < len(run)
    return bool((run[place[inside]] == asked[inside]).any())
