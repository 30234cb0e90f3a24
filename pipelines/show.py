"""Format the metadata of runs for Dagster's pages: numbers, reasons and paths only.

Markdown is used where Dagster has no type. No value of a header is shown, so days are those of the
arrival of files, not of studies.
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
    """Return the metadata of an ingested batch in one table."""
    rejects = [
        dg.TableRecord({"path": escaped(path), "reason": escaped(why)})
        for path, why in report.rejects
    ]
    size = batch.stored_bytes[table]
    paths = dg.TableSchema([dg.TableColumn("path"), dg.TableColumn("reason")])
    return {
        "dagster/partition_row_count": batch.stored_rows[table],
        **({"stored_bytes": size} if size is not None else {}),
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
        "arrivals": dg.MetadataValue.md(_bar_table(batch.arrivals)),
    }


def listing_metadata(planned: Sequence[str], waiting: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of a listing: new and waiting batches."""
    return {"new_batches": len(planned), "waiting_batches": len(waiting), "waiting": list(waiting)}


def removal_metadata(report: RemovalReport, policy: str) -> dict[str, Any]:
    """Return the metadata of a removal: vanished files, and what was removed or taken over."""
    return {
        "policy": policy,
        "known": report.known,
        "vanished": report.vanished,
        "removed": report.removed,
        "instances": report.instances,
        "taken_over": report.taken_over,
        "version": report.version,
    }


def rerun_metadata(reruns: Sequence[Rerun]) -> dict[str, Any]:
    """Return the metadata of cohort reruns, with a table of them."""
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
    """Return a Markdown table; text of files is escaped, so it cannot leave its cell."""
    if not rows:
        return "none"
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return markdown(value)


def _bar_table(days: Sequence[tuple[dt.date, int]]) -> str:
    """Return a table of instances per day with bars, scaled to the busiest day."""
    max_count = max((count for _, count in days), default=0)
    rows = [(f"{day}", count, "█" * max(1, round(BAR * count / max_count))) for day, count in days]
    return _table(["arrived", "instances", ""], rows)
