"""What does a commit cost in a warehouse of many files? Prints a table for docs/how-to/scale.md.

    python benchmarks/ledger.py ARCHIVE [FACTOR ...]

ARCHIVE is a warehouse of ``archive.py``; it is only read. For every factor a new warehouse is made
whose table ``files`` holds its rows so many times, under other paths and keys: whatever is slower
then than with a factor of 1 is what grows with an archive. Its other tables are empty, since an
ingest of new files opens no part of them. Each figure is the median of three runs, each in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, layout
from warehouse.store.delta import Change
from warehouse.store.duck import connect, copy_to

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH_FILES = 10_000


def measure(root: Path, source: Path) -> dict[str, float]:
    """Open, ingest nothing, ingest one file; seconds, and MiB of this process."""
    settings = IngestSettings(mode=Mode.FULL, workers=1)

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return {
        "snapshot": timed(lambda: delta.snapshot(root)),
        "survey": timed(lambda: ingest(root, [source / "nothing"], settings)),
        "ingest": timed(lambda: ingest(root, [source / "one"], settings)),
        # Not ru_maxrss, which is that of the parent too.
        "peak": int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024,
    }


def multiply(archive: Path, root: Path, factor: int) -> tuple[int, int, int]:
    """Make a warehouse with the ``files`` of another, so many times; rows, parts and bytes."""
    delta.create(root)
    given = delta.snapshot(archive)
    folder = layout.table_folder(root, "files")
    added = []
    with connect() as connection:
        connection.execute("set variable parts = $1", [given.paths("files")])
        connection.execute(
            "create table given as select * exclude batch, "
            f"(row_number() over (order by path) - 1) // {BATCH_FILES} as n "
            "from read_parquet(getvariable('parts'))"
        )
        ((batches,),) = connection.execute("select max(n) + 1 from given").fetchall()
        for copy in range(factor):
            for number in range(batches):
                batch = layout.batch_name(copy * batches + number + 1)
                select = (
                    f"select * exclude n replace (path || '.{copy}' as path, "
                    f"instance_key || '.{copy}' as instance_key) from given where n = {number} "
                    "order by path"
                )
                added.append(copy_to(connection, select, folder, layout.part_name(batch, 0)))
                (layout.claims_folder(root) / batch).touch()
    delta.commit(root, {"files": Change(add=added)}, delta.snapshot(root), "multiply")
    DeltaTable(str(folder)).create_checkpoint()
    return sum(p.rows for p in added), len(added), sum(p.size_bytes for p in added)


def main() -> None:
    """Multiply, measure, print."""
    from pydicom.data import get_testdata_file

    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description="What a commit costs in a large warehouse.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("factors", type=int, nargs="*", default=[1, 3, 10, 30])
    given = parser.parse_args()
    print(
        "| rows of `files` | parts | MB | snapshot s | nothing new s | one new file s | peak MiB |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for factor in given.factors:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "w")
            rows, parts, size = multiply(given.archive, root, factor)
            runs = []
            for number in range(3):
                source = Path(scratch, f"in{number}")
                (source / "nothing").mkdir(parents=True)
                (source / "one").mkdir()
                shutil.copy(str(get_testdata_file("CT_small.dcm")), source / "one" / "a.dcm")
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", root, source],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                runs.append(json.loads(done.stdout))
            m = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            print(
                f"| {rows:,} | {parts:,} | {size / 1e6:,.0f} | {m['snapshot']:.3f} | "
                f"{m['survey']:.2f} | {m['ingest']:.2f} | {m['peak']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
