"""``cohort export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from warehouse import errors
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Root, opened
from warehouse.cli.document import send_document
from warehouse.cohorts.names import TEMPLATE
from warehouse.counted import counted
from warehouse.escape import escaped
from warehouse.outputs import format_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.cohorts.runs import Run

_SUFFIXES = {f".{form}": form for form in ("csv", "parquet", "arrow", "jsonl", "zip")}
Form = Literal[
    "csv", "parquet", "arrow", "jsonl", "uids", "s5cmd", "zip", "copy", "link", "bids", "documents"
]

_OF_BIDS = ("series_written", "images", "series_not_written")


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
    warehouse: Root = DEFAULT_WAREHOUSE, force: Force = False, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Export the members of a run: rows, a list of UIDs, files, documents, or a BIDS data set.

    Example: `dicom-warehouse cohort export ct_thin_slice thin.zip`

    Example: `dicom-warehouse cohort export mr_by_sequence dataset --format bids`

    Example: `dicom-warehouse cohort export mr_by_sequence shared --format copy --deidentify basic`

    Example: `dicom-warehouse cohort export reports pdfs --format documents`

    Parameters
    ----------
    name
        Run or cohort.
    target
        File or folder to write; only a file can be replaced, with --force.
    form
        Output format; by default that of the suffix csv, parquet, arrow, jsonl or zip.
    rows
        Entity per row of csv, parquet, arrow or jsonl.
    preset
        series_csv: the fourteen columns of django_dicom.
    spreadsheet
        Write CSV with a byte order mark, and an apostrophe before text that would run as a formula.
    source
        For s5cmd: OLD=NEW replaces a folder with a bucket, as /data=s3://bucket/dicom.
    template
        Template of file names of zip, copy, link and documents.
    identifiers
        For bids: write UIDs, institution, device, age, sex, dates and times.
    isotropic
        For bids: keep diffusion weighted volumes without a direction beside others that have one.
    allow_gaps
        For bids: write series with missing slices, filled with zeros; the sidecar lists them.
    resample
        For bids: tilt resamples slices that a tilted gantry has shifted; the sidecar states it.
    deidentify
        De-identify by this profile of PS3.15 Annex E: copy, zip, bids, csv, parquet, arrow, jsonl
        and uids.
    retain
        With --deidentify, separated by commas: uids, device, institution, patient, dates or
        dates-shifted, safe-private.
    clean
        With --deidentify, separated by commas: descriptors, structured, graphics; kept but cleaned.
    key
        With --deidentify: file with the key that new identifiers are derived from; the same key
        gives the same ones. See `dicom-warehouse deidentify key`.
    mapping
        With --deidentify: folder for the tables of old and new identifiers, encrypted with the key.
    rectangle
        With --deidentify: column,row,width,height to black out in every frame; may be repeated.
    accept_burned_in
        With --deidentify: also write images that may have burned-in text, or whose header states
        that a person can be recognized.
    """
    from warehouse.bids.export import FORMAT
    from warehouse.cohorts.export_documents import LISTING
    from warehouse.cohorts.provenance import DOCUMENTS
    from warehouse.deidentify.options import Deidentify

    # The name of a folder, or of a list of UIDs or commands, does not give the format.
    has_any_name = form in {"copy", "link", "uids", "s5cmd", "bids", DOCUMENTS}
    chosen = str(form) if has_any_name else format_of(target, form, _SUFFIXES)
    wh = opened(warehouse)
    run = wh.find_run(name)
    # An option that was given is passed on to every format: those that lack it refuse it.
    options: dict[str, Any] = {
        name: value
        for name, value, default in (
            ("rows", rows, "series"), ("preset", preset, None), ("spreadsheet", spreadsheet, False),
            ("source", source, None), ("template", template, TEMPLATE),
            ("identifiers", identifiers, True), ("isotropic", isotropic, False),
            ("allow_gaps", allow_gaps, False), ("resample", resample, None),
        )
        if value != default
    }  # fmt: skip
    if deidentify is not None:
        how = Deidentify.from_options(
            deidentify, retain, clean, key, mapping, rectangle, accept_burned_in=accept_burned_in
        )
        facts = wh.export(run, target, chosen, deidentify=how, force=force, **options)
        if as_json:
            made = {name: facts["bids"][name] for name in _OF_BIDS} if "bids" in facts else {}
            return _send(target, run, chosen, facts["counts"] | made, deidentified=True)
        _report_deidentified(target, run, facts)
        return 0
    if retain or clean or key or mapping or rectangle or accept_burned_in:
        raise errors.UsageError(
            "retain, clean, key, mapping, rectangle and accept-burned-in require --deidentify"
        )
    if chosen == FORMAT:
        facts = wh.export(run, target, FORMAT, **options)["bids"]
        if as_json:
            return _send(target, run, chosen, {name: facts[name] for name in _OF_BIDS})
        series = counted(facts["series_written"], "series", "series")
        print(escaped(f"{target}: {run.run}, {series} as {counted(facts['images'], 'image')}"))
        _report_left_out(target, facts)
        return 0
    if chosen == DOCUMENTS:
        facts = wh.export(run, target, DOCUMENTS, **options)[DOCUMENTS]
        if as_json:
            names = ("documents_written", "documents_missing")
            return _send(target, run, chosen, {name: facts[name] for name in names})
        many = counted(facts["documents_written"], "document")
        print(escaped(f"{target}: {run.run}, {many}, digest {run.digest}"))
        if missing := facts["documents_missing"]:
            print(escaped(f"{counted(missing, 'instance')} without a document: {target / LISTING}"))
        return 0
    wh.export(run, target, chosen, force=force, **options)
    if as_json:
        return _send(target, run, chosen, run.counts)
    many = counted(run.counts["instances"], "instance")
    print(escaped(f"{target}: {run.run}, {many}, digest {run.digest}"))
    return 0


def _send(
    target: Path, run: Run, form: str, counts: Mapping[str, Any], *, deidentified: bool = False
) -> int:
    send_document({
        "target": target, "run": run.run, "digest": run.digest, "format": form,
        "is_deidentified": deidentified, "counts": counts,
    })  # fmt: skip
    return 0


def _report_deidentified(target: Path, run: Run, facts: dict[str, Any]) -> None:
    counts = facts["counts"]
    if "changes" not in counts:
        print(escaped(f"{target}: {run.run}, {counted(counts['rows'], 'row')}, de-identified"))
        return
    many = counted(counts["instances"], "instance")
    changes = counted(counts["changes"], "change")
    print(escaped(f"{target}: {run.run}, {many} de-identified, {changes}"))
    if left := counts["left_out"]:
        print(escaped(f"{counted(left, 'instance')} left out: see left_out.csv"))
    if made := facts.get("bids"):
        series = counted(made["series_written"], "series", "series")
        print(escaped(f"{series} as {counted(made['images'], 'image')}"))
        _report_left_out(target, made)


def _report_left_out(target: Path, facts: Mapping[str, Any]) -> None:
    """Report how many series a BIDS data set lacks, and where the reasons are."""
    from warehouse.bids.tables import SERIES

    if left := facts["series_not_written"]:
        print(escaped(f"{counted(left, 'series', 'series')} left out: {target / SERIES}"))
