"""``docs/data-dictionary.md`` is what the headers of ``sql/`` say."""

from __future__ import annotations

from pathlib import Path

import pytest

from warehouse.catalog.data_dictionary import page
from warehouse.sqlfiles import read_models

PAGE = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def test_the_page_is_up_to_date() -> None:
    if not PAGE.parent.is_dir():
        pytest.skip("docs/ is not in this checkout")
    assert PAGE.read_text(encoding="utf-8") == page(read_models()), "run `make docs`"


def test_every_column_and_parameter_has_a_line() -> None:
    text = page(read_models())
    for model in read_models():
        assert f"| `{model.name}` |" in text or f"[`{model.name}`](#{model.name})" in text
        section = text.partition(f"\n### {model.name}\n")[2].partition("\n### ")[0]
        for column in model.columns:
            description = column.description.replace("|", "\\|")
            assert f"| `{column.name}` | {column.type} | {description} |\n" in section
        for param in model.params:
            assert f"| `{param.name}` | {param.type} | {param.default} |" in section


def test_a_bar_in_a_meaning_does_not_break_its_table() -> None:
    lines = [line for line in page(read_models()).splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {3, 4, 5}
