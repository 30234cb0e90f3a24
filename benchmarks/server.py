"""What a server costs: /metadata of a large series, and searches of eight clients at a time.

    python benchmarks/server.py                            # 1,000,000 instances, made if missing
    python benchmarks/server.py --instances 40000 --quick  # small, prints only
    python benchmarks/server.py --archive DIR              # a warehouse of your own

The server runs in a process of its own, as `dicom-warehouse serve` does. Processor time is that of
this process, so that what else runs on the machine does not count; latencies are what clients see.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator  # noqa: TC003 - read by contextmanager
from pathlib import Path

import pydicom
import requests
from archive import make_archive
from extraction import machine
from pydicom.data import get_testdata_file

import warehouse

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks-server.md"
CLIENTS = 8


@contextlib.contextmanager
def served(root: Path) -> Iterator[tuple[str, int]]:
    """Serve a warehouse; yield its address and the id of the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from warehouse.cli import main; main()",
        "serve",
        "-w",
        str(root),
        "--port",
        str(port),
        "--audit",
        os.devnull,
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"{url}/health", timeout=5)
                    break
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(30)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def large_series(folder: Path, count: int) -> Path:
    """Make a warehouse of one series of so many instances, clones of pydicom's CT_small."""
    read = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    (folder / "in").mkdir()
    read.SeriesInstanceUID, read.StudyInstanceUID = "1.2.3.1", "1.2.3"
    for number in range(count):
        read.SOPInstanceUID = read.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.1.{number}"
        read.InstanceNumber = number + 1
        read.ImagePositionPatient = [-100, -100, number * 1.5]
        read.save_as(folder / "in" / f"{number:05}.dcm")
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return folder / "w"


def metadata(count: int, rounds: int) -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        root = large_series(Path(scratch), count)
        ((elements,),) = warehouse.open(root).sql("select count(*) from elements").fetchall()
        spent, size = [], 0
        with served(root) as (url, pid):
            for _ in range(rounds + 1):
                before = cpu_seconds(pid)
                size = len(
                    requests.get(
                        f"{url}/dicomweb/studies/1.2.3/series/1.2.3.1/metadata", timeout=600
                    ).content
                )
                spent.append(cpu_seconds(pid) - before)
    first, *warm = spent
    return [
        f"`/metadata` of a series of {count:,} instances ({elements:,} rows of elements, {size / 1e6:.1f} MB of JSON):",
        f"{statistics.median(warm):.2f} s of processor time ({first:.2f} s the first time); no source file is opened.",
    ]


QUESTIONS = {
    "the newest 101 studies": "studies?limit=101&offset=0&fuzzymatching=true&includefield=00081030,00080060,00080090,00100030",
    "a part of a name": "studies?limit=101&fuzzymatching=true&PatientName=*{letters}*",
    "modalities and dates": "studies?limit=101&ModalitiesInStudy=CT,MR&StudyDate=20000101-20301231",
    "one study": "studies?StudyInstanceUID={study}",
    "its series": "studies/{study}/series",
}


def searches(root: Path, rounds: int) -> list[str]:
    held = warehouse.open(root)
    ((instances, series, studies),) = held.sql(
        "select count(*), count(distinct series_key), count(distinct study_key) from instances"
    ).fetchall()
    keys = [
        row[0]
        for row in held.sql(
            "select study_key from studies where study_key = StudyInstanceUID order by 1 limit 500"
        ).fetchall()
    ]
    lines = [
        f"{CLIENTS} clients at a time, {instances:,} instances in {series:,} series and {studies:,} studies:",
        "",
        "| search | median ms | 95th percentile ms |",
        "| --- | ---: | ---: |",
    ]
    with served(root) as (url, _):
        began = time.perf_counter()
        requests.get(f"{url}/dicomweb/studies?limit=1", timeout=600)
        opening = time.perf_counter() - began
        for title, path in QUESTIONS.items():
            took: list[float] = []

            def ask(seed: int, path: str = path, took: list[float] = took) -> None:
                chosen, session = random.Random(seed), requests.Session()
                for _ in range(rounds):
                    letters = "".join(chosen.choices("abcdefghijklmnop", k=2))
                    asked = (
                        f"{url}/dicomweb/{path.format(letters=letters, study=chosen.choice(keys))}"
                    )
                    start = time.perf_counter()
                    answer = session.get(asked, timeout=60)
                    took.append(time.perf_counter() - start)
                    assert answer.status_code == 200, answer.text

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took.sort()
            lines.append(
                f"| {title} | {statistics.median(took) * 1000:.0f} | {took[int(len(took) * 0.95)] * 1000:.0f} |"
            )
    return [*lines, "", f"The first search after a new version makes the index: {opening:.2f} s."]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description="Time a server.")
    parser.add_argument("--archive", type=Path, help="a warehouse; made there if it is missing")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=1_000, help="instances of the large series")
    parser.add_argument("--quick", action="store_true", help="few rounds; print, write no page")
    given = parser.parse_args()
    place = Path(tempfile.gettempdir()) / "dicom-warehouse-bench"
    root = given.archive or place / f"archive-{given.instances}"
    if not root.exists():
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            make_archive(root, given.instances, Path(scratch))
    rounds = 2 if given.quick else 50
    text = "\n".join([
        "# Serving, measured", "", "Made by `python benchmarks/server.py`.", "", *machine(), "",
        "## Headers of a series", "", *metadata(given.series, rounds=2 if given.quick else 5), "",
        "## Searches", "", *searches(root, rounds), "",
    ])  # fmt: skip
    print(text)
    if not given.quick:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
