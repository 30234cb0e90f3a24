"""``info``, ``remove``, ``rebuild``, ``compact``, ``vacuum``."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from warehouse import errors
from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed, size_text
from warehouse.counted import counted, counted_level

if TYPE_CHECKING:
    from warehouse.store.report import ColumnFacts

AsJson = Annotated[bool, Parameter(name="--json", negative="")]


def info(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    columns: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Show version, entities and size of the warehouse.

    Example: `dicom-warehouse info -w my-warehouse --columns`

    Parameters
    ----------
    columns
        Show bytes, compression and encodings of every column of every stored table too.
    as_json
        Print one JSON object.
    """
    from warehouse.store.report import describe_columns

    wh = opened(warehouse)
    facts = wh.info()
    listed = describe_columns(wh.catalog.snapshot) if columns else []
    if as_json:
        more = {"columns": [asdict(column) for column in listed]} if columns else {}
        send_document(facts | more)
        return 0
    screen = console()
    screen.print(
        f"[bold]{printed(facts['root'])}[/]  version {facts['version']}, layout {facts['layout']}\n"
    )
    entities = facts["entities"].items()
    screen.print("  ".join(counted_level(count, name) for name, count in entities))
    for title, counts in (("files", facts["files"]), ("modes of instances", facts["modes"])):
        listing = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        screen.print(f"{title}: {listing or 'none'}", highlight=False)
    screen.print()
    grid = Table(
        "table", "rows", "parts", "size", "bytes/row", box=None, header_style="bold", pad_edge=False
    )
    for table in facts["tables"]:
        rows, size = table["rows"], table["size_bytes"]
        per_row = f"{size / rows:.1f}" if rows else ""
        grid.add_row(table["name"], f"{rows:,}", str(table["parts"]), size_text(size), per_row)
    for column in grid.columns[1:]:
        column.justify = "right"
    screen.print(grid)
    if columns:
        screen.print()
        screen.print(_columns_grid(listed))
    return 0


def _columns_grid(columns: list[ColumnFacts]) -> Table:
    """Return a table of the sizes of columns, with their share of the stored table."""
    totals: Counter[str] = Counter()
    for column in columns:
        totals[column.table] += column.stored_bytes
    grid = Table(
        "table", "column", "size", "share", "before compression", "ratio", "codec", "encodings",
        box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for column in columns:
        grid.add_row(
            column.table, column.name, size_text(column.stored_bytes),
            f"{column.stored_bytes / max(totals[column.table], 1):.1%}",
            size_text(column.plain_bytes),
            f"{column.plain_bytes / max(column.stored_bytes, 1):.1f}",
            ", ".join(column.compressions), ", ".join(column.encodings),
        )  # fmt: skip
    for column_of_grid in grid.columns[2:6]:
        column_of_grid.justify = "right"
    return grid


def remove(
    sources: Annotated[
        list[str],
        Parameter(help="Folders, archives, files and s3://bucket/prefix to check."),
    ],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    yes: Annotated[bool, Parameter(negative="")] = False,
    even_all: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove files from the warehouse that no longer exist; without --yes only count them.

    Their rows in `files` stay, with the status removed; the rows of their instances are deleted,
    unless a duplicate exists, which is read instead. No source file is changed.

    Example: `dicom-warehouse remove /data/2026 -w my-warehouse --yes`

    Parameters
    ----------
    yes
        Remove them.
    even_all
        Remove them even if no known file of a source exists, as if a disk were not mounted.
    as_json
        Print one JSON object.
    """
    done = opened(warehouse).remove(*sources, delete=yes, even_all=even_all)
    if as_json:
        send_document(asdict(done))
        return 0
    screen = console()
    screen.print(f"{counted(done.known, 'known file')}, {done.vanished:,} missing", highlight=False)
    if yes:
        screen.print(
            f"{counted(done.removed, 'file')} removed with {counted(done.instances, 'instance')}; "
            f"held by other files: {done.taken_over:,}",
            highlight=False,
        )
    elif done.vanished:
        screen.print("use --yes to remove them", highlight=False)
    return 0


def rebuild(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    from_sources: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Derive the table `instances` again from the stored elements, in one transaction.

    Run it after an update that changed the meaning of a column. Parts that would not change are
    kept.

    Example: `dicom-warehouse rebuild -w my-warehouse`

    Parameters
    ----------
    from_sources
        Read every source file again instead, in its last mode: a new version may read more.
    as_json
        Print one JSON object.
    """
    done = opened(warehouse).rebuild(from_sources=from_sources)
    if as_json:
        send_document(asdict(done))
    elif from_sources:
        console().print(
            f"{counted(done.instances, 'file')} of {counted(done.parts, 'batch', 'batches')} "
            "read again",
            highlight=False,
        )
        if done.unreachable:
            console().print(
                f"{counted(done.unreachable, 'file')} could not be read; the rows are kept",
                highlight=False,
            )
    else:
        console().print(
            f"{counted(done.instances, 'instance')} derived; "
            f"{counted(done.parts, 'part')} replaced",
            highlight=False,
        )
    return 0


def compact(*, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Merge the Parquet files of many small ingests into few; no row changes.

    It may run at any time, also during ingests and queries. The old files stay for readers that
    have them open, until `vacuum`.

    Example: `dicom-warehouse compact -w my-warehouse`

    Parameters
    ----------
    as_json
        Print one JSON object.
    """
    done = opened(warehouse).compact()
    if as_json:
        send_document(asdict(done))
        return 0
    screen = console()
    for table, parts in done.before.items():
        if parts != done.after[table]:
            screen.print(
                f"{table}: {counted(parts, 'part')}, now {done.after[table]:,}", highlight=False
            )
    if done.before == done.after:
        screen.print("nothing to merge")
    return 0


def vacuum(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    retention_days: float = 7,
    yes: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Delete Parquet files that no recent version needs; without --yes only count them.

    They are left by commits that replaced or compacted parts, and by writers that were killed. It
    may run at any time, also during ingests and queries.

    Example: `dicom-warehouse vacuum -w my-warehouse --yes`

    Parameters
    ----------
    retention_days
        Days for which a version stays readable after the next one, from 0 to 30. With 0, a program
        that has the warehouse open must open it again.
    yes
        Delete the files.
    as_json
        Print one JSON object that lists every file.
    """
    try:
        retention = dt.timedelta(days=retention_days)
    except (ValueError, OverflowError):
        raise errors.UsageError(
            f"{retention_days:g} is not a number of days from 0 to 30"
        ) from None
    done = opened(warehouse).vacuum(retention, delete=yes)
    if as_json:
        send_document(asdict(done) | {"size_bytes": done.size_bytes})
        return 0
    screen = console()
    for table, count in Counter(part.table for part in done.spare).items():
        size = sum(part.size_bytes for part in done.spare if part.table == table)
        screen.print(f"{table}: {counted(count, 'file')}, {size_text(size)}", highlight=False)
    verb = "deleted" if yes else "can be deleted, with --yes"
    screen.print(
        f"{counted(len(done.spare), 'file')}, {size_text(done.size_bytes)} {verb}", highlight=False
    )
    if done.in_use:
        screen.print(
            f"{counted(done.in_use, 'file')} may belong to a running ingest: not deleted",
            highlight=False,
        )
    return 0
