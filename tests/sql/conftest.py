"""Fixtures of the tests of views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flat import flat

if TYPE_CHECKING:
    import duckdb

    import warehouse


@pytest.fixture(scope="session")
def tables_of_sample(
    sample: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> duckdb.DuckDBPyConnection:
    """The rows of every view of the sample, each as a table."""
    return flat(tmp_path_factory, "sample", sample)
