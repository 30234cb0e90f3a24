"""Check that a text is exactly one SQL statement, and that it only asks for rows."""

from __future__ import annotations

import duckdb

from warehouse.errors import UsageError

_QUESTIONS = {"SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI"}
_WRITING = {"copy", "create", "set"}
"""First words of statements that may contain a PIVOT and do not only return rows."""


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


def require_question(query: str) -> None:
    """Check that a statement returns rows and does nothing else, for a session of one statement.

    ``COPY`` and ``EXPORT`` would replace files without being asked; of a table that is created, or
    a setting, nothing would remain. Invalid SQL passes: its query says what is wrong.

    Raises
    ------
    UsageError
    """
    try:
        kinds = [statement.type.name for statement in duckdb.extract_statements(query)]
    except duckdb.Error:
        return
    if len(kinds) != 1:
        return  # ``require_one`` says so
    begins = [at for at, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    # DuckDB counts bytes.
    (first, *_) = [*query.encode()[begins[0] :].split(None, 1), b""]
    word = first.decode(errors="replace").lower()
    # PIVOT without a list of values is MULTI, and so is any statement that contains it.
    if not {*kinds} <= _QUESTIONS or ("MULTI" in kinds and word in _WRITING):
        raise UsageError(
            f"{word.upper()} is refused: a statement must only return rows; use SELECT, FROM,"
            " DESCRIBE or SHOW, and write the answer to a file with --output FILE"
        )
