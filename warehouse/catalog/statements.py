"""Check that a text is exactly one SQL statement."""

from __future__ import annotations

import duckdb

from warehouse.errors import UsageError


def require_one(query: str) -> None:
    """Check that there is exactly one statement; DuckDB would return only the last result.

    Raises
    ------
    UsageError
    duckdb.Error
        The text is not valid SQL.
    """
    count = len(duckdb.extract_statements(query))
    if count != 1:
        raise UsageError(
            f"{count:,} statements are given, but a query is one; run them one at a time"
            if count
            else "no statement is given; use SELECT, FROM, DESCRIBE or SHOW"
        )
