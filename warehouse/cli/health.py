"""``verify``, ``relocate`` and ``audit``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed, size_text
from warehouse.counted import counted

if TYPE_CHECKING:
    from warehouse.store.verify import Verified

AsJson = Annotated[bool, Parameter(name="--json", negative="")]

SHOWN = 10
"""Maximum number of files in each list of the report; ``--json`` has all."""


def verify(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    deep: Annotated[bool, Parameter(negative="")] = False,
    repair: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Verify the files of the warehouse; list damaged ones and how to repair them.

    Exits with 1 if anything is damaged and was not repaired.

    Example: `dicom-warehouse verify --deep -w my-warehouse`

    Parameters
    ----------
    deep
        Read every byte and every page, not only sizes, footers and numbers of rows.
    repair
        Read the source files of damaged parts again, if all of them exist and can be read.
    as_json
        Print one JSON object that lists every file.
    """
    wh = opened(warehouse)
    state = wh.verify(deep=deep)
    done = wh.upkeep.repair(state) if repair and not state.is_whole else None
    after = wh.verify(deep=deep) if done else state
    if as_json:
        facts = asdict(state) | {"is_whole": state.is_whole, "series": state.series}
        send_document(facts | ({"repaired": asdict(done)} if done else {}))
        return 0 if after.is_whole else 1
    screen = console()
    _print_state(state)
    if done:
        screen.print(
            f"repaired: {counted(done.files, 'file')} read again, {counted(done.parts, 'part')} "
            f"replaced, {counted(done.deleted, 'file')} deleted",
            highlight=False,
        )
        for path in done.missing[:SHOWN]:
            screen.print(f"  missing: {printed(path)}", highlight=False, soft_wrap=True)
        for path, reason in done.rejected[:SHOWN]:
            text = f"  rejected {printed(path)}: {printed(reason)}"
            screen.print(text, highlight=False, soft_wrap=True)
        if not after.is_whole:
            screen.print(f"still damaged: {len(after.damaged)}", highlight=False)
    return 0 if after.is_whole else 1


def _print_state(state: Verified) -> None:
    screen = console()
    checks = "every byte and page" if state.is_deep else "sizes, footers and rows"
    screen.print(
        f"version {state.version}: {counted(state.parts, 'part')} with {state.rows:,} rows, "
        f"{size_text(state.size_bytes)}; {checks} in {state.seconds:.1f} s",
        highlight=False,
    )
    screen.print(
        f"complete versions: {state.versions:,}; deleted: {len(state.cleaned):,}; "
        f"runs of cohorts: {state.runs:,}"
        + (f", {state.runs_forgotten:,} with forgotten members" if state.runs_forgotten else ""),
        highlight=False,
    )
    if state.without_digest:
        screen.print(
            f"{counted(state.without_digest, 'part')} of earlier software, without a digest: "
            "readable, but not compared byte by byte",
            highlight=False,
        )
    if state.is_whole:
        screen.print("nothing is damaged")
        return
    for damage in state.damaged:
        text = f"damaged: {printed(damage.what)}: {printed(damage.why)}; {printed(damage.mends)}"
        screen.print(text, highlight=False, soft_wrap=True)
    screen.print(
        f"affected: {counted(len(state.touched), 'source file')}, {len(state.series):,} series",
        highlight=False,
    )
    for series in state.series[:SHOWN]:
        screen.print(f"  {printed(series)}", highlight=False, soft_wrap=True)
    for part in state.unclear[:SHOWN]:
        screen.print(f"affected files are unknown: {printed(part)}", soft_wrap=True)


def relocate(
    old: Annotated[str, Parameter(help="Folder, archive or s3://bucket/prefix before the move.")],
    new: Annotated[str, Parameter(help="Where its files are now.")],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Update the paths of source files that were moved; no file is read.

    It applies to archive members and objects of buckets, too. An ingest of the new place detects
    moved files by itself, but has to check each of them.

    Example: `dicom-warehouse relocate /mnt/old-nas/dicom /mnt/new-nas/dicom`

    Parameters
    ----------
    as_json
        Print one JSON object.
    """
    done = opened(warehouse).upkeep.relocate(old, new)
    if as_json:
        send_document(asdict(done))
        return 0
    console().print(f"{counted(done.moved, 'file')} moved, {done.seconds:.1f} s", highlight=False)
    if done.planned:
        text = f"{counted(done.planned, 'file')} of planned batches moved"
        console().print(text, highlight=False)
    if done.kept:
        console().print(
            f"{counted(done.kept, 'file')} not moved: another one is known at the new path",
            highlight=False,
        )
    return 0


def audit(*, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Show the audit log: who changed the warehouse, when, how, and the resulting version.

    Example: `dicom-warehouse audit -w my-warehouse`

    Parameters
    ----------
    as_json
        Print one JSON array of objects.
    """
    entries = opened(warehouse).upkeep.audit()
    if as_json:
        send_document([asdict(entry) for entry in entries])
        return 0
    grid = Table("at (UTC)", "who", "what", "how", "version", box=None, header_style="bold")
    for entry in entries:
        version = "" if entry.version is None else str(entry.version)
        at = entry.at[:19].replace("T", " ")
        grid.add_row(at, printed(entry.who), printed(entry.what), printed(entry.how), version)
    console().print(grid)
    return 0
