"""Where everything lies; the examples in the docstrings run here too."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import small_tables
from warehouse.store import layout, tables

WITH_EXAMPLES = ["warehouse.store.layout", "warehouse.store.duck", "warehouse.dicom.element"]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), extraglobs={"Path": Path})
    assert result.failed == 0
    assert result.attempted > 0


def test_the_example_of_the_drawn_tables_is_true() -> None:
    assert doctest.testmod(small_tables).failed == 0


@given(st.integers(1, 10**9), st.integers(0, 9999))
def test_a_part_knows_its_batch(number: int, chunk: int) -> None:
    batch = layout.batch_name(number)
    assert int(batch) == number
    part = layout.part_name(batch, chunk)
    assert layout.batch_of_part(part) == batch
    assert part != layout.part_name(batch, chunk)


@given(st.integers(1, 10**6))
def test_ids_of_two_batches_never_meet(number: int) -> None:
    first = layout.first_id(layout.batch_name(number))
    behind = layout.first_id(layout.batch_name(number + 1))
    assert behind - first == 1 << layout.ID_BITS


def test_tables_lie_side_by_side() -> None:
    folders = [layout.table_folder(Path("w"), table) for table in tables.names()]
    assert len({folder.parent for folder in folders}) == 1
    assert tables.names()[-1] == "files"
