"""Export rows of a run as CSV, Parquet, Arrow, JSON Lines, a UID list or an s5cmd manifest.

In: a run and the newest version of its warehouse. Out: a file, and ``FILE.cohort.json`` beside it.
Rows are streamed through DuckDB or Arrow batches, sorted by key, so that two exports are
byte-identical. The file gets its name only when it is complete.
"""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.cohorts.drafts import finish_export, refuse_export
from warehouse.cohorts.members import members_of, sources
from warehouse.cohorts.names import TEMPLATE, fill
from warehouse.cohorts.provenance import provenance, text
from warehouse.errors import ExportFailed, UsageError
from warehouse.outputs import draft_of
from warehouse.sqlfiles import statement
from warehouse.store.duck import columns_for_json, literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run

ROW_FORMATS = ("csv", "parquet", "arrow", "jsonl", "uids", "s5cmd")
ENTITIES = ("patients", "studies", "series", "instances")
_KEYS = {
    "patients": "patient_key", "studies": "study_key", "series": "series_key",
    "instances": "instance_key",
}  # fmt: skip
# With a hundred columns, larger row groups are spilled to disk, which takes twice the time.
_GROUPS = "row_group_size 32768"
# Text that spreadsheets interpret as a formula, unless an apostrophe precedes it. Some spreadsheets
# ignore spaces and empty lines before it.
_NO_FORMULA = "regexp_matches({c}, '^(\\s*[=+@-]|[\\t\\r\\n])')"


def export_rows(
    root: Path, run: Run, target: Path, form: str, *, rows: str = "series",
    preset: str | None = None, spreadsheet: bool = False, source: str | None = None,
    force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write rows of the members of a run; return the provenance.

    Parameters
    ----------
    root
        Folder of the warehouse.
    run
        The run to export.
    target
        File that does not exist yet, unless ``force``.
    form
        One of ``ROW_FORMATS``.
    rows
        Entity per row: `patients`, `studies`, `series` or `instances`.
    preset
        ``series_csv``: the fourteen columns of django_dicom's CSV.
    spreadsheet
        CSV only: write a byte order mark, and put an apostrophe before text that a spreadsheet
        would run as a formula: text that begins with ``= + - @``, even after spaces, or with tab,
        return or line feed. By default values are written as stored.
    source
        s5cmd only: ``/data=s3://bucket/dicom`` replaces the first prefix by the second.
    force
        Replace an existing file and its sidecar.

    Raises
    ------
    TargetExists, UsageError
    ExportFailed
        A member is no longer in the warehouse, or the disk is full; partial output is deleted.
    """
    if form not in ROW_FORMATS:
        raise UsageError(f"unknown format {form!r}; choose one of: {', '.join(ROW_FORMATS)}")
    check_options(form, rows, preset, source, spreadsheet=spreadsheet)
    refuse_export(target, force=force)
    catalog = members_of(root, run)
    facts = provenance(run, form, catalog.snapshot.version)
    with draft_of(target) as draft:
        if form == "uids":
            _lines(draft, (f"{key}\n" for key in _keys(catalog)))
        elif form == "s5cmd":
            _lines(draft, _s5cmd(catalog, source))
        else:
            query = _query(rows, preset)
            write_table(catalog, draft, form, query, facts, spreadsheet=spreadsheet)
        finish_export(draft, target, facts, force=force)
    return facts


def check_options(
    form: str, rows: str, preset: str | None, source: str | None = None, *, spreadsheet: bool
) -> None:
    """Raise for options that a format of rows does not have, rather than ignore them.

    Raises
    ------
    UsageError
    """
    if preset not in {None, "series_csv"}:
        raise UsageError(f"unknown preset {preset!r}; there is: series_csv")
    if rows not in ENTITIES:
        raise UsageError(f"rows must be one of: {', '.join(ENTITIES)}")
    if form in {"uids", "s5cmd"} and (preset or rows not in {"series", "instances"}):
        raise UsageError(f"an export as {form} takes no rows and no preset: it lists instances")
    if preset and rows != "series":
        raise UsageError(f"the preset {preset} has a row per series; leave out rows")
    if spreadsheet and form != "csv":
        raise UsageError("spreadsheet is an option of CSV")
    if source is not None and form != "s5cmd":
        raise UsageError("source is an option of s5cmd")


def _query(rows: str, preset: str | None) -> str:
    key = _KEYS[rows]
    return (
        statement("series_csv", "runs")
        if preset
        else f"from {rows} semi join members on {rows}.{key} = members.{key} order by {rows}.{key}"
    )


def _for_spreadsheets(catalog: Catalog, query: str) -> str:
    """Return a query that escapes text that a spreadsheet would run as a formula."""
    columns = catalog.connection.execute(f"describe {query}").fetchall()
    shown = ", ".join(
        f"""if({_NO_FORMULA.format(c=f'"{name}"')}, '''' || "{name}", "{name}") as "{name}\""""
        if kind == "VARCHAR"
        else f'"{name}"'
        for name, kind, *_ in columns
    )
    return f"select {shown} from ({query})"


def write_table(
    catalog: Catalog, draft: Path, form: str, query: str, facts: dict[str, Any], *,
    spreadsheet: bool = False,
) -> None:  # fmt: skip
    """Write the rows of a query as csv (optionally for spreadsheets), parquet, arrow or jsonl."""
    if spreadsheet:
        query = _for_spreadsheets(catalog, query)
    if form == "arrow":
        reader = catalog.connection.sql(query).to_arrow_reader(10_000)
        schema = reader.schema.with_metadata({"dicom_warehouse_cohort": text(facts)})
        with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in reader:
                writer.write_batch(batch.cast(schema))
        return
    if form == "jsonl":
        query = f"select {columns_for_json(catalog.connection, query)} from ({query})"
    about = f"{{dicom_warehouse_cohort: {literal(text(facts))}}}"
    options = {
        "csv": "format csv, header true",
        "jsonl": "format json, array false",
        "parquet": f"format parquet, compression zstd, {_GROUPS}, kv_metadata {about}",
    }
    catalog.connection.execute(f"copy ({query}) to {literal(str(draft))} ({options[form]})")
    if spreadsheet:
        _put_mark(draft)


def _put_mark(draft: Path) -> None:
    """Prepend a byte order mark to a file."""
    plain = draft.with_name(f"{draft.name}.plain")
    draft.rename(plain)
    try:
        with plain.open("rb") as source, draft.open("wb") as marked:
            marked.write(b"\xef\xbb\xbf")
            shutil.copyfileobj(source, marked, 1 << 20)
    finally:
        plain.unlink(missing_ok=True)


def _lines(draft: Path, lines: Iterator[str]) -> None:
    with draft.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)


def _keys(catalog: Catalog) -> Iterator[str]:
    keys = catalog.connection.sql("select instance_key from members order by instance_key")
    for batch in keys.to_arrow_reader(50_000):
        yield from batch["instance_key"].to_pylist()


def _s5cmd(catalog: Catalog, source: str | None) -> Iterator[str]:
    """Yield a copy command per member; archive members have no object, so they are an error."""
    old, _, new = (source or "").partition("=")
    if source and not new:
        raise UsageError("source must be OLD=NEW, as in /data=s3://bucket/dicom")
    for member in sources(catalog):
        path = member.path
        if "!/" in path or path.startswith("file://") or "\n" in path:
            raise ExportFailed(
                "an s5cmd manifest",
                f"{path!r} is a member of an archive or has a special name; use --format zip or "
                "copy",
            )
        if source:
            if not path.startswith(old.rstrip("/") + "/"):
                raise ExportFailed("an s5cmd manifest", f"{path} is not in {old}")
            path = new.rstrip("/") + path[len(old.rstrip("/")) :]
        raw = "--raw " if any(c in path for c in "*?[") else ""
        yield f"cp {raw}{shlex.quote(path)} {fill(TEMPLATE, member.names)}\n"
