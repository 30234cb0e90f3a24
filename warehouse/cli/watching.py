"""What is told of a running ingest: a bar for people, lines and a file for programs."""

from __future__ import annotations

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


class Watch(Bar):
    """A bar that notes how long each step takes, and prints a line per batch if asked to."""

    def __init__(self, *, enabled: bool, log: bool) -> None:
        super().__init__(enabled=enabled)
        self._log = log
        self._began = time.monotonic()
        self._planned: float | None = None
        self.batches = 0
        self.report: IngestReport | None = None

    def planned(self, files: int) -> None:
        """Begin to read so many files."""
        super().planned(files)
        self._planned = time.monotonic()
        self._say({"event": "planned", "files": files})

    def committed(self, batch: str, outcomes: Mapping[str, int]) -> None:
        """Note a batch."""
        self.batches += 1
        self._say({"event": "batch", "batch": batch, **dict(sorted(outcomes.items()))})

    def seconds(self) -> dict[str, float]:
        """Return how long listing took, and reading with all commits, so far."""
        now = time.monotonic()
        planned = self._planned or now
        return {"list": round(planned - self._began, 3), "read": round(now - planned, 3)}

    def _say(self, facts: dict[str, object]) -> None:
        if self._log:
            seconds = round(time.monotonic() - self._began, 3)
            print(json.dumps({**facts, "seconds": seconds}), file=sys.stderr, flush=True)


@contextmanager
def measured(wh: Warehouse, target: Path | None, watch: Watch) -> Iterator[None]:
    """Write metrics when the block ends, however it ends."""
    from warehouse.metrics import Measured, write_metrics

    try:
        yield
    except BaseException:
        if target:
            with suppress(StoreError, OSError):
                write_metrics(
                    wh.root, target, Measured(watch.seconds(), watch.batches, failed=True)
                )
        raise
    if target:
        done = Measured(watch.seconds(), watch.batches, failed=False, report=watch.report)
        write_metrics(wh.root, target, done)
