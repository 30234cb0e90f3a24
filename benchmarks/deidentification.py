"""De-identified copies: the warehouse against dicognito and dicom-anonymizer, in rounds.

    pip install dicognito dicom-anonymizer
    python benchmarks/deidentification.py                     # 2,000 files, 3 rounds
    python benchmarks/deidentification.py --files 200 --rounds 1

Files are those of ``corpus.py``. Each method runs in a process of its own, one after another,
A B C A B C, and ratios are taken round by round. Ours is ``cohort export --deidentify basic`` in full:
sources are compared with the ledger, every file is hashed, read back and taken through the engine a
second time, and each change is written down. The others read, change and write, on one core and on
nothing else; a method that is not installed is left out. Pixels are not touched by any.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from corpus import make_corpus

PROGRAMS = {
    "warehouse, 1 process": """
import sys, time, warehouse
from warehouse.deidentify.asked import Deidentify
from warehouse.deidentify.pixels import PixelRules
wh = warehouse.open(sys.argv[2])
began, own = time.perf_counter(), time.process_time()
wh.export("all_of_it", sys.argv[3], "copy", deidentify=Deidentify(workers=1, pixels=PixelRules(accept=True)))
print(time.perf_counter() - began, time.process_time() - own)
""",
    "warehouse, 2 processes": """
import sys, time, warehouse
from warehouse.deidentify.asked import Deidentify
from warehouse.deidentify.pixels import PixelRules
wh = warehouse.open(sys.argv[2])
began, own = time.perf_counter(), time.process_time()
wh.export("all_of_it", sys.argv[3], "copy", deidentify=Deidentify(workers=2, pixels=PixelRules(accept=True)))
print(time.perf_counter() - began, time.process_time() - own)
""",
    "dicom-anonymizer": """
import pathlib, sys, time, warnings
warnings.simplefilter("ignore")
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file
target = pathlib.Path(sys.argv[3]); target.mkdir()
began, own = time.perf_counter(), time.process_time()
for number, path in enumerate(sorted(pathlib.Path(sys.argv[1]).rglob("*.dcm"))):
    anonymize_dicom_file(str(path), str(target / f"{number}.dcm"))
print(time.perf_counter() - began, time.process_time() - own)
""",
    "dicognito": """
import pathlib, sys, time, warnings
warnings.simplefilter("ignore")
import pydicom
from dicognito.anonymizer import Anonymizer
target = pathlib.Path(sys.argv[3]); target.mkdir()
anonymizer = Anonymizer()
began, own = time.perf_counter(), time.process_time()
for number, path in enumerate(sorted(pathlib.Path(sys.argv[1]).rglob("*.dcm"))):
    dataset = pydicom.dcmread(path)
    anonymizer.anonymize(dataset)
    dataset.save_as(target / f"{number}.dcm")
print(time.perf_counter() - began, time.process_time() - own)
""",
}
NEEDS = {"dicom-anonymizer": "dicomanonymizer", "dicognito": "dicognito"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    methods = [name for name in PROGRAMS if importlib.util.find_spec(NEEDS.get(name, "sys"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_corpus(folder / "in", given.files)
        prepare(folder)
        seconds: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
        for _ in range(given.rounds):
            for method in methods:
                seconds[method].append(timed(method, folder))
    print(f"{made.files:,} files, {made.total_bytes / 1e6:.0f} MB, {given.rounds} rounds")
    print(
        "| method | files per second | files per second of its processor | times slower than 1 process |"
    )
    print("| --- | ---: | ---: | ---: |")
    first = seconds[methods[0]]
    for method in methods:
        speed = statistics.median(made.files / wall for wall, _ in seconds[method])
        # Workers are processes of their own, whose time is not that of the one that asks.
        own = statistics.median(made.files / own for _, own in seconds[method])
        shown = "" if method.endswith("processes") else f"{own:,.0f}"
        ratio = statistics.median(
            other[0] / mine[0] for mine, other in zip(first, seconds[method], strict=True)
        )
        print(f"| {method} | {speed:,.0f} | {shown} | {ratio:.2f} |")
    print(json.dumps(seconds))


def prepare(folder: Path) -> None:
    import warehouse

    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in")
    wh.save_cohort("all_of_it", "select series_key from series")
    wh.cohort("all_of_it")


def timed(method: str, folder: Path) -> tuple[float, float]:
    target = folder / "out"
    program = [
        sys.executable,
        "-c",
        PROGRAMS[method],
        str(folder / "in"),
        str(folder / "w"),
        str(target),
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{method}: {done.stderr[-2000:]}")
    shutil.rmtree(target)
    wall, processor = map(float, done.stdout.split()[-2:])
    return wall, processor


if __name__ == "__main__":
    main()
