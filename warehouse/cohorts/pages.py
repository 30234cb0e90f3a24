"""Keyset pagination: the next page is found by the values of the last row.

In: the arguments of ``select``, and the cursor of another page. Out: ``Page``. With OFFSET, the
database would count the skipped rows again for each page, and pages would shift when rows are
added; a condition on the values of the sort attributes has neither problem.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from warehouse.cohorts.filters import narrowed, run_query, sorting
from warehouse.errors import QueryFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.query import Query

_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of rows."""

    rows: pa.Table
    count: int
    """Number of rows in the whole list."""
    next: str | None
    """Cursor of the next page; None if this is the last."""
    previous: str | None


def page(
    catalog: Catalog, table: str, conditions: Mapping[str, Any], *, search: str | None = None,
    order: str | Iterable[str] = (), columns: Sequence[str] = (), limit: int = 25,
    cursor: str | None = None,
) -> Page:  # fmt: skip
    """Return a page of the rows that meet every condition.

    Parameters
    ----------
    catalog, table, conditions, search, order, columns
        See ``warehouse.cohorts.filters.select``.
    limit
        Rows per page, at least 1.
    cursor
        ``next`` or ``previous`` of a page with the same order; without one, the first page.

    Raises
    ------
    UnknownTable, UnknownFilter
    UsageError
        The cursor does not belong to this list.
    """
    query = narrowed(catalog, table, conditions, search=search)
    counted = fetched(catalog, f"select count(*) from ({query.sql((), ())})", query.values)
    names = sorting(query, order)
    sorts = [_Sort(query, name) for name in names]
    backwards, values = _read(cursor, len(sorts)) if cursor else (False, None)
    if values is not None:
        query.where.append(_behind(query, sorts, values, backwards=backwards))
    sql = query.sql(columns, [sort.order(backwards=backwards) for sort in sorts])
    keys = ", ".join(f"{sort.sql} as sort_{n}" for n, sort in enumerate(sorts))
    sql = sql.replace(" from ", f", {keys} from ", 1)
    found = run_query(catalog, f"{sql} limit {limit + 1}", query.values).to_arrow_table()
    has_more = found.num_rows > limit
    found = found.slice(0, limit)
    if backwards:
        found = found.take(pa.array(range(found.num_rows - 1, -1, -1), pa.int64()))
    ends = found.select([f"sort_{n}" for n in range(len(sorts))])
    rows = found.select(range(found.num_columns - len(sorts)))
    return Page(
        rows,
        int(counted[0][0]),
        _cursor(ends, -1, "n") if backwards or has_more else None,
        _cursor(ends, 0, "p") if (has_more if backwards else values is not None) else None,
    )


def fetched(catalog: Catalog, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return all rows of a query; a relation would plan it twice.

    Raises
    ------
    QueryFailed
    """
    try:
        return catalog.session().execute(sql, values or None).fetchall()
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error


class _Sort:
    """A sort attribute; rows without a value come last."""

    def __init__(self, query: Query, name: str) -> None:
        self.is_descending = name.startswith("-")
        plain = name.removeprefix("-")
        self.sql = query.value(plain)
        found = query.attribute(plain)
        self.type = f"{found.type}[]" if found.is_list else found.type

    def order(self, *, backwards: bool) -> str:
        """Return the ORDER BY term."""
        direction = "desc" if self.is_descending != backwards else "asc"
        return f"{self.sql} {direction} nulls {'first' if backwards else 'last'}"

    def is_behind(self, value: str | None, *, backwards: bool) -> str:
        """Return the condition that a row follows a row with this value."""
        if value is None:
            return f"{self.sql} is not null" if backwards else "false"
        sign = "<" if self.is_descending != backwards else ">"
        test = f"{self.sql} {sign} {value}"
        return test if backwards else f"({test} or {self.sql} is null)"


def _behind(query: Query, sorts: list[_Sort], values: list[Any], *, backwards: bool) -> str:
    """Return the condition that a row follows the row with these values."""
    bound = [
        None if value is None else f"cast({query.bind(value)} as {sort.type})"
        for sort, value in zip(sorts, values, strict=True)
    ]
    tests, equal = [], list[str]()
    for sort, value in zip(sorts, bound, strict=True):
        tests.append(" and ".join([*equal, sort.is_behind(value, backwards=backwards)]))
        equal.append(f"{sort.sql} is not distinct from {value or 'null'}")
    return f"({' or '.join(f'({test})' for test in tests)})"


def _cursor(ends: pa.Table, row: int, direction: str) -> str | None:
    if not ends.num_rows:
        return None
    values = [column[row].as_py() for column in ends.columns]
    text = json.dumps([direction, *values], default=_text)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(value: object) -> str:
    """Return a value as text that DuckDB casts back to its type."""
    return "".join(f"\\x{b:02X}" for b in value) if isinstance(value, bytes) else str(value)


def _read(cursor: str, count: int) -> tuple[bool, list[Any]]:
    try:
        if len(cursor) > _LONGEST:
            raise UsageError("the cursor is too long")
        padded = cursor + "=" * (-len(cursor) % 4)
        decoded = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        direction, *values = decoded
        known = all(isinstance(v, str | int | float | list | None) for v in values)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise UsageError("the cursor does not belong to this list; begin without one") from None
    if direction not in {"n", "p"} or len(values) != count or not known:
        raise UsageError("the cursor does not belong to this list; begin without one")
    return direction == "p", values
