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
    """A bar that notes how long each step takes, and prints a line per batch if asked to."""

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
        """Begin to read so many files."""
        super().planned(files)
        self._planned = self._planned or time.monotonic()
        self._say({"event": "planned", "files": files})

    def read(self, files: int, rejected: int) -> None:
        """Go on by these files; after the last ones of a batch it is committed."""
        super().read(files, rejected)
        self._read = time.monotonic()

    def committed(self, batch: str, outcomes: Mapping[str, int]) -> None:
        """Note a batch."""
        self.batches += 1
        self._committed = time.monotonic()
        self._committing += self._committed - (self._read or self._committed)
        self._say({"event": "batch", "batch": batch, **dict(sorted(outcomes.items()))})

    def seconds(self) -> dict[str, float]:
        """Return how long each stage took so far.

        ``read`` is what was waited for besides commits, during which workers read on; ``finish``
        follows the last commit: duplicates are settled, a bucket and kept answers brought up.
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
    """Write metrics when the block ends, however it ends."""
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
    """Return what listeners have received beside a warehouse, as each last said it."""
    from warehouse.listener.state import read_states
    from warehouse.metrics import Received

    found = []
    for state in read_states(root):
        # A file that is not what a listener writes says nothing.
        with suppress(ValueError, TypeError):
            updated = dt.datetime.fromisoformat(state.updated).timestamp()
            found.append(Received(str(state.aet), int(state.waiting), updated))
    return found
