"""Run every cohort of a warehouse again, as a nightly job.

In: a warehouse. Out: one ``Rerun`` per query, including failed ones. The queries are every cohort
with the parameters of each earlier run, and every saved cohort without a run, with its defaults.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.definitions import definitions
from warehouse.cohorts.runs import Run, run_cohort, runs
from warehouse.errors import WarehouseError
from warehouse.store.marker import require

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rerun:
    """Result of one cohort."""

    cohort: str
    parameters: dict[str, Any]
    run: Run | None = None
    """None if the query could not be run."""
    changed: bool = False
    """Whether the members differ from those of the previous run, or there was no previous run."""
    why_not: str | None = None
    """Why the query could not be run: its text is no longer allowed, or has lost a parameter."""


def rerun_all(root: Path) -> list[Rerun]:
    """Run every cohort on the newest version; a failure of one does not stop the others.

    A query that was already run on this version is not run again.
    """
    require(root)
    before: dict[tuple[str, str], Run] = {}
    for run in sorted(runs(root), key=lambda run: int(run.run.rsplit("-", 1)[1])):
        if not run.made_of:
            before[run.cohort, _text(run.parameters)] = run
    saved = [name for name, cohort in definitions(root).items() if cohort.kind == "saved"]
    asked_bare = {name for name, _ in before}
    questions: list[tuple[str, dict[str, Any], Run | None]] = [
        (name, run.parameters, run) for (name, _), run in sorted(before.items())
    ]
    questions += [(name, {}, None) for name in sorted(saved) if name not in asked_bare]
    return [_again(root, name, given, old) for name, given, old in questions]


def _again(root: Path, name: str, given: dict[str, Any], old: Run | None) -> Rerun:
    try:
        made = run_cohort(root, name, given)
    except WarehouseError as why:
        return Rerun(name, given, why_not=str(why).splitlines()[0])
    return Rerun(name, given, made, old is None or old.digest != made.digest)


def _text(parameters: dict[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)
