"""Cache the range of instance ids of each part, from its Parquet statistics.

In: the parts of a table. Out: the smallest and the largest id in each. With these ranges, a query
about few instances opens only the files that may have their rows.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_left
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import StoreDamaged
from warehouse.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from warehouse.store.delta import Snapshot

TABLES = ("instances", "elements", "files")
"""Tables from which the materialized views are computed."""

Span = tuple[int, int]
"""First and last id."""

Spans = dict[str, Span]
"""Part → range of the ids it may have rows of."""

_ANY = (0, (1 << 63) - 1)
_NONE = (1, 0)


def read_spans(folder: Path, table: str) -> Spans:
    """Return the cached ranges of a table.

    Raises
    ------
    OSError, ValueError, TypeError
        They are not cached, or cannot be read.
    """
    noted = dict(json.loads((folder / f"{table}.json").read_text("utf-8")))
    return {part: (int(first), int(last)) for part, (first, last) in noted.items()}


def note_spans(folder: Path, table: str, spans: Spans) -> None:
    """Cache the ranges of the parts of a table."""
    (folder / f"{table}.json").write_text(json.dumps(spans), "utf-8")


def drop_spans(folder: Path) -> bool:
    """Delete the cached ranges, which can take megabytes; return whether there were any."""
    was_there = False
    for table in TABLES:
        with contextlib.suppress(OSError):
            (folder / f"{table}.json").unlink()
            was_there = True
    return was_there


def spans_of(snapshot: Snapshot, table: str, known: Mapping[str, Span]) -> Spans:
    """Return the ranges of all parts of a table; open the file of each part that is not in known.

    Raises
    ------
    StoreDamaged
        One of these files is missing or not Parquet.
    """
    return {
        part: known[part] if part in known else _span(snapshot.root, table, part)
        for part in snapshot.parts[table]
    }


def _span(root: Path, table: str, part: str) -> Span:
    try:
        metadata = pq.read_metadata(layout.table_folder(root, table) / part)
    except (OSError, pa.ArrowException) as error:
        raise StoreDamaged(root, f"{table}/{part} cannot be read") from error
    column = metadata.schema.names.index("instance_id")
    first, last = _ANY[::-1]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not group.num_rows:
            continue
        statistics = group.column(column).statistics
        if statistics is None or not (
            statistics.has_min_max or statistics.null_count == group.num_rows
        ):
            return _ANY
        if statistics.has_min_max:
            first, last = min(first, statistics.min), max(last, statistics.max)
    return (first, last) if first <= last else _NONE


def parts_within(spans: Spans, wanted: Iterable[Span]) -> list[str]:
    """Return the parts that may have rows of instances in these id ranges.

    >>> parts_within({"a": (1, 5), "b": (6, 9), "c": (1, 0)}, [(4, 5)])
    ['a']
    """
    asked = _joined(wanted)
    if not asked:
        return []
    ends = [end for _, end in asked]
    low, high = asked[0][0], ends[-1]
    found = []
    for part, (first, last) in spans.items():
        # New ids are the largest, so nearly all parts are skipped here.
        if last < low or first > high:
            continue
        if max(first, asked[bisect_left(ends, first)][0]) <= last:
            found.append(part)
    return found


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Merge adjacent ranges."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if first > last:
            continue
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
