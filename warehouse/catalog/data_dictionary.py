"""Generate docs/data-dictionary.md from the headers of ``sql/``.

In: the models. Out: Markdown, which ``make docs`` writes to ``docs/data-dictionary.md``. A test
checks that the page agrees with the headers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from warehouse.sqlfiles import LAYERS, read_models

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from warehouse.sqlfiles import Model

TITLES = {
    "1_long": "Stored tables",
    "2_entities": "Entities",
    "3_features": "Features",
    "4_cohorts": "Cohorts",
    "5_components": "Components",
    "0_macros": "Macros",
}
"""Sections of the page, in order."""

INTRODUCTION = """\
# Data dictionary

Every table and view of a warehouse with the meaning of its columns. `make docs` makes this page of
the headers of `sql/`; `dicom-warehouse describe NAME` prints the same of one table, and comments
carry it into any SQL client. A column named like a DICOM keyword is that attribute; other columns
are derived.
"""


def page(models: Iterable[Model]) -> str:
    """Return the whole page.

    Parameters
    ----------
    models
        Models to describe, in any order.

    Returns
    -------
    str
        Markdown: a table of contents, then a section per view.
    """
    assert set(TITLES) == set(LAYERS)
    layers = {
        layer: sorted((m for m in models if m.layer == layer), key=lambda m: m.name)
        for layer in TITLES
    }
    parts = [INTRODUCTION]
    for layer, members in layers.items():
        parts.append(f"## {TITLES[layer]}\n")
        rows: list[tuple[str, ...]] = [("name", "what it is")]
        rows += [
            (f"[`{m.name}`](#{m.name})" if m.columns else f"`{m.name}`", m.summary) for m in members
        ]
        parts.append(_table(rows))
        parts += [_section(model) for model in members if model.columns or model.params]
    return "\n".join(parts)


def _section(model: Model) -> str:
    lines = [f"### {model.name}\n", model.description + "\n"]
    if model.grain:
        lines.append(f"Grain: {', '.join(f'`{name}`' for name in model.grain)}.")
    if model.depends:
        lines.append(f"Reads {', '.join(f'`{name}`' for name in model.depends)}.")
    if model.grain or model.depends:
        lines.append("")
    if model.params:
        rows: list[tuple[str, ...]] = [("parameter", "type", "default", "meaning")]
        rows += [(f"`{p.name}`", p.type, p.default, p.description) for p in model.params]
        lines.append(_table(rows))
    if model.columns:
        rows = [("column", "type", "meaning")]
        rows += [(f"`{c.name}`", c.type, c.description) for c in model.columns]
        lines.append(_table(rows))
    return "\n".join(lines)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (head, rule, *body)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(read_models()))
