"""The command ``dicom-warehouse``: arguments in, text out. No logic of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, Self

import duckdb
from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from warehouse import api, errors
from warehouse.catalog import answer
from warehouse.catalog.connect import ask
from warehouse.catalog.header_lines import lines
from warehouse.catalog.header_rows import header_of_file
from warehouse.ingest import IngestReport
from warehouse.ingest import ingest as run_ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store.dictionary import add_dictionary, read_dictionary
from warehouse.store.report import describe_store

DEFAULT_WAREHOUSE = Path("warehouse-data")

USAGE_ERRORS = (
    errors.UsageError, errors.SourceNotFound, errors.UnknownTable, errors.NotAWarehouse,
    errors.InstanceNotFound,
)  # fmt: skip

app = App(
    name="dicom-warehouse",
    help="A columnar analytics warehouse for DICOM: point it at files, ask in SQL.\n\n"
    "Example: `dicom-warehouse ingest /data/dicom && "
    'dicom-warehouse sql "select Modality, count(*) from series group by all"`',
    help_format="markdown",
    version=lambda: metadata.version("dicom-warehouse"),
    version_flags=["--version"],
)

dictionary = App(
    name="dictionary",
    help="Names of private elements, beside those that pydicom knows.\n\n"
    "Example: `dicom-warehouse dictionary add vendor.csv`",
)
app.command(dictionary)

Root = Annotated[
    Path,
    Parameter(
        name=["--warehouse", "-w"], env_var="DICOM_WAREHOUSE",
        help="Folder of the warehouse.",
    ),
]  # fmt: skip


@app.command
def ingest(
    sources: Annotated[list[Path], Parameter(help="Files, folders and zip archives, in any mix.")],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    mode: Annotated[str, Parameter(env_var="DICOM_WAREHOUSE_MODE")] = "normal",
    pattern: Annotated[list[str] | None, Parameter(negative="")] = None,
    workers: int | None = None,
    blobs: bool = True,
    strict: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read new and changed DICOM files into the warehouse; make it if it does not exist.

    Source files are opened read-only. A file that cannot be read becomes a row of `files` with
    the reason, and the run goes on. Run it again at any time: nothing is read twice.

    Example: `dicom-warehouse ingest /data/2026 archive.zip -w my-warehouse --mode full`

    Parameters
    ----------
    mode
        Which elements become rows: minimal (none, entities only), normal (no private elements)
        or full.
    pattern
        Take only files whose name matches this shell pattern, in upper or lower case; may be
        repeated.
    workers
        Processes that read in parallel; by default one per processor.
    blobs
        Keep binary values over 256 bytes (never pixel data); otherwise only length and digest.
    strict
        Exit with 1 if any file was rejected, and name it.
    as_json
        Print one JSON object instead of the report.
    quiet
        Print no report.
    """
    settings = IngestSettings(
        mode=Mode.parse(mode), patterns=tuple(pattern or ()), workers=workers, keep_blobs=blobs
    )
    with _Bar(enabled=not quiet) as bar:
        report = run_ingest(warehouse, sources, settings, progress=bar)
    if as_json:
        fields = asdict(report)
        fields["rejects"] = [{"path": path, "reason": why} for path, why in report.rejects]
        print(json.dumps(fields))
    elif not quiet:
        _print_report(report, warehouse)
    if strict and report.rejected:
        for path, reason in report.rejects:
            print(f"rejected: {path}: {reason}", file=sys.stderr)
        return 1
    return 0


@app.command
def sql(
    query: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Annotated[
        Literal["table", "csv", "json", "parquet"] | None, Parameter(name="--format")
    ] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
) -> int:
    """Ask the warehouse in DuckDB's SQL.

    Example: `dicom-warehouse sql "select Modality, count(*) from series group by all"`

    Parameters
    ----------
    query
        One statement that returns rows; tables and views are those of `dicom-warehouse tables`.
    form
        How to print the rows; json is one array of objects. With -o the default follows the name.
    output
        File to write instead of standard output.
    """
    suffix = output.suffix.removeprefix(".") if output else ""
    chosen: str = form or (suffix if suffix in answer.FORMATS else "table")
    catalog = _existing(warehouse).catalog
    relation = ask(catalog, query)
    if chosen == "table":
        text = _boxed(relation)
        if output:
            output.write_text(text + "\n", encoding="utf-8")
        else:
            print(text)
    elif output:
        answer.write(catalog, relation, chosen, output)
    elif chosen == "parquet":
        raise errors.UsageError("parquet is binary: name a file with -o FILE")
    else:
        sys.stdout.flush()
        answer.send(catalog, relation, chosen, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return 0


@app.command
def tables(*, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """List tables and views, with what a row of each is.

    Example: `dicom-warehouse tables -w my-warehouse`
    """
    catalog = _existing(warehouse).catalog
    grid = Table(
        "name", "rows", "kind", "what it is", box=None, header_style="bold", pad_edge=False
    )
    for model in sorted(catalog.models.values(), key=lambda m: (m.layer, m.name)):
        count = catalog.connection.execute(f"select count(*) from {model.name}").fetchall()[0][0]
        grid.add_row(model.name, f"{count:,}", "table" if model.table else "view", model.summary)
    grid.columns[1].justify = "right"
    _console().print(grid)
    return 0


@app.command
def describe(name: str, /, *, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Show the columns of a table or view: type and meaning.

    Example: `dicom-warehouse describe series`
    """
    model = _existing(warehouse).catalog.model(name)
    console = _console()
    console.print(model.description, highlight=False)
    if model.grain:
        console.print(f"\nOne row per {', '.join(model.grain)}.\n", highlight=False)
    grid = Table("column", "type", "meaning", box=None, header_style="bold", pad_edge=False)
    for column in model.columns:
        grid.add_row(column.name, column.type, column.description)
    console.print(grid)
    return 0


@app.command
def header(
    uid_or_file: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Annotated[Literal["table", "json", "csv"], Parameter(name="--format")] = "table",
    full: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print a DICOM header: of a file, or of an instance in the warehouse.

    Example: `dicom-warehouse header scan/0001.dcm`

    Parameters
    ----------
    uid_or_file
        Path of any DICOM file, or SOPInstanceUID of a stored instance.
    form
        A table for people, the DICOM JSON model (PS3.18 Annex F), or CSV with one line per element.
    full
        Print long values whole in the table.
    """
    if os.path.isfile(uid_or_file):
        found = header_of_file(uid_or_file, read_dictionary(warehouse))
    else:
        try:
            found = _existing(warehouse).header(uid_or_file)
        except errors.NotAWarehouse as error:
            raise errors.InstanceNotFound(uid_or_file) from error
    if form == "json":
        print(found.to_json())
        return 0
    if form == "csv":
        print(found.frame().write_csv(), end="")
        return 0
    console = _console()
    width = None if full else max(80, console.width)
    styles = {"title": "bold", "item": "dim", "public": "", "private": ""}
    for kind, line in lines(found, width):
        console.print(line, style=styles[kind], markup=False, highlight=False, soft_wrap=True)
    return 0


@app.command
def tags(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    like: str = "",
    private: Annotated[bool, Parameter(negative="")] = False,
    form: Annotated[Literal["table", "csv", "json"], Parameter(name="--format")] = "table",
) -> int:
    """List the elements that the archive really contains, with counts and an example value.

    No example is shown where a value may identify a person: attributes of PS3.15 Table E.1-1,
    names, dates, free text, private elements.

    Example: `dicom-warehouse tags --like echo`

    Parameters
    ----------
    like
        Only elements whose tag, keyword, private name or creator contains this text, in any case.
    private
        Only private elements.
    form
        A table for people, CSV, or one JSON array.
    """
    found = _existing(warehouse).tags(like=like, private=private)
    if form == "table":
        grid = Table(*found.columns, box=None, header_style="bold", pad_edge=False)
        for row in found.fetchall():
            grid.add_row(*("" if cell is None else escape(_printable(cell)) for cell in row))
        _console().print(grid, highlight=False)
    else:
        answer.send(_existing(warehouse).catalog, found, form, sys.stdout.buffer)
    return 0


@dictionary.command
def add(file: Path, /, *, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Add names of private elements from a CSV or JSON file to the warehouse.

    Fields: creator, tag (such as 0019xx9c, whatever the block) or group and byte, vr, name. They
    come before pydicom's names in headers, `tags` and the view `private_names`.

    Example: `dicom-warehouse dictionary add vendor.csv`
    """
    count = add_dictionary(warehouse, file)
    _console().print(f"{count:,} names of private elements added", highlight=False)
    return 0


@app.command
def info(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show version, entities and size of the warehouse.

    Example: `dicom-warehouse info -w my-warehouse`
    """
    catalog = _existing(warehouse).catalog
    facts = describe_store(catalog.snapshot)
    entities = {
        name: catalog.connection.execute(f"select count(*) from {name}").fetchall()[0][0]
        for name in ("patients", "studies", "series", "instances")
    }
    statuses = dict(
        catalog.connection.execute(
            "select status, count(*) from files group by all order by all"
        ).fetchall()
    )
    if as_json:
        print(json.dumps(asdict(facts) | {"entities": entities, "files": statuses}))
        return 0
    console = _console()
    console.print(f"[bold]{facts.root}[/]  version {facts.version}, layout {facts.layout}\n")
    console.print("  ".join(f"{count:,} {name}" for name, count in entities.items()))
    console.print(
        "files: " + (", ".join(f"{n:,} {s}" for s, n in statuses.items()) or "none") + "\n"
    )
    grid = Table(
        "table", "rows", "parts", "size", "bytes/row", box=None, header_style="bold", pad_edge=False
    )
    for table in facts.tables:
        per_row = f"{table.size_bytes / table.rows:.1f}" if table.rows else ""
        grid.add_row(
            table.name, f"{table.rows:,}", str(table.parts), _size(table.size_bytes), per_row
        )
    for column in grid.columns[1:]:
        column.justify = "right"
    console.print(grid)
    return 0


# -- what people see ------------------------------------------------------------------------------


class _Bar:
    """A live bar on standard error; silent when that is no terminal."""

    def __init__(self, *, enabled: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("files  {task.fields[rate]:,.0f}/s  {task.fields[rejected]} rejected"),
            TimeRemainingColumn(), console=console, transient=True,
            disable=not (enabled and console.is_terminal),
        )  # fmt: skip
        self._task = self._progress.add_task("listing", total=None, rate=0.0, rejected=0)
        self._done = self._rejected = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listed(self, files: int) -> None:
        self._progress.update(self._task, completed=files)

    def planned(self, files: int) -> None:
        self._started = time.monotonic()
        self._progress.reset(self._task, total=files, description="reading")

    def read(self, files: int, rejected: int) -> None:
        self._done += files
        self._rejected += rejected
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        self._progress.update(self._task, completed=self._done, rate=rate, rejected=self._rejected)


def _print_report(report: IngestReport, root: Path) -> None:
    console = _console()
    kinds = ("created", "replaced", "existing", "duplicate", "rejected")
    counts = ", ".join(
        f"{getattr(report, kind):,} {kind}" for kind in kinds if getattr(report, kind)
    )
    rate = report.files / report.seconds if report.seconds else 0
    if not report.files:
        console.print("no files found")
        return
    console.print(
        f"{report.files:,} files: {counts}  ({report.seconds:.1f} s, {rate:,.0f} files/s)",
        highlight=False,
    )
    for path, reason in report.rejects[:5]:
        console.print(f"  rejected {path}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if report.rejected > 5:
        console.print(
            f"  … all of them: dicom-warehouse sql "
            f"\"select path, reason from files where status = 'rejected'\" -w {root}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _boxed(relation: duckdb.DuckDBPyRelation) -> str:
    """Draw rows as DuckDB does: the first and last of many, as wide as the terminal."""
    width = shutil.get_terminal_size((160, 40)).columns if sys.stdout.isatty() else 10_000
    box = io.StringIO()
    try:
        with redirect_stdout(box):
            relation.show(max_width=width, max_rows=40)
    except duckdb.Error as error:
        raise errors.QueryFailed(str(error)) from error
    return box.getvalue().rstrip("\n")


def _console() -> Console:
    # Off a terminal nothing is wrapped, so that lines can be read by programs.
    return Console(width=None if sys.stdout.isatty() else 10_000)


def _printable(cell: object) -> str:
    text = " ".join(str(cell).split())
    return text if len(text) <= 60 else text[:59] + "…"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _existing(root: Path) -> api.Warehouse:
    return api.open(root)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"error: {error}", file=sys.stderr)
        print("try: dicom-warehouse --help", file=sys.stderr)
        code = 2
    except errors.WarehouseError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2 if isinstance(error, USAGE_ERRORS) else 1
    except KeyboardInterrupt:
        print("stopped; what was committed stays, run it again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
