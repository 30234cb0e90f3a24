"""The rows of a question, for tests that ask many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import warehouse


def answer_of(wh: warehouse.Warehouse, query: str, params: object = None) -> list[tuple[Any, ...]]:
    """Return the rows of a question that is planned once.

    The relation of ``Warehouse.sql`` is planned when it is made, and again when its rows are
    fetched; of the larger views, planning is nearly all that a question costs.
    """
    return wh.catalog.connection.execute(query, params).fetchall()
