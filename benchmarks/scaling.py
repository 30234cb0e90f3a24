"""How much faster do several Dask workers read? Prints a table for scale.md, and what follows.

    python benchmarks/scaling.py CORPUS [--wait 1.0] [--workers 1 2 4 8]

CORPUS is a folder of ``corpus.py``. Each worker is a process of ``dask worker``, and each read of
a file waits for so many milliseconds in it, as on a file server: so more workers than this machine
has processors are of use. What follows from one worker and from what the process that lists and
commits does for each file stands beside what was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import warehouse
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW_READS = """
import os, time
_read = os.preadv
def preadv(descriptor, buffers, *arguments):
    time.sleep({wait})
    return _read(descriptor, buffers, *arguments)
os.preadv = preadv
"""
"""Run by every process that is started with it, before anything else."""


@contextmanager
def started(command: list[str], **environment: str) -> Iterator[None]:
    """Run a program, and all that it starts, until the end of the block."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def timed(corpus: Path, workers: int, wait: float, scratch: Path) -> tuple[float, float]:
    """Return seconds of the clock of an ingest, and of the processor in the process that commits."""
    from distributed import Client

    slow = scratch / "slow"
    slow.mkdir(exist_ok=True)
    (slow / "sitecustomize.py").write_text(SLOW_READS.format(wait=wait), encoding="utf-8")
    # As it was imported here: the workers must have the same.
    path = os.pathsep.join([str(slow), str(Path(warehouse.__file__).parents[1])])
    address, dask = "tcp://127.0.0.1:18786", [sys.executable, "-m", "dask"]
    root = scratch / "w"
    with (
        started([*dask, "scheduler", "--host", "127.0.0.1", "--port", "18786", "--no-dashboard"]),
        started(
            [*dask, "worker", address, "--nthreads", "1", "--nworkers", str(workers),
             "--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(scratch)],
            PYTHONPATH=path,
        ),
    ):  # fmt: skip
        with Client(address, timeout=30) as client:
            client.wait_for_workers(workers, timeout=60)
            client.run(_imported)
        settings = IngestSettings(scheduler=address)
        few = scratch / "few"
        few.mkdir(exist_ok=True)
        ingest(scratch / "warm", [few], settings)
        processor, clock = time.process_time(), time.perf_counter()
        ingest(root, [corpus], settings)
        took = time.perf_counter() - clock, time.process_time() - processor
    shutil.rmtree(root)
    shutil.rmtree(scratch / "warm")
    return took


def _imported() -> None:
    """Have a worker import what it reads with."""
    from warehouse import reading  # noqa: F401


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How many workers are of use.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--wait", type=float, default=1.0, help="milliseconds for each read")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    given = parser.parse_args()
    files = sum(len(names) for _, _, names in os.walk(given.corpus))
    one = serial = 0.0
    print("| workers | files/s | times one | the model says | serial, µs a file |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for workers in given.workers:
            seconds, processor = timed(given.corpus, workers, given.wait / 1000, Path(scratch))
            one, serial = one or seconds * workers, serial or processor
            # What the process that commits does is done while workers read: the slower of both.
            model = one / max(serial, one / workers)
            print(
                f"| {workers} | {files / seconds:,.0f} | {one / seconds:.2f} | {model:.2f} "
                f"| {processor / files * 1e6:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
