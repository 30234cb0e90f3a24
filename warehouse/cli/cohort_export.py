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
        Names of the files of zip, copy, link and documents.
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
    from warehouse.bids.export import FORMAT
    from warehouse.cohorts.export_documents import LISTING
    from warehouse.cohorts.provenance import DOCUMENTS
    from warehouse.deidentify.options import Deidentify

    # A folder, or a list of UIDs or commands, may have any name.
    free = form in {"copy", "link", "uids", "s5cmd", "bids", DOCUMENTS}
    chosen = str(form) if free else format_of(target, form, _SUFFIXES)
    wh = opened(warehouse)
    found = wh.find_run(name)
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
        asked = Deidentify.from_options(
            deidentify, retain, clean, key, mapping, rectangle, accept_burned_in=accept_burned_in
        )
        facts = wh.export(found, target, chosen, deidentify=asked, force=force, **options)
        if as_json:
            made = {name: facts["bids"][name] for name in _OF_BIDS} if "bids" in facts else {}
            return _send(target, found, chosen, facts["counts"] | made, deidentified=True)
        _report_deidentified(target, found, facts)
        return 0
    if retain or clean or key or mapping or rectangle or accept_burned_in:
        raise errors.UsageError(
            "retain, clean, key, mapping, rectangle and accept-burned-in belong to --deidentify"
        )
    if chosen == FORMAT:
        facts = wh.export(found, target, FORMAT, **options)["bids"]
        if as_json:
            return _send(target, found, chosen, {name: facts[name] for name in _OF_BIDS})
        series = counted(facts["series_written"], "series", "series")
        print(escaped(f"{target}: {found.run}, {series} as {counted(facts['images'], 'image')}"))
        _report_left_out(target, facts)
        return 0
    if chosen == DOCUMENTS:
        facts = wh.export(found, target, DOCUMENTS, **options)[DOCUMENTS]
        if as_json:
            names = ("documents_written", "documents_missing")
            return _send(target, found, chosen, {name: facts[name] for name in names})
        many = counted(facts["documents_written"], "document")
        print(escaped(f"{target}: {found.run}, {many}, digest {found.digest}"))
        if missing := facts["documents_missing"]:
            print(escaped(f"{counted(missing, 'instance')} without one: {target / LISTING}"))
        return 0
    wh.export(found, target, chosen, force=force, **options)
    if as_json:
        return _send(target, found, chosen, found.counts)
    many = counted(found.counts["instances"], "instance")
    print(escaped(f"{target}: {found.run}, {many}, digest {found.digest}"))
    return 0


def _send(
    target: Path, found: Run, form: str, counts: Mapping[str, Any], *, deidentified: bool = False
) -> int:
    send_document({
        "target": target, "run": found.run, "digest": found.digest, "format": form,
        "is_deidentified": deidentified, "counts": counts,
    })  # fmt: skip
    return 0


def _report_deidentified(target: Path, found: Run, facts: dict[str, Any]) -> None:
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
        _report_left_out(target, made)


def _report_left_out(target: Path, facts: Mapping[str, Any]) -> None:
    """Report how many series a BIDS data set lacks, and where the reasons are."""
    from warehouse.bids.tables import SERIES

    if left := facts["series_not_written"]:
        print(escaped(f"{counted(left, 'series', 'series')} left out: {target / SERIES}"))
