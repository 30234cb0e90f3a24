"""``rules``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.table import Table

from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed, send_text
from warehouse.counted import counted
from warehouse.outputs import format_of

rules = App(
    name="rules",
    help="Rules that classify MR sequences, for the view `sequence_types`.\n\n"
    "Example: `dicom-warehouse rules list -o mine.csv`",
)


@rules.command
def add(file: Path, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    r"""Add rules from a CSV file; a rule of the same name is replaced.

    Fields: rank, rule, sequence_type, confidence (high, medium or low; high if left out), modality
    (MR if left out), attribute, test, values. An attribute is a DICOM keyword, a tag, or a column
    of the view `sequence_facts`. All lines with the same rule name must hold. The first rule that
    holds, by rank, gives the type of a series. Alternatives are separated by `|`, the
    values of one by `\`; tests are is, has, has not, contains, contains not, word, word not, above,
    below. A rule without sequence_type is turned off.

    Example: `dicom-warehouse rules add mine.csv`
    """
    count = opened(warehouse).upkeep.add_rules(file)
    if as_json:
        send_document({"rules": count})
        return 0
    console().print(f"{counted(count, 'rule')} added", highlight=False)
    return 0


@rules.command(name="list")
def list_rules(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Annotated[Literal["table", "csv"] | None, Parameter(name="--format")] = None,
    output: Output = None,
    force: Force = False,
) -> int:
    """List all rules in the order of evaluation.

    Example: `dicom-warehouse rules list`

    Parameters
    ----------
    form
        A table for people, or CSV as `rules add` reads it.
    """
    chosen = format_of(output, form, {".csv": "csv"}) if output else form or "table"
    known = opened(warehouse).upkeep.rules()
    if chosen == "csv":
        from warehouse.store.rules import written

        send_text(written(known), output, force=force)
        return 0
    grid = Table(
        "rank", "rule", "type", "confidence", "modality", "holds if", "source",
        box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for rule in known:
        holds = " and ".join(
            f"{c.attribute} {c.test} {c.values or 'empty'}" for c in rule.conditions
        )
        cells = (
            f"{rule.rank:g}",
            rule.name,
            rule.sequence_type,
            rule.confidence,
            rule.modality,
            holds,
            rule.source,
        )
        grid.add_row(*map(printed, cells))
    console().print(grid, highlight=False)
    return 0
