"""What a worker process is told to do before it reads, so that it dies. Imports little, to start soon."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from warehouse import ingest, read_batches
from warehouse.elements import vendor

POISON = "03 poison"


def die(*_: object) -> None:
    """Let no worker live."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_of_poison() -> None:
    """Let a worker die of the payloads of one file, as of a fault in a library."""
    real = vendor.vendor_rows

    def fails(portion: Any) -> Any:
        if any(Path(outcome.source.path).name == POISON for outcome in portion.outcomes):
            die()
        return real(portion)

    vendor.vendor_rows = fails


def die_while_it_reads(function: str, *arguments: Any) -> None:
    """Call a function of ``warehouse.ingest``, and die where it reads the first files."""
    read_batches.stage_chunk = lambda _: die()  # type: ignore[assignment, return-value]
    getattr(ingest, function)(*arguments)
