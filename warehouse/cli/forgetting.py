"""``forget``: a patient, study, series or instance, out of the warehouse and kept away."""

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

    Rows, statistics, long values, values that are about it alone, members of runs, kept answers and
    the files of older versions go: no older version can be opened afterwards. Source files stay,
    and an ingest that meets them counts them as forgotten. It cannot be undone; asked again after
    it was stopped, it goes on.

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
        Do so; otherwise it is only counted.
    allow
        Let the next ingest read again what was forgotten by this name.
    listed
        Show the receipts of what was forgotten, which name nobody.
    as_json
        Print one JSON object, or an array of objects with --list.
    """
    upkeep = opened(warehouse).upkeep
    given = {"patient": patient, "study": study, "series": series, "instance": instance}
    if listed:
        if any(given.values()) or yes or allow:
            raise UsageError("--list goes with none of the other options")
        _print_list(upkeep.receipts(), as_json=as_json)
        return 0
    done = upkeep.allow(**given) if allow else upkeep.forget(**given, delete=yes)
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
            f"{counted(done.still_named, 'value')} in headers of other instances name it, and stay "
            "with these",
            highlight=False,
        )
    if done.state == "begun":
        screen.print("say --yes to forget them; older versions of the warehouse go with them")
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
            f"{counted(done.questions, 'question')} named what was forgotten",
            highlight=False,
        )


def _print_list(found: list[Receipt], *, as_json: bool) -> None:
    if as_json:
        send_document([asdict(receipt) for receipt in found])
        return
    grid = Table(
        "receipt", "at (UTC)", "level", "state", "instances", "rows", "version", box=None,
        header_style="bold",
    )  # fmt: skip
    for receipt in found:
        at = (receipt.done_at or receipt.begun_at)[:19].replace("T", " ")
        cells = (
            receipt.number, at, receipt.level, receipt.state,
            f"{receipt.entities.get('instances', 0):,}", f"{sum(receipt.rows.values()):,}",
            str(receipt.version),
        )  # fmt: skip
        grid.add_row(*map(printed, cells))
    console().print(grid)
