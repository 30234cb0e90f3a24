"""``ingest``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console
from warehouse.cli.watching import Watch, measured
from warehouse.counted import counted
from warehouse.escape import escaped
from warehouse.ingest_report import IngestReport
from warehouse.process import go_last
from warehouse.settings import IngestSettings, Limits


def ingest(
    sources: Annotated[
        list[str],
        Parameter(help="Files, folders, zip archives and s3://bucket/prefix, in any mix."),
    ],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    mode: Annotated[str, Parameter(env_var="DICOM_WAREHOUSE_MODE")] = "full",
    pattern: Annotated[list[str] | None, Parameter(negative="")] = None,
    workers: int | None = None,
    scheduler: Annotated[str | None, Parameter(env_var="DICOM_WAREHOUSE_SCHEDULER")] = None,
    batch_files: int = IngestSettings().batch_files,
    nice: int = 0,
    idle: Annotated[bool, Parameter(negative="")] = False,
    blobs: bool = True,
    limit: Annotated[list[str] | None, Parameter(negative="")] = None,
    today: Annotated[bool, Parameter(negative="")] = False,
    strict: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
    log_format: Literal["json"] | None = None,
    metrics: Path | None = None,
) -> int:
    """Read new and changed DICOM files into the warehouse; create it if it does not exist.

    Source files are opened read-only. A file that cannot be read becomes a row of `files` with
    the reason, and the ingest continues. Run it again at any time: no file is read twice.

    Example: `dicom-warehouse ingest /data/2026 archive.zip`

    Example: `dicom-warehouse ingest s3://bucket/dicom -w my-warehouse`

    Parameters
    ----------
    mode
        Which elements become rows: full (all), normal (no private elements) or minimal (none,
        entity tables only). Views report where elements that they need are missing.
    pattern
        Read only files whose name matches this shell pattern, ignoring case; may be repeated.
    workers
        Processes that read in parallel; by default one per processor.
    scheduler
        Read with the workers of the Dask scheduler at this address, such as tcp://node1:8786.
    batch_files
        Maximum number of files per transaction; fewer if reading them would take longer than half
        a minute.
    nice
        Added to the niceness of the process and its workers, 0 to 19 (lowest priority).
    idle
        Use processor and disk only when they are otherwise idle. Linux only.
    blobs
        Store binary values over 256 bytes (never pixel data); otherwise only length and digest.
    limit
        Limit per file, as rows=5000000; may be repeated. By default those in
        $DICOM_WAREHOUSE_LIMITS, separated by commas. A file that exceeds a limit is rejected, and
        read again by the next ingest with a higher limit.
    today
        Read only today's subfolder YYYY/MM/DD of each source, if there is one.
    strict
        Exit with 1 if any file was rejected, and print the first 1,000 with their reasons.
    as_json
        Print one JSON object instead of the report.
    quiet
        Print no report.
    log_format
        Print a line of JSON on stderr for each batch: its key, the number of files by outcome, and
        seconds since the start.
    metrics
        File for metrics of the warehouse and of this run in the text format of Prometheus, such as
        /var/lib/node_exporter/dicom.prom for its node_exporter. It is replaced atomically, also if
        the run fails.
    """
    go_last(nice, idle=idle)
    wh = opened(warehouse)
    watch = Watch(enabled=not quiet and log_format is None, log=log_format == "json")
    with watch as bar, measured(wh, metrics, watch):
        report = wh.ingest(
            *sources, today=today, mode=mode, pattern=pattern,
            workers=workers, scheduler=scheduler, batch_files=batch_files, keep_blobs=blobs,
            progress=bar, limits=Limits.parse(limit) if limit else None,
        )  # fmt: skip
        watch.report = report
    if as_json:
        send_document(report_facts(report))
    elif not quiet:
        print_report(report, wh.url)
    if strict and report.rejected:
        for path, reason in report.rejects:
            print(escaped(f"rejected: {path}: {reason}"), file=sys.stderr)
        return 1
    return 0


def report_facts(report: IngestReport) -> dict[str, Any]:
    """Return the report as a mapping, for JSON."""
    rejects = [{"path": path, "reason": why} for path, why in report.rejects]
    return asdict(report) | {"rejects": rejects}


def print_report(report: IngestReport, root: str) -> None:
    """Print the number of files per outcome, and the first rejects."""
    screen = console()
    kinds = ("created", "replaced", "existing", "duplicate", "rejected", "moved", "forgotten")
    counts = ", ".join(
        f"{getattr(report, kind):,} {kind}" for kind in kinds if getattr(report, kind)
    )
    rate = report.files / report.seconds if report.seconds else 0
    if not report.files:
        screen.print("no files found")
        return
    screen.print(
        f"{counted(report.files, 'file')}: {counts}  ({report.seconds:.1f} s, {rate:,.0f} files/s)",
        highlight=False,
    )
    for path, reason in report.rejects[:5]:
        line = escaped(f"  rejected {path}: {reason}")
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.rejected > max(5, report.unreachable):  # the table has no reject of stored files
        question = "select file_path, reason from files where status = 'rejected'"
        screen.print(
            f'  … all of them: dicom-warehouse sql "{question}" -w {quote(escaped(root))}',
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
