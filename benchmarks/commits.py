"""What do many small commits cost? Prints two tables for docs/how-to/maintain.md.

    python benchmarks/commits.py [--commits 1000] [--files 3]

One process, as a listener or a server is, ingests so many new files at a time into one warehouse,
then compacts it and vacuums it. Times are of the processor, all threads of it; bytes written are
those that the kernel was given (``wchar`` of /proc/self/io).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from ours import bytes_in
from pydicom import dcmread
from pydicom.data import get_testdata_file

import warehouse

NAMES = ("CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm")


def written() -> int:
    """Return the bytes that this process has written so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar")))


def main() -> None:
    """Commit, compact, vacuum; print."""
    parser = argparse.ArgumentParser(description="What many small commits cost.")
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--files", type=int, default=3, help="of each commit")
    given = parser.parse_args()
    datasets = [dcmread(str(get_testdata_file(name))) for name in NAMES]
    for dataset in datasets:
        dataset.PixelData = bytes(len(dataset.PixelData))
    with tempfile.TemporaryDirectory() as scratch:
        root, source = Path(scratch, "w"), Path(scratch, "in")
        wh = warehouse.open(root, create=True)
        seconds, read, gave = [], 0, 0
        for number in range(given.commits):
            folder = source / f"{number:06d}"
            folder.mkdir(parents=True)
            for place in range(given.files):
                dataset = datasets[place % len(datasets)]
                uid = f"1.2.3.{number}.{place}"
                dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
                dataset.save_as(folder / f"{place}.dcm")
            read += bytes_in(str(folder))
            before, began = written(), time.process_time()
            wh.ingest(folder, workers=1)
            seconds.append(time.process_time() - began)
            gave += written() - before
            if (number + 1) % 100 == 0:
                print(f"{number + 1}: {statistics.median(seconds[-9:]):.3f}", file=sys.stderr)
        print("| commit | CPU s, median of nine |\n| ---: | ---: |")
        for place in (10, 100, 300, 1_000, 3_000, 10_000):
            if place <= given.commits:
                print(
                    f"| {place:,} | {statistics.median(seconds[max(0, place - 9) : place]):.3f} |"
                )
        rows = [("commits", sum(seconds), gave, bytes_in(str(root)))]
        for name, action in (
            ("compact", wh.compact),
            ("vacuum", lambda: wh.vacuum(timedelta(0), delete=True)),
        ):
            before, began = written(), time.process_time()
            action()
            rows.append(
                (name, time.process_time() - began, written() - before, bytes_in(str(root)))
            )
        logs = sum(bytes_in(str(path)) for path in root.glob("*/_delta_log"))
    print(f"\n{given.commits} commits of {given.files} files, {read / 1e6:.1f} MB of source files")
    print("\n| | CPU s | MB written | MB in the folder afterwards |\n| --- | ---: | ---: | ---: |")
    for name, cpu, wrote, kept in rows:
        print(f"| {name} | {cpu:.1f} | {wrote / 1e6:.1f} | {kept / 1e6:.1f} |")
    print(f"\nOf the last figure {logs / 1e6:.1f} MB are logs.")


if __name__ == "__main__":
    main()
