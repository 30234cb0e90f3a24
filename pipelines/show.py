"""Metadata of runs for Dagster's pages: numbers, reasons and paths only.

Markdown where Dagster has no form of its own; no value of a header is shown, so days are those on
which files arrived and not those of studies.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg

from warehouse.catalog.batch_report import BatchReport
from warehouse.cohorts.reruns import Rerun
from warehouse.escape import escaped, markdown
from warehouse.ingest_report import IngestReport
from warehouse.removal import RemovalReport

BAR = 40
"""Characters of the longest bar of a plot."""


def batch_metadata(report: IngestReport, batch: BatchReport, table: str) -> dict[str, Any]:
    """Return what reading a batch did, and what it left in one table."""
    rejects = [
        dg.TableRecord({"path": escaped(path), "reason": escaped(why)})
        for path, why in report.rejects
    ]
    paths = dg.TableSchema([dg.TableColumn("path"), dg.TableColumn("reason")])
    return {
        "dagster/partition_row_count": batch.stored_rows[table],
        "stored_bytes": batch.stored_bytes[table],
        "files": report.files,
        "instances": batch.instances,
        "created": report.created,
        "replaced": report.replaced,
        "existing": report.existing,
        "duplicate": report.duplicate,
        "rejected": report.rejected,
        "source_bytes": batch.source_bytes,
        "seconds": report.seconds,
        "files_per_second": round(report.files / report.seconds, 1) if report.seconds else 0.0,
        "readers": report.readers,
        "batches": report.batches,
        "version": report.version,
        "rejects": dg.MetadataValue.table(rejects, paths),
        "reject_reasons": dg.MetadataValue.md(_table(["reason", "files", "first"], batch.rejects)),
        "arrivals": dg.MetadataValue.md(_plot(batch.arrivals)),
    }


def listing_metadata(found: Sequence[str], waiting: Sequence[str]) -> dict[str, Any]:
    """Return what a listing of the sources found to do."""
    return {"new_batches": len(found), "waiting_batches": len(waiting), "waiting": list(waiting)}


def removal_metadata(found: RemovalReport, policy: str) -> dict[str, Any]:
    """Return how many files vanished, and what became of what they held."""
    return {
        "policy": policy,
        "known": found.known,
        "vanished": found.vanished,
        "removed": found.removed,
        "instances": found.instances,
        "taken_over": found.taken_over,
        "version": found.version,
    }


def rerun_metadata(reruns: Sequence[Rerun]) -> dict[str, Any]:
    """Return what became of every question, as a table."""
    rows = [
        (
            rerun.cohort,
            # Values of parameters are chosen by people and may be those of a patient.
            ", ".join(sorted(rerun.parameters)),
            rerun.run.run if rerun.run else "",
            rerun.run.counts.get("series", "") if rerun.run else "",
            "yes" if rerun.changed else "",
            rerun.why_not or "",
        )
        for rerun in reruns
    ]
    names = ["cohort", "parameters", "run", "series", "changed", "why not"]
    return {
        "questions": len(reruns),
        "changed": sum(rerun.changed for rerun in reruns),
        "failed": sum(rerun.why_not is not None for rerun in reruns),
        "runs": dg.MetadataValue.md(_table(names, rows)),
    }


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a Markdown table; text of files cannot break out of its cell."""
    if not rows:
        return "none"
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return markdown(value)


def _plot(days: Sequence[tuple[dt.date, int]]) -> str:
    """Draw instances per day as bars; the longest is that of the busiest day."""
    most = max((count for _, count in days), default=0)
    rows = [(f"{day}", count, "█" * max(1, round(BAR * count / most))) for day, count in days]
    return _table(["arrived", "instances", ""], rows)
