"""What grows with an archive, and how fast? Prints a table for docs/how-to/scale.md.

    python benchmarks/growth.py ARCHIVE [ARCHIVE ...]

Warehouses of ``archive.py``, small to large; they are only read, but for answers that they do not
keep yet. What writes is asked of a copy: three new files, then a compaction, then a vacuum. Every
line is a process of its own: seconds of its processor, of all threads, median of five answers (one,
where it writes), and the most memory that it held. Opening is told apart and part of no other line.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ours import bytes_in, peak_memory
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from queries import QUESTIONS

import warehouse
from warehouse.catalog.materialized import materialize

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
NAMES = ("CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm")
OPEN = "open the catalog"
HEADER = "one header"
THREE = "ingest three new files"
COMPACT = "compact"
VACUUM = "vacuum"
ASKED = {
    **{question.title: question.ours for question in QUESTIONS},
    "tags": "from tags",
    "element_statistics": "from element_statistics",
    "element_definitions": "from element_definitions",
    "values of ImageType": "from element_values where keyword = 'ImageType'",
}
WRITING = (THREE, COMPACT, VACUUM)
LINES = (OPEN, *ASKED, HEADER, *WRITING)


def measure(root: Path, line: str) -> dict[str, float]:
    """Do what a line says once or several times."""
    began = time.process_time()
    wh = warehouse.open(root)
    if line == OPEN:
        _ = wh.catalog
        return {"seconds": time.process_time() - began, "peak": peak_memory()}
    call = _call(wh, root, line)
    times = []
    for _ in range(1 if line in WRITING else ROUNDS):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return {"seconds": statistics.median(times), "peak": peak_memory()}


def _call(wh: warehouse.Warehouse, root: Path, line: str) -> Callable[[], object]:
    if line == THREE:
        source = root.parent / "new"
        source.mkdir()
        for number, name in enumerate(NAMES):
            dataset = dcmread(str(get_testdata_file(name)))
            uid = UID(f"2.25.{time.time_ns()}{number}")
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
            dataset.save_as(source / name)
        return lambda: wh.ingest(source, mode="full", workers=1)
    if line == COMPACT:
        return wh.compact
    if line == VACUUM:
        return lambda: wh.vacuum(dt.timedelta(0), delete=True)
    _ = wh.catalog
    if line == HEADER:
        # Of another batch each time: in that of the last one the next is found at once.
        ((last,),) = wh.sql("select max(instance_id) >> 24 from instances").fetchall()
        begin = "select SOPInstanceUID from instances where instance_id >= {} limit 1"
        some = [(last * number // (ROUNDS + 1)) << 24 for number in range(1, ROUNDS + 1)]
        uids = iter([wh.sql(begin.format(first)).fetchall()[0][0] for first in some])
        return lambda: wh.header(next(uids))
    return lambda: wh.sql(ASKED[line]).fetchall()


def about(root: Path) -> dict[str, str]:
    """Say how large an archive is; keep its answers, as the ingest did if it was of this software."""
    materialize(root)
    wh = warehouse.open(root)
    ((instances, series, rows),) = wh.sql(
        "select (select count(*) from instances), (select count(*) from series), "
        "(select count(*) from elements)"
    ).fetchall()
    parts = wh.catalog.snapshot.parts
    size = bytes_in(str(root))
    return {
        "instances": f"{instances:,}",
        "series": f"{series:,}",
        "rows of elements": f"{rows:,}",
        "parts of elements, instances, files": ", ".join(
            f"{len(parts[table]):,}" for table in ("elements", "instances", "files")
        ),
        "MB, all versions and logs": f"{size / 1e6:,.0f}",
        "bytes an instance": f"{size / instances:,.0f}",
    }


def main() -> None:
    """Measure every archive, a process for each line; print."""
    parser = argparse.ArgumentParser(description="What grows with an archive.")
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--line", choices=LINES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.line:
        print(json.dumps(measure(given.archives[0], given.line)))
        return
    columns: list[dict[str, str]] = []
    for archive in given.archives:
        columns.append(about(archive))
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            for line in LINES:
                root = archive
                if line in WRITING:
                    root = Path(folder) / "copy"
                    if not root.exists():
                        shutil.copytree(archive, root)
                said = subprocess.run(
                    [sys.executable, __file__, str(root), "--line", line],
                    capture_output=True, text=True, check=True,
                ).stdout  # fmt: skip
                found = json.loads(said.splitlines()[-1])
                columns[-1][line] = f"{found['seconds']:.3f} s, {found['peak'] / 2**20:,.0f} MiB"
                print(f"{archive}: {line}: {columns[-1][line]}", file=sys.stderr, flush=True)
    print(f"| |{' | '.join(column['instances'] for column in columns)} |")
    print(f"| --- |{' ---: |' * len(columns)}")
    for name in list(columns[0])[1:]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


if __name__ == "__main__":
    main()
