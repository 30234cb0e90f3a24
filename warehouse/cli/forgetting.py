"""``forget``: erase an entity, and refuse it in later ingests."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed, size_text
from warehouse.counted import counted, counted_level
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.store.tombstones import Receipt


def forget(
    *,
    patient: Text | None = None,
    study: Text | None = None,
    series: Text | None = None,
    instance: Text | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
    allow: Annotated[bool, Parameter(negative="")] = False,
    listed: Annotated[bool, Parameter(name="--list", negative="")] = False,
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Erase a patient, study, series or instance, and refuse it in later ingests.

    This deletes its rows, statistics, blobs, values that are about it alone, its members in runs,
    materialized views, and the files of older versions: no older version can be opened afterwards.
    Source files stay; an ingest that finds them counts them as forgotten. It cannot be undone. If
    it was stopped, run it again to complete it.

    Example: `dicom-warehouse forget --patient PAT-001 --yes`

    Parameters
    ----------
    patient
        PatientID of the patient to forget.
    study
        Study Instance UID of the study to forget.
    series
        Series Instance UID of the series to forget.
    instance
        SOP Instance UID of the instance to forget.
    yes
        Erase it; otherwise its rows are only counted.
    allow
        Allow the next ingest to read the entity with this identifier again.
    listed
        List the receipts of forgotten entities, which contain no identifiers.
    as_json
        Print one JSON object, or an array of objects with --list.
    """
    upkeep = opened(warehouse).upkeep
    identifiers = {"patient": patient, "study": study, "series": series, "instance": instance}
    if listed:
        if any(identifiers.values()) or yes or allow:
            raise UsageError("--list cannot be combined with an identifier, --yes or --allow")
        _print_list(upkeep.receipts(), as_json=as_json)
        return 0
    done = upkeep.allow(**identifiers) if allow else upkeep.forget(**identifiers, delete=yes)
    if as_json:
        send_document(asdict(done))
    else:
        _print_receipt(done)
    return 0


def _print_receipt(done: Receipt) -> None:
    screen = console()
    if done.state == "allowed":
        screen.print(f"the {done.level} of receipt {done.number} may be ingested again")
        return
    what = ", ".join(counted_level(count, level) for level, count in done.entities.items())
    screen.print(f"{what}; {counted(done.files, 'file')}", highlight=False)
    if done.still_named:
        screen.print(
            f"{counted(done.still_named, 'value')} in headers of other instances refer to it, and "
            "are kept",
            highlight=False,
        )
    if done.state == "begun":
        screen.print("use --yes to forget them; this also deletes older versions of the warehouse")
        return
    rows = sum(done.rows.values())
    screen.print(
        f"forgotten: receipt {done.number}, {counted(rows, 'row')} of {len(done.rows)} tables, "
        f"{counted(len(done.deleted), 'file')} of the warehouse deleted "
        f"({size_text(done.deleted_bytes)}), version {done.version}",
        highlight=False,
    )
    if done.runs or done.questions:
        screen.print(
            f"{counted(len(done.runs), 'run')} of cohorts lost members; "
            f"{counted(done.questions, 'query', 'queries')} contained a forgotten identifier",
            highlight=False,
        )


def _print_list(receipts: list[Receipt], *, as_json: bool) -> None:
    if as_json:
        send_document([asdict(receipt) for receipt in receipts])
        return
    grid = Table(
        "receipt", "at (UTC)", "level", "state", "instances", "rows", "version", box=None,
        header_style="bold",
    )  # fmt: skip
    for receipt in receipts:
        at = (receipt.done_at or receipt.begun_at)[:19].replace("T", " ")
        cells = (
            receipt.number, at, receipt.level, receipt.state,
            f"{receipt.entities.get('instances', 0):,}", f"{sum(receipt.rows.values()):,}",
            str(receipt.version),
        )  # fmt: skip
        grid.add_row(*map(printed, cells))
    console().print(grid)
