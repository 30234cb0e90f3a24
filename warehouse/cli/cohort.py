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

Seed = Annotated[int, Parameter(help="Seed of the random draw; the same seed gives the same draw.")]


cohort.command(export)


@cohort.command(name="list")
def list_(*, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """List cohorts with their parameters, and stored runs.

    Example: `dicom-warehouse cohort list -w my-warehouse`
    """
    wh = opened(warehouse)
    if as_json:
        listed = [
            {"name": known.name, "kind": known.kind, "description": known.description,
             "parameters": {param.name: param.default for param in known.params}}
            for known in wh.cohorts().values()
        ]  # fmt: skip
        facts = {"cohorts": listed, "runs": [asdict(run) for run in wh.runs()]}
        send_document(facts)
        return 0
    grid = Table("cohort", "kind", "parameters", "what", box=None, header_style="bold")
    for known in wh.cohorts().values():
        parameters = ", ".join(f"{p.name}={p.default}" for p in known.params)
        summary = known.description.split("\n\n", 1)[0].replace("\n", " ")
        grid.add_row(*map(printed, (known.name, known.kind, parameters, summary)))
    screen = console()
    screen.print(grid)
    runs = wh.runs()
    if runs:
        names = ("run", "made", "version", "series", "instances", "digest")
        grid = Table(*names, box=None, header_style="bold")
        for run in runs:
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

    The query of a saved cohort runs twice, on the same rows in two orders, and is refused if the
    results differ.

    Example: `dicom-warehouse cohort run ct_thin_slice --max_slice_mm 1.0`

    Parameters
    ----------
    name
        Cohort; see `dicom-warehouse cohort list`.
    timeout
        Seconds that the SQL of a saved cohort may take.
    parameters
        Parameters of the cohort, by name.
    """
    from warehouse.cohorts.asking import Limits

    arguments = {key.replace("-", "_"): value for key, value in parameters.items()}
    made = opened(warehouse).cohort(name, limits=Limits(seconds=timeout), **arguments)
    _report(made, as_json=as_json)
    return 0


@cohort.command
def save(
    name: str, /, *, sql: Path, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:
    """Save a SELECT as a cohort of this warehouse.

    It must be one SELECT over the tables of the warehouse that returns `series_key` or another key.
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
        run = wh.find_run(name)
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
    _report(run, as_json=as_json)
    if not as_json:
        print("\n" + escaped(run.sql, keep="\n\t"))
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
        Name of the new run.
    by
        Columns of series that define the strata, separated by commas.
    count
        Number of series per stratum.
    fraction
        Fraction of the series, 0 to 1.
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

    checked = verify_export(target)
    if as_json:
        facts = asdict(checked) | {"target": str(target), "is_whole": not checked.problems}
        send_document(facts)
        return 1 if checked.problems else 0
    for problem in checked.problems:
        print(escaped(problem))
    state = "changed" if checked.problems else "unchanged"
    many = counted(checked.files, "file")
    print(escaped(f"{target}: {state}, {many}, digest {checked.digest}"))
    return 1 if checked.problems else 0


def _report(run: Run, *, as_json: bool) -> None:
    if as_json:
        send_document(asdict(run))
        return
    from warehouse.cohorts.definitions import call

    counts = ", ".join(counted_level(count, level) for level, count in run.counts.items())
    parameters = {name: value for name, value in run.parameters.items() if value is not None}
    print(escaped(f"{run.run}  {call(run.cohort, parameters)}"))
    print(escaped(f"  {counts}"))
    print(escaped(f"  digest {run.digest}"))


def _report_difference(result: Difference, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "before": result.before.run, "after": result.after.run, "same": result.same_members,
            "rows": result.rows.to_pylist(),
        }  # fmt: skip
        send_document(facts)
        return
    print(escaped(f"{result.before.run} → {result.after.run}: "), end="")
    same = f"same digest {result.after.digest}"
    print(escaped(same) if result.same_members else "different members")
    if not result.before.same_question(result.after):
        print("  the query or its parameters differ")
    for change, why, count in result.counts():
        print(escaped(f"  {change:8} {count:>9,}  {why}"))
