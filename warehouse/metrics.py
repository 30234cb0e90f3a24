"""Metrics of a warehouse and of its last ingest, in the text format of Prometheus.

In: the folder of a warehouse, and the durations of an ingest. Out: text format 0.0.4, in a file
that is replaced atomically. All counts are gauges of the newest version. Reject reasons are texts
of this software and contain no header values.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from warehouse.outputs import write_bytes
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout, tables
from warehouse.store.duck import lent, view_files
from warehouse.store.logs import read_log, totals
from warehouse.store.making import log_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from warehouse.ingest_report import IngestReport

REASONS = 20
"""Number of reject reasons, the most frequent ones, that have a line of their own."""

_OUTCOMES = ("created", "replaced", "existing", "duplicate", "rejected", "moved", "forgotten")


@dataclass(frozen=True, slots=True)
class Received:
    """State of a listener's spool; see ``warehouse.listener.state``."""

    aet: str
    waiting: int
    """Files not ingested yet."""
    updated: float
    """When the listener wrote this state, in seconds since 1970; it does so every ten seconds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Durations and result of an ingest."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage → seconds: ``list``, ``read``, ``commit``, and ``finish`` after the last commit."""
    batches: int = 0
    failed: bool = False
    report: IngestReport | None = None


def write_metrics(
    root: Path, target: Path, measured: Measured | None = None, received: Iterable[Received] = ()
) -> None:
    """Write the metrics of a warehouse to a file, which is replaced atomically.

    Parameters
    ----------
    root
        Folder of the warehouse.
    target
        File to write.
    measured
        Durations and result of the last ingest.
    received
        State of each listener.

    Raises
    ------
    UsageError, ExportFailed, NotAWarehouse, LayoutMismatch, StoreDamaged
    """
    write_bytes(metrics(root, measured, received).encode(), target, force=True)


def metrics(root: Path, measured: Measured | None = None, received: Iterable[Received] = ()) -> str:
    """Return the metrics of a warehouse, its listeners and its last ingest; see ``write_metrics``.

    Raises
    ------
    NotAWarehouse, LayoutMismatch, StoreDamaged
    """
    return "".join(f"{line}\n" for line in (*_state(root), *_spools(received), *_run(measured)))


def _state(root: Path) -> Iterator[str]:
    snapshot = delta.snapshot(root)
    committed = log_path(root, "files", snapshot.version).stat().st_mtime
    yield from _family("version", "newest version of the warehouse", [({}, snapshot.version)])
    yield from _family(
        "version_age_seconds", "seconds since the newest version was committed",
        [({}, round(max(0.0, time.time() - committed), 3))],
    )  # fmt: skip
    facts = {
        table: totals(read_log(root, table, version).parts)
        for table, version in snapshot.versions.items() if table in tables.names()
    }  # fmt: skip
    for place, (name, description) in enumerate(
        (("parts", "Parquet files"), ("rows", "rows"), ("bytes", "bytes of Parquet files"))
    ):
        yield from _family(
            name, f"{description} of the newest version, by table",
            [({"table": table}, counts[place]) for table, counts in sorted(facts.items())],
        )  # fmt: skip
    yield from _family("instances", "instances", [({}, facts["instances"][1])])
    with lent() as connection:
        view_files(connection, snapshot.paths("files"))
        statuses = connection.execute(
            "select status, count(*) from files group by all order by status"
        ).fetchall()
        rejects = connection.execute(statement("counted_rejects")).fetchall()
    yield from _family(
        "files", "known source files, by what became of them",
        [({"status": status}, count) for status, count in statuses],
    )  # fmt: skip
    listed = [*rejects[:REASONS]]
    if rest := sum(count for _, count in rejects[REASONS:]):
        listed.append(("other", rest))
    yield from _family(
        "rejects", "rejected source files, by reason",
        [({"reason": reason}, count) for reason, count in listed],
    )  # fmt: skip
    waiting = sum(
        1 for entry in layout.claims_folder(root).iterdir()
        if entry.name.isdecimal() and entry.stat().st_size
    )  # fmt: skip
    yield from _family("waiting_batches", "planned batches not yet read", [({}, waiting)])


def _spools(received: Iterable[Received]) -> Iterator[str]:
    found = sorted(received, key=lambda spool: spool.aet)
    if not found:
        return
    yield from _family(
        "spool_files", "received files that no ingest has taken yet, by listener",
        [({"aet": spool.aet}, spool.waiting) for spool in found],
    )  # fmt: skip
    yield from _family(
        "spool_updated_timestamp_seconds", "when the listener counted them",
        [({"aet": spool.aet}, round(spool.updated, 3)) for spool in found],
    )  # fmt: skip


def _run(measured: Measured | None) -> Iterator[str]:
    if measured is None:
        return
    yield from _family(
        "ingest_failed", "1 if the last ingest failed, else 0", [({}, int(measured.failed))]
    )
    yield from _family(
        "ingest_ended_timestamp_seconds", "when the last ingest ended", [({}, int(time.time()))]
    )
    yield from _family("ingest_batches", "batches of the last ingest", [({}, measured.batches)])
    yield from _family(
        "ingest_seconds", "seconds of the last ingest, by stage",
        [({"stage": stage}, seconds) for stage, seconds in measured.seconds.items()],
    )  # fmt: skip
    if measured.report:
        counts = asdict(measured.report)
        yield from _family(
            "ingest_files", "files that the last ingest found, by what became of them",
            [({"outcome": outcome}, counts[outcome]) for outcome in _OUTCOMES],
        )  # fmt: skip


def _family(
    name: str, description: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    name = f"dicom_warehouse_{name}"
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
