"""Progress of an ingest: a bar, log lines per batch, and a file of metrics."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from warehouse.cli.screen import Bar
from warehouse.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from warehouse.api import Warehouse
    from warehouse.ingest_report import IngestReport
    from warehouse.metrics import Received


class Watch(Bar):
    """A progress bar that measures each stage and, if enabled, logs a line per batch."""

    def __init__(self, *, enabled: bool, log: bool) -> None:
        super().__init__(enabled=enabled)
        self._log = log
        self._began = time.monotonic()
        self._planned: float | None = None
        self._read = self._committed = 0.0
        self._committing = 0.0
        self.batches = 0
        self.report: IngestReport | None = None

    def planned(self, files: int) -> None:
        """Set the number of files to read."""
        super().planned(files)
        self._planned = self._planned or time.monotonic()
        self._say({"event": "planned", "files": files})

    def read(self, files: int, rejected: int) -> None:
        """Advance by the files read; the batch is committed after its last ones."""
        super().read(files, rejected)
        self._read = time.monotonic()

    def committed(self, batch: str, outcomes: Mapping[str, int]) -> None:
        """Count and log a committed batch."""
        self.batches += 1
        self._committed = time.monotonic()
        self._committing += self._committed - (self._read or self._committed)
        self._say({"event": "batch", "batch": batch, **dict(sorted(outcomes.items()))})

    def seconds(self) -> dict[str, float]:
        """Return how long each stage took so far.

        ``read`` is the time spent waiting for workers, without commits, during which workers read
        on; ``finish`` follows the last commit: duplicates are resolved, a bucket and materialized
        views updated.
        """
        now = time.monotonic()
        planned = self._planned or now
        ended = self._committed or now
        stages = {
            "list": planned - self._began, "read": max(0.0, ended - planned - self._committing),
            "commit": self._committing, "finish": now - ended,
        }  # fmt: skip
        return {stage: round(seconds, 3) for stage, seconds in stages.items()}

    def _say(self, facts: dict[str, object]) -> None:
        if self._log:
            seconds = round(time.monotonic() - self._began, 3)
            print(json.dumps({**facts, "seconds": seconds}), file=sys.stderr, flush=True)


@contextmanager
def measured(wh: Warehouse, target: Path | None, watch: Watch) -> Iterator[None]:
    """Write metrics when the block ends, also by an exception."""
    from warehouse.metrics import Measured, write_metrics

    try:
        yield
    except BaseException:
        if target:
            with suppress(StoreError, OSError):
                done = Measured(watch.seconds(), watch.batches, failed=True)
                write_metrics(wh.root, target, done, _received(wh.root))
        raise
    if target:
        done = Measured(watch.seconds(), watch.batches, failed=False, report=watch.report)
        write_metrics(wh.root, target, done, _received(wh.root))


def _received(root: Path) -> list[Received]:
    """Return how many received files wait, from the last state file of each listener."""
    from warehouse.listener.state import read_states
    from warehouse.metrics import Received

    received = []
    for state in read_states(root):
        # Ignore a file that no listener has written.
        with suppress(ValueError, TypeError):
            updated = dt.datetime.fromisoformat(state.updated).timestamp()
            received.append(Received(str(state.aet), int(state.waiting), updated))
    return received
