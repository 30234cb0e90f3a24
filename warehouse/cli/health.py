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
"""Files that are named on a screen; ``--json`` names all."""


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
        Read the source files of damaged parts again, if all of them are there and can be read.
    as_json
        Print one JSON object that names every file.
    """
    wh = opened(warehouse)
    found = wh.verify(deep=deep)
    done = wh.upkeep.repair(found) if repair and not found.is_whole else None
    after = wh.verify(deep=deep) if done else found
    if as_json:
        facts = asdict(found) | {"is_whole": found.is_whole, "series": found.series}
        send_document(facts | ({"repaired": asdict(done)} if done else {}))
        return 0 if after.is_whole else 1
    screen = console()
    _print_found(found)
    if done:
        screen.print(
            f"repaired: {counted(done.files, 'file')} read again, {counted(done.parts, 'part')} "
            f"replaced, {counted(done.deleted, 'file')} deleted",
            highlight=False,
        )
        for path in done.missing[:SHOWN]:
            screen.print(f"  not there: {printed(path)}", highlight=False, soft_wrap=True)
        for path, reason in done.rejected[:SHOWN]:
            text = f"  rejected {printed(path)}: {printed(reason)}"
            screen.print(text, highlight=False, soft_wrap=True)
        if not after.is_whole:
            screen.print(f"still damaged: {len(after.damaged)}", highlight=False)
    return 0 if after.is_whole else 1


def _print_found(found: Verified) -> None:
    screen = console()
    checks = "every byte and page" if found.is_deep else "sizes, footers and rows"
    screen.print(
        f"version {found.version}: {counted(found.parts, 'part')} with {found.rows:,} rows, "
        f"{size_text(found.size_bytes)}; {checks} in {found.seconds:.1f} s",
        highlight=False,
    )
    screen.print(
        f"versions whole: {found.versions:,}; cleaned away: {len(found.cleaned):,}; "
        f"runs of cohorts: {found.runs:,}"
        + (f", {found.runs_forgotten:,} with forgotten members" if found.runs_forgotten else ""),
        highlight=False,
    )
    if found.without_digest:
        screen.print(
            f"{counted(found.without_digest, 'part')} of earlier software, without a digest: "
            "readable, but not compared byte by byte",
            highlight=False,
        )
    if found.is_whole:
        screen.print("nothing is damaged")
        return
    for damage in found.damaged:
        text = f"damaged: {printed(damage.what)}: {printed(damage.why)}; {printed(damage.mends)}"
        screen.print(text, highlight=False, soft_wrap=True)
    screen.print(
        f"touched: {counted(len(found.touched), 'source file')}, {len(found.series):,} series",
        highlight=False,
    )
    for series in found.series[:SHOWN]:
        screen.print(f"  {printed(series)}", highlight=False, soft_wrap=True)
    for part in found.unclear[:SHOWN]:
        screen.print(f"which files it touches is unknown: {printed(part)}", soft_wrap=True)


def relocate(
    old: Annotated[str, Parameter(help="Folder, archive or s3://bucket/prefix where files lay.")],
    new: Annotated[str, Parameter(help="Where they lie now.")],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Update the paths of source files that were moved; no file is read.

    Members of archives and objects of buckets too. An ingest of the new place finds moved files by
    itself, but looks at each of them.

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
    if done.kept:
        console().print(
            f"{counted(done.kept, 'file')} not: another one is known at the new path",
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
