"""``cohort …``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.table import Table

from warehouse import errors
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Root, opened
from warehouse.cli.cohort_export import export
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed
from warehouse.counted import counted, counted_level
from warehouse.escape import escaped
from warehouse.inputs import read_text

if TYPE_CHECKING:
    from warehouse.cohorts.compare import Difference
    from warehouse.cohorts.runs import Run

cohort = App(
    name="cohort",
    help="Cohorts: named queries whose results are stored, compared and exported.\n\n"
    "Example: `dicom-warehouse cohort run ct_thin_slice --max_slice_mm 1.0`\n\n"
    "Example: `dicom-warehouse cohort export ct_thin_slice thin.zip`",
)

Seed = Annotated[int, Parameter(help="Another seed is another draw; the same one always the same.")]


cohort.command(export)


@cohort.command(name="list")
def list_(*, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """List cohorts with their parameters, and stored runs.

    Example: `dicom-warehouse cohort list -w my-warehouse`
    """
    wh = opened(warehouse)
    if as_json:
        listed = [
            {"name": found.name, "kind": found.kind, "description": found.description,
             "parameters": {param.name: param.default for param in found.params}}
            for found in wh.cohorts().values()
        ]  # fmt: skip
        facts = {"cohorts": listed, "runs": [asdict(run) for run in wh.runs()]}
        send_document(facts)
        return 0
    grid = Table("cohort", "kind", "parameters", "what", box=None, header_style="bold")
    for found in wh.cohorts().values():
        given = ", ".join(f"{p.name}={p.default}" for p in found.params)
        summary = found.description.split("\n\n", 1)[0].replace("\n", " ")
        grid.add_row(*map(printed, (found.name, found.kind, given, summary)))
    screen = console()
    screen.print(grid)
    kept = wh.runs()
    if kept:
        names = ("run", "made", "version", "series", "instances", "digest")
        grid = Table(*names, box=None, header_style="bold")
        for run in kept:
            cells = (
                run.run, run.made_at, run.warehouse["version"], run.counts["series"],
                run.counts["instances"], run.digest[:12],
            )  # fmt: skip
            grid.add_row(*map(printed, cells))
        screen.print()
        screen.print(grid)
    return 0


@cohort.command
def run(
    name: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    timeout: float = 600.0,
    as_json: AsJson = False,
    **parameters: str,
) -> int:
    """Run a cohort on the newest version and store its members.

    A saved cohort is asked twice, of the same rows in two orders, and refused where answers differ.

    Example: `dicom-warehouse cohort run ct_thin_slice --max_slice_mm 1.0`

    Parameters
    ----------
    name
        Cohort; see `dicom-warehouse cohort list`.
    timeout
        Seconds that the SQL of a saved cohort may take.
    parameters
        Its parameters by name.
    """
    from warehouse.cohorts.asking import Limits

    given = {key.replace("-", "_"): value for key, value in parameters.items()}
    found = opened(warehouse).cohort(name, limits=Limits(seconds=timeout), **given)
    _report(found, as_json=as_json)
    return 0


@cohort.command
def save(
    name: str, /, *, sql: Path, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:
    """Save a SELECT as a cohort of this warehouse.

    It is one SELECT over the tables of the warehouse that returns `series_key` or another key.
    Parameters are declared in comments at the top:
    `-- param: max_mm | DOUBLE | 1.5 | largest thickness`, and used as `$max_mm`.

    Example: `dicom-warehouse cohort save brains --sql brains.sql`

    Parameters
    ----------
    name
        Name of the cohort: lower-case letters, digits and _.
    sql
        File with the SELECT.
    """
    made = opened(warehouse).save_cohort(name, read_text(sql))
    if as_json:
        send_document({"name": made.name})
        return 0
    print(f"saved {made.name}; run it with: dicom-warehouse cohort run {made.name}")
    return 0


@cohort.command
def show(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Show a run, or the definition of a cohort without runs.

    Example: `dicom-warehouse cohort show ct_thin_slice-0001`
    """
    from warehouse.cohorts.definitions import definition

    wh = opened(warehouse)
    try:
        found = wh.find_run(name)
    except errors.UnknownCohort:
        known = definition(wh.root, name)
        if as_json:
            send_document({
                "name": known.name, "kind": known.kind, "description": known.description,
                "parameters": {param.name: param.default for param in known.params},
                "sql": known.text,
            })  # fmt: skip
            return 0
        print(escaped(known.text, keep="\n\t"), end="")
        return 0
    _report(found, as_json=as_json)
    if not as_json:
        print("\n" + escaped(found.sql, keep="\n\t"))
    return 0


@cohort.command
def diff(
    before: str, after: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:
    """Show which instances differ between two runs, and why.

    Example: `dicom-warehouse cohort diff ct_thin_slice-0001 ct_thin_slice-0002`
    """
    _report_difference(opened(warehouse).compare(before, after), as_json=as_json)
    return 0


@cohort.command
def rerun(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Run the cohort of a run again with the same parameters, and show what has changed.

    Example: `dicom-warehouse cohort rerun ct_thin_slice-0001`
    """
    _report_difference(opened(warehouse).rerun(name), as_json=as_json)
    return 0


def _combine(operation: str, left: str, right: str, name: str, root: str, *, as_json: bool) -> int:
    _report(opened(root).sets.combine(operation, left, right, name), as_json=as_json)
    return 0


@cohort.command
def union(
    left: str, right: str, /, *, name: str, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Make a run of all members of two runs.

    Example: `dicom-warehouse cohort union ct_thin_slice mine --name either`
    """
    return _combine("union", left, right, name, warehouse, as_json=as_json)


@cohort.command
def intersect(
    left: str, right: str, /, *, name: str, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Make a run of the common members of two runs.

    Example: `dicom-warehouse cohort intersect ct_thin_slice mine --name both`
    """
    return _combine("intersect", left, right, name, warehouse, as_json=as_json)


@cohort.command
def minus(
    left: str, right: str, /, *, name: str, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Make a run of the members of the first run that are not in the second.

    Example: `dicom-warehouse cohort minus ct_thin_slice mine --name ct_only`
    """
    return _combine("minus", left, right, name, warehouse, as_json=as_json)


@cohort.command
def split(
    name: str, /, *, train: float = 0.7, validation: float = 0.15, test: float = 0.15,
    seed: Seed = 0, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Split a run by patient into train, validation and test.

    Example: `dicom-warehouse cohort split ct_thin_slice --seed 7`
    """
    shares = {"train": train, "validation": validation, "test": test}
    parts = opened(warehouse).sets.split(name, shares, seed)
    if as_json:
        send_document({"runs": [asdict(part) for part in parts]})
        return 0
    for part in parts:
        _report(part, as_json=False)
    return 0


@cohort.command
def sample(
    source: str, /, *, name: str, by: str = "", count: int | None = None,
    fraction: float | None = None, seed: Seed = 0, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Sample series of a run: a number per stratum, or a fraction.

    Example: `dicom-warehouse cohort sample ct_thin_slice --name pilot --count 20`

    Parameters
    ----------
    source
        Run or cohort.
    name
        Name of the run that is made.
    by
        Columns of series with commas between: the strata.
    count
        Series of each stratum.
    fraction
        Share of the series, 0 to 1.
    """
    columns = tuple(part.strip() for part in by.split(",") if part.strip())
    made = opened(warehouse).sets.sample(
        source, as_name=name, by=columns, count=count, fraction=fraction, seed=seed
    )
    _report(made, as_json=as_json)
    return 0


@cohort.command
def verify(target: Path, /, *, as_json: AsJson = False) -> int:
    """Hash an export again; exit with 1 and list the differences if it has changed.

    Example: `dicom-warehouse cohort verify thin.zip`
    """
    from warehouse.cohorts.provenance import verify as verify_export

    found = verify_export(target)
    if as_json:
        facts = asdict(found) | {"target": str(target), "is_whole": not found.problems}
        send_document(facts)
        return 1 if found.problems else 0
    for problem in found.problems:
        print(escaped(problem))
    state = "changed" if found.problems else "unchanged"
    many = counted(found.files, "file")
    print(escaped(f"{target}: {state}, {many}, digest {found.digest}"))
    return 1 if found.problems else 0


def _report(found: Run, *, as_json: bool) -> None:
    if as_json:
        send_document(asdict(found))
        return
    from warehouse.cohorts.definitions import call

    counts = ", ".join(counted_level(count, level) for level, count in found.counts.items())
    given = {name: value for name, value in found.parameters.items() if value is not None}
    print(escaped(f"{found.run}  {call(found.cohort, given)}"))
    print(escaped(f"  {counts}"))
    print(escaped(f"  digest {found.digest}"))


def _report_difference(found: Difference, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "before": found.before.run, "after": found.after.run, "same": found.same_members,
            "rows": found.rows.to_pylist(),
        }  # fmt: skip
        send_document(facts)
        return
    print(escaped(f"{found.before.run} → {found.after.run}: "), end="")
    print(escaped(f"same digest {found.after.digest}") if found.same_members else "other members")
    if not found.before.same_question(found.after):
        print("  the question or its parameters differ")
    for change, why, count in found.counts():
        print(escaped(f"  {change:8} {count:>9,}  {why}"))
