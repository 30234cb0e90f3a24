"""The rows of a question, for tests that ask many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from warehouse.cohorts.asking import Picked, pick

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import warehouse
    from warehouse.cohorts.runs import Run


def answer_of(wh: warehouse.Warehouse, query: str, params: object = None) -> list[tuple[Any, ...]]:
    """Return the rows of a question that is planned once.

    The relation of ``Warehouse.sql`` is planned when it is made, and again when its rows are
    fetched; of the larger views, planning is nearly all that a question costs.
    """
    return wh.catalog.connection.execute(query, params).fetchall()


def cohort_of(wh: warehouse.Warehouse, name: str, query: str) -> Run:
    """Save a cohort and run it, its query asked once and in this process.

    To ask it twice, in a process with limits, takes a second: tests/cohorts/test_repeatable.py and
    tests/cohorts/test_guard.py are about that.
    """

    def pick_here(_root: Path, sql: str, given: Mapping[str, Any], *_: object) -> Picked:
        return pick(wh.catalog.connection, sql, given)

    wh.save_cohort(name, query)
    with patch("warehouse.cohorts.runs.pick_apart", pick_here):
        return wh.cohort(name)
