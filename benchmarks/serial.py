"""What does the process that lists and commits do for each file? Prints a table for scale.md.

    python benchmarks/serial.py CORPUS [--workers 1]

CORPUS is a folder of ``corpus.py``. Times are of the processor: those of this process, in listing,
in commits, and in all; and those of the workers that read. What this process does is what no
further worker makes faster.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import ingest, read_batches, survey
from warehouse.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Callable

spent: Counter[str] = Counter()


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that adds the processor's time of this process to what was spent."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.process_time() - began

    return call


def timed_steps(name: str, generator: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose steps add the processor's time of this process."""

    @functools.wraps(generator)
    def call(*arguments: Any, **named: Any) -> Any:
        steps = generator(*arguments, **named)
        step = timed(name, next)
        with suppress(StopIteration):
            while True:
                yield step(steps)

    return call


def processor_of(pid: int) -> float:
    """Return the seconds of the processor that a process has had; 0 where nobody says."""
    with suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        user, system = map(int, after_name.split()[11:13])
        return (user + system) / os.sysconf("SC_CLK_TCK")
    return 0.0


def main() -> None:
    """Ingest, measure, print."""
    parser = argparse.ArgumentParser(description="The serial share of an ingest.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-files", type=int, default=IngestSettings().batch_files)
    given = parser.parse_args()
    ingest.survey = timed_steps("list and compare", survey.survey)  # type: ignore[attr-defined]
    read_batches.commit_batch = timed("commit", read_batches.commit_batch)  # type: ignore[attr-defined]
    settings = IngestSettings(workers=given.workers, batch_files=given.batch_files)
    with tempfile.TemporaryDirectory() as scratch:
        # Imports, and what is made at the first call.
        (Path(scratch) / "none").mkdir()
        ingest.ingest(Path(scratch, "warm"), [Path(scratch) / "none"], settings)
        spent.clear()
        from warehouse.executors import start_server
        from warehouse.workers import WorkerPool

        start_server()
        began, clock = time.process_time(), time.perf_counter()
        # Even one worker is a process of its own here: so that what it does is told apart.
        with WorkerPool(given.workers) as pool:
            report = ingest.ingest(Path(scratch, "w"), [given.corpus], settings, executor=pool)
            whole, seconds = time.process_time() - began, time.perf_counter() - clock
            read = sum(processor_of(worker._pid) for worker in pool._workers)  # noqa: SLF001
    files = report.files
    rest = whole - sum(spent.values())
    print(f"{files:,} files, {len(report.batches)} batches, {seconds:.1f} s of the clock\n")
    print("| | µs of the processor a file |\n| --- | ---: |")
    for name, cpu in (*spent.items(), ("the rest of this process", rest), ("its sum", whole)):
        print(f"| {name} | {cpu / files * 1e6:.1f} |")
    if read:
        print(f"| the workers | {read / files * 1e6:.1f} |")


if __name__ == "__main__":
    main()
