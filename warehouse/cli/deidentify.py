"""``deidentify``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Root, opened
from warehouse.cli.document import send_document
from warehouse.counted import counted, counted_level
from warehouse.escape import escaped

deidentify = App(
    name="deidentify",
    help="Keys, checks and tables of de-identified exports; `cohort export --deidentify` writes "
    "them.\n\nExample: `dicom-warehouse deidentify key study.key`",
)

_SHOWN = 20


@deidentify.command
def key(target: Path, /, *, as_json: AsJson = False) -> int:
    """Write a new key to a file that only its owner can read.

    The same key gives the same new identifiers in every export. It allows to re-identify patients:
    do not store it with shared data.

    Example: `dicom-warehouse deidentify key study.key`
    """
    from warehouse.deidentify.key import write_key

    write_key(target)
    if as_json:
        send_document({"target": target})
        return 0
    print(escaped(f"{target}: do not store it with shared data"))
    return 0


@deidentify.command
def check(
    target: Path, /, *, against: Annotated[Path, Parameter(help="Warehouse that was exported.")],
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Search an export for identifying values of its warehouse; exit with 1 if one is found.

    Every byte is searched, in all text encodings, as UTF-16 and Base64, in compressed data and in
    names of files. The output has the file and the attribute of a value, but not the value.

    Example: `dicom-warehouse deidentify check shared --against my-warehouse`
    """
    checked = opened(str(against)).deidentified.check(target)
    if as_json:
        send_document({
            "target": target, "files": checked.files, "bytes": checked.bytes,
            "values": checked.values, "passed_over": checked.passed_over,
            "survivors": [survivor._asdict() for survivor in checked.survivors],
        })  # fmt: skip
        return 1 if checked.survivors else 0
    for survivor in checked.survivors[:_SHOWN]:
        print(escaped(f"{survivor.file}: {survivor.attribute} ({survivor.how})"))
    if (more := len(checked.survivors) - _SHOWN) > 0:
        print(f"and {more:,} more")
    values = counted(checked.values, "value")
    print(escaped(f"{target}: {counted(checked.files, 'file')}, {values} searched for"))
    for reason, count in sorted(checked.passed_over.items()):
        print(f"  {count:>9,}  not searched for: {reason}")
    print(f"{counted(len(checked.survivors), 'value')} found")
    return 1 if checked.survivors else 0


@deidentify.command
def views(
    target: Path, /, *, retain: str = "", clean: str = "", key: Path | None = None,
    warehouse: Root = DEFAULT_WAREHOUSE, force: Force = False, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Write de-identified patients, studies, series and instances as a DuckDB database.

    Example: `dicom-warehouse deidentify views shared.duckdb --retain dates-shifted`

    Parameters
    ----------
    target
        File to write; its schema is `deidentified`.
    retain
        As for `cohort export`.
    clean
        As for `cohort export`.
    key
        As for `cohort export`.
    """
    from warehouse.deidentify.options import Deidentify

    how = Deidentify.from_options("basic", retain, clean, key)
    counts = opened(warehouse).deidentified.write_views(
        target, retain=how.retain, clean=how.clean, key=how.key, force=force
    )
    if as_json:
        send_document({"target": target, "rows": counts})
        return 0
    text = ", ".join(counted_level(count, table) for table, count in counts.items())
    print(escaped(f"{target}: {text}"))
    return 0


@deidentify.command
def mapping(table: Path, /, *, key: Path, as_json: AsJson = False) -> int:
    """Print the original and new identifiers of an export, as CSV or JSON.

    Example: `dicom-warehouse deidentify mapping uids.csv.encrypted --key study.key`
    """
    from warehouse.deidentify import mapping as tables
    from warehouse.deidentify.key import read_key

    names, rows = tables.HEAD.split(","), tables.read(table, read_key(key))
    if as_json:
        send_document([dict(zip(names, row, strict=True)) for row in rows])
        return 0
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(names)
    out.writerows(rows)
    return 0
