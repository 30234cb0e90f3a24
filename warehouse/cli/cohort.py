"""``cohort …``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.table import Table

from warehouse import errors
from warehouse.bids.export import FORMAT
from warehouse.bids.tables import SERIES
from warehouse.cli.app import DEFAULT_WAREHOUSE, SELECT, Force, Root, app, opened
from warehouse.cli.screen import console, counted, counted_level, printed, send_text
from warehouse.cohorts import asking, compare, definitions, runs
from warehouse.cohorts.export_files import FILE_FORMATS
from warehouse.cohorts.names import TEMPLATE
from warehouse.cohorts.provenance import verify as verify_export
from warehouse.deidentify.asked import Deidentify
from warehouse.escape import escaped, json_text
from warehouse.inputs import read_text
from warehouse.outputs import format_of

cohort = App(
    name="cohort",
    help="Questions with a name, their answers kept, compared and exported.\n\n"
    "Example: `dicom-warehouse cohort run ct_thin_slice --max_slice_mm 1.0`\n\n"
    "Example: `dicom-warehouse cohort export ct_thin_slice thin.zip`",
    group=SELECT,
)
app.command(cohort)

Json = Annotated[bool, Parameter(name="--json", negative="")]
Seed = Annotated[int, Parameter(help="Another seed is another draw; the same one always the same.")]
_SUFFIXES = {f".{form}": form for form in ("csv", "parquet", "arrow", "jsonl", "zip")}
Form = Literal["csv", "parquet", "arrow", "jsonl", "uids", "s5cmd", "zip", "copy", "link", "bids"]


@cohort.command(name="list")
def list_(*, warehouse: Root = DEFAULT_WAREHOUSE, as_json: Json = False) -> int:
    """List cohorts with their parameters, and the runs that were kept.

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
        send_text(json_text(json.dumps(facts, ensure_ascii=False)) + "\n")
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
    timeout: float = asking.SECONDS,
    as_json: Json = False,
    **parameters: str,
) -> int:
    """Ask a cohort of the newest version and keep its members.

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
    given = {key.replace("-", "_"): value for key, value in parameters.items()}
    limits = asking.Limits(seconds=timeout)
    _report(opened(warehouse).cohort(name, limits=limits, **given), as_json=as_json)
    return 0


@cohort.command
def save(
    name: str, /, *, sql: Path, warehouse: Root = DEFAULT_WAREHOUSE, as_json: Json = False
) -> int:
    """Keep a SELECT as a cohort of this warehouse.

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
        print(json.dumps({"name": made.name}))
        return 0
    print(f"saved {made.name}; run it with: dicom-warehouse cohort run {made.name}")
    return 0


@cohort.command
def show(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: Json = False) -> int:
    """Show a run, or the definition of a cohort that was not run.

    Example: `dicom-warehouse cohort show ct_thin_slice-0001`
    """
    wh = opened(warehouse)
    try:
        found = wh.find_run(name)
    except errors.UnknownCohort:
        print(escaped(definitions.definition(wh.root, name).text, keep="\n\t"), end="")
        return 0
    _report(found, as_json=as_json)
    if not as_json:
        print("\n" + escaped(found.sql, keep="\n\t"))
    return 0


@cohort.command
def diff(
    before: str, after: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: Json = False
) -> int:
    """Show which instances two runs do not share, and why.

    Example: `dicom-warehouse cohort diff ct_thin_slice-0001 ct_thin_slice-0002`
    """
    _report_difference(opened(warehouse).compare(before, after), as_json=as_json)
    return 0


@cohort.command
def rerun(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: Json = False) -> int:
    """Ask a run's cohort again with the same parameters: the same digest, or what has changed.

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
    as_json: Json = False,
) -> int:  # fmt: skip
    """Make a run of the members of either.

    Example: `dicom-warehouse cohort union ct_thin_slice mine --name either`
    """
    return _combine("union", left, right, name, warehouse, as_json=as_json)


@cohort.command
def intersect(
    left: str, right: str, /, *, name: str, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Make a run of the members of both.

    Example: `dicom-warehouse cohort intersect ct_thin_slice mine --name both`
    """
    return _combine("intersect", left, right, name, warehouse, as_json=as_json)


@cohort.command
def minus(
    left: str, right: str, /, *, name: str, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Make a run of the members of the first that are not in the second.

    Example: `dicom-warehouse cohort minus ct_thin_slice mine --name ct_only`
    """
    return _combine("minus", left, right, name, warehouse, as_json=as_json)


@cohort.command
def split(
    name: str, /, *, train: float = 0.7, validation: float = 0.15, test: float = 0.15,
    seed: Seed = 0, warehouse: Root = DEFAULT_WAREHOUSE, as_json: Json = False,
) -> int:  # fmt: skip
    """Split a run by patient into train, validation and test.

    Example: `dicom-warehouse cohort split ct_thin_slice --seed 7`
    """
    shares = {"train": train, "validation": validation, "test": test}
    for part in opened(warehouse).sets.split(name, shares, seed):
        _report(part, as_json=as_json)
    return 0


@cohort.command
def sample(
    source: str, /, *, name: str, by: str = "", count: int | None = None,
    fraction: float | None = None, seed: Seed = 0, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Draw series of a run, so many of each stratum or a fraction.

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
def export(
    name: str, target: Path, /, *, form: Annotated[Form | None, Parameter(name="--format")] = None,
    rows: Literal["patients", "studies", "series", "instances"] = "series",
    preset: Literal["series_csv"] | None = None,
    spreadsheet: Annotated[bool, Parameter(negative="")] = False, source: str | None = None,
    template: str = TEMPLATE,
    identifiers: Annotated[bool, Parameter(negative="--no-identifiers")] = True,
    isotropic: Annotated[bool, Parameter(negative="")] = False,
    allow_gaps: Annotated[bool, Parameter(negative="")] = False,
    resample: Literal["tilt"] | None = None,
    deidentify: Literal["basic"] | None = None, retain: str = "", clean: str = "",
    key: Path | None = None, mapping: Path | None = None,
    rectangle: tuple[str, ...] = (),
    accept_burned_in: Annotated[bool, Parameter(negative="")] = False,
    warehouse: Root = DEFAULT_WAREHOUSE, force: Force = False,
) -> int:  # fmt: skip
    """Write the members of a run: rows, a list, the files themselves, or a BIDS data set.

    Example: `dicom-warehouse cohort export ct_thin_slice thin.zip`

    Example: `dicom-warehouse cohort export mr_by_sequence dataset --format bids`

    Example: `dicom-warehouse cohort export mr_by_sequence shared --format copy --deidentify basic`

    Parameters
    ----------
    name
        Run or cohort.
    target
        File or folder to write; only a file can be replaced, with --force.
    form
        Follows the ending of the file if it is csv, parquet, arrow, jsonl or zip.
    rows
        What a row of csv, parquet, arrow or jsonl is.
    preset
        series_csv: the fourteen columns of django_dicom.
    spreadsheet
        CSV with a byte order mark, and an apostrophe before text that would run as a formula.
    source
        Of s5cmd: OLD=NEW puts a bucket in place of a folder, as /data=s3://bucket/dicom.
    template
        Names of the files of zip, copy and link.
    identifiers
        Of bids: write UIDs, institution, device, age, sex, dates and times.
    isotropic
        Of bids: keep diffusion weighted volumes without a direction beside others that have one.
    allow_gaps
        Of bids: write series in which slices are missing, with zeros; the sidecar says which.
    resample
        Of bids: tilt moves slices that are shifted by a tilted gantry; the sidecar says so.
    deidentify
        Write it without what identifies a person, by this profile of PS3.15: copy, zip, bids, csv,
        parquet, arrow, jsonl and uids.
    retain
        Of deidentify, with commas between: uids, device, institution, patient, dates or
        dates-shifted, safe-private.
    clean
        Of deidentify, with commas between: descriptors, structured, graphics: kept, but cleaned.
    key
        Of deidentify: file with the secret that makes the new identities; the same key makes the
        same ones. See `dicom-warehouse deidentify key`.
    mapping
        Of deidentify: folder for the tables of old and new identities, encrypted with the key.
    rectangle
        Of deidentify: column,row,width,height to black out in every frame; may be repeated.
    accept_burned_in
        Of deidentify: write pictures too that may have text burned in.
    """
    # A folder, or a list of UIDs or commands, may have any name.
    free = form in {"copy", "link", "uids", "s5cmd", "bids"}
    chosen = str(form) if free else format_of(target, form, _SUFFIXES)
    wh = opened(warehouse)
    found = wh.find_run(name)
    if deidentify is not None:
        asked = Deidentify.asked(
            deidentify, retain, clean, key, mapping, rectangle, accept_burned_in=accept_burned_in
        )
        options: dict[str, object] = {
            "template": template, "rows": rows, "preset": preset, "spreadsheet": spreadsheet
        }  # fmt: skip
        if chosen == FORMAT:
            options |= {
                "identifiers": identifiers, "isotropic": isotropic, "allow_gaps": allow_gaps,
                "resample": resample,
            }  # fmt: skip
        facts = wh.export(found, target, chosen, deidentify=asked, force=force, **options)
        _report_deidentified(target, found, facts)
        return 0
    if retain or clean or key or mapping or rectangle or accept_burned_in:
        raise errors.UsageError(
            "retain, clean, key, mapping, rectangle and accept-burned-in belong to --deidentify"
        )
    if chosen == FORMAT:
        facts = wh.export(
            found, target, FORMAT, identifiers=identifiers, isotropic=isotropic,
            allow_gaps=allow_gaps, resample=resample,
        )["bids"]  # fmt: skip
        series = counted(facts["series_written"], "series", "series")
        print(escaped(f"{target}: {found.run}, {series} as {counted(facts['images'], 'image')}"))
        if left := facts["series_not_written"]:
            print(escaped(f"{counted(left, 'series', 'series')} left out: {target / SERIES}"))
        return 0
    if chosen in FILE_FORMATS:
        wh.export(found, target, chosen, template=template, force=force)
    else:
        wh.export(
            found, target, chosen, rows=rows, preset=preset, spreadsheet=spreadsheet,
            source=source, force=force,
        )  # fmt: skip
    many = counted(found.counts["instances"], "instance")
    print(escaped(f"{target}: {found.run}, {many}, digest {found.digest}"))
    return 0


@cohort.command
def verify(target: Path, /, *, as_json: Json = False) -> int:
    """Hash an export again; 0 if it is what was written, else 1 and what is not.

    Example: `dicom-warehouse cohort verify thin.zip`
    """
    found = verify_export(target)
    if as_json:
        facts = asdict(found) | {"target": str(target), "is_whole": not found.problems}
        send_text(json.dumps(facts, default=str) + "\n")
        return 1 if found.problems else 0
    for problem in found.problems:
        print(escaped(problem))
    state = "changed" if found.problems else "unchanged"
    many = counted(found.files, "file")
    print(escaped(f"{target}: {state}, {many}, digest {found.digest}"))
    return 1 if found.problems else 0


def _report_deidentified(target: Path, found: runs.Run, facts: dict[str, Any]) -> None:
    counts = facts["counts"]
    if "changes" not in counts:
        print(escaped(f"{target}: {found.run}, {counted(counts['rows'], 'row')}, de-identified"))
        return
    many = counted(counts["instances"], "instance")
    changes = counted(counts["changes"], "change")
    print(escaped(f"{target}: {found.run}, {many} de-identified, {changes}"))
    if left := counts["left_out"]:
        print(escaped(f"{counted(left, 'instance')} left out: see left_out.csv"))
    if made := facts.get("bids"):
        series = counted(made["series_written"], "series", "series")
        print(escaped(f"{series} as {counted(made['images'], 'image')}"))
        if left := made["series_not_written"]:
            print(escaped(f"{counted(left, 'series', 'series')} left out: {target / SERIES}"))


def _report(found: runs.Run, *, as_json: bool) -> None:
    if as_json:
        send_text(json_text(json.dumps(asdict(found), ensure_ascii=False)) + "\n")
        return
    counts = ", ".join(counted_level(count, level) for level, count in found.counts.items())
    given = {name: value for name, value in found.parameters.items() if value is not None}
    print(escaped(f"{found.run}  {definitions.call(found.cohort, given)}"))
    print(escaped(f"  {counts}"))
    print(escaped(f"  digest {found.digest}"))


def _report_difference(found: compare.Difference, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "before": found.before.run, "after": found.after.run, "same": found.same_members,
            "rows": found.rows.to_pylist(),
        }  # fmt: skip
        send_text(json_text(json.dumps(facts, ensure_ascii=False)) + "\n")
        return
    print(escaped(f"{found.before.run} → {found.after.run}: "), end="")
    print(escaped(f"same digest {found.after.digest}") if found.same_members else "other members")
    if not found.before.same_question(found.after):
        print("  the question or its parameters differ")
    for change, why, count in found.counts():
        print(escaped(f"  {change:8} {count:>9,}  {why}"))
