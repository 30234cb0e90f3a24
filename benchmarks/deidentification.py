"""De-identified copies, files per second: the warehouse against dicognito and dicom-anonymizer.

    pip install dicognito dicom-anonymizer
    python benchmarks/deidentification.py                     # about 90 seconds
    python benchmarks/deidentification.py --files 8000 --rounds 3
    python benchmarks/deidentification.py --check 100000      # the search of an export instead

Files are those of ``corpus.py``. Each method runs in a process of its own, one after another,
A B C A B C, and ratios are taken round by round. Ours is ``cohort export --deidentify basic`` in full:
sources are compared with the ledger, every file is hashed, read back and taken through the engine a
second time, and each change is written down. The others read, change and write, on one core and on
nothing else, a quarter of the files; a method that is not installed is left out. Pixels are not
touched by any. Wall time counts everything from the question to the folder, with the start of workers.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corpus import make_corpus

OURS = """
import resource, sys, time, warehouse
from warehouse.deidentify.options import Deidentify
from warehouse.deidentify.pixels import PixelRules
wh = warehouse.open(sys.argv[2])
began, own = time.perf_counter(), time.process_time()
facts = wh.export("all_of_it", sys.argv[3], "copy", deidentify=Deidentify(workers={workers}, pixels=PixelRules(accept=True)))
print(facts["counts"]["instances"], time.perf_counter() - began, time.process_time() - own)
"""
PROGRAMS = {
    "warehouse, 2 processes": OURS.format(workers=2),
    "warehouse, 1 process": OURS.format(workers=1),
    "dicognito": """
import pathlib, sys, time, warnings
warnings.simplefilter("ignore")
import pydicom
from dicognito.anonymizer import Anonymizer
target = pathlib.Path(sys.argv[3]); target.mkdir()
files = sorted(pathlib.Path(sys.argv[1]).rglob("*.dcm"))[::4]
anonymizer = Anonymizer()
began, own = time.perf_counter(), time.process_time()
for number, path in enumerate(files):
    dataset = pydicom.dcmread(path)
    anonymizer.anonymize(dataset)
    dataset.save_as(target / f"{number}.dcm")
print(len(files), time.perf_counter() - began, time.process_time() - own)
""",
    "dicom-anonymizer": """
import pathlib, sys, time, warnings
warnings.simplefilter("ignore")
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file
target = pathlib.Path(sys.argv[3]); target.mkdir()
files = sorted(pathlib.Path(sys.argv[1]).rglob("*.dcm"))[::4]
began, own = time.perf_counter(), time.process_time()
for number, path in enumerate(files):
    anonymize_dicom_file(str(path), str(target / f"{number}.dcm"))
print(len(files), time.perf_counter() - began, time.process_time() - own)
""",
}
NEEDS = {"dicom-anonymizer": "dicomanonymizer", "dicognito": "dicognito"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--check", type=int, metavar="VALUES", help="search for so many values")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.check:
            checked(folder, given.files, given.check)
        else:
            compared(folder, given.files, given.rounds)


def compared(folder: Path, count: int, rounds: int) -> None:
    """Print what each method does in a second."""
    methods = [name for name in PROGRAMS if importlib.util.find_spec(NEEDS.get(name, "sys"))]
    made = make_corpus(folder / "in", count)
    prepare(folder)
    runs: dict[str, list[tuple[int, float, float]]] = {method: [] for method in methods}
    for _ in range(rounds):
        for method in methods:
            runs[method].append(timed(method, folder))
    print(f"{made.files:,} files, {made.total_bytes / 1e6:.0f} MB, {rounds} rounds")
    print("| method | files per second | of its processor | ours is faster by |")
    print("| --- | ---: | ---: | ---: |")
    first = runs[methods[0]]
    for method in methods:
        speed = statistics.median(files / wall for files, wall, _ in runs[method])
        # Workers are processes of their own, whose time is not that of the one that asks.
        own = statistics.median(files / own for files, _, own in runs[method])
        shown = "" if method.endswith("processes") else f"{own:,.0f}"
        ratio = statistics.median(
            (mine[0] / mine[1]) / (other[0] / other[1])
            for mine, other in zip(first, runs[method], strict=True)
        )
        print(f"| {method} | {speed:,.0f} | {shown} | {ratio:.1f} |")
    print(json.dumps(runs))


def checked(folder: Path, count: int, values: int) -> None:
    """Print how long the search of files for so many values takes, and that it finds one of them."""
    from warehouse.deidentify.check import searched
    from warehouse.deidentify.identifying_values import patterns_of

    made = make_corpus(folder / "in", count)
    drawn = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    wanted = {
        "".join(drawn.choices(letters, k=drawn.randint(8, 14))): "PatientName"
        for _ in range(values)
    }
    (folder / "in" / "planted.dcm").write_bytes(next(iter(wanted)).upper().encode("utf-16-le"))
    own = time.process_time()
    patterns = patterns_of(wanted)
    searched(folder / "in" / "planted.dcm", patterns)
    built = time.process_time() - own
    began, own = time.perf_counter(), time.process_time()
    found = searched(folder / "in", patterns)
    wall, own = time.perf_counter() - began, time.process_time() - own
    assert {one.file for one in found.survivors} >= {"planted.dcm"}
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    count = len(patterns.folded) + len(patterns.exact)
    print(
        f"{made.files:,} files, {made.total_bytes / 1e6:.0f} MB, {len(wanted):,} values:", end=" "
    )
    print(f"{count:,} patterns made in {built:.1f} s of the processor;", end=" ")
    print(f"searched in {wall:.1f} s, {own:.1f} of the processor;", end=" ")
    print(f"peak {int(peak) / 1e3:.0f} MB")


def prepare(folder: Path) -> None:
    import warehouse

    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in")
    wh.save_cohort("all_of_it", "select series_key from series")
    wh.cohort("all_of_it")


def timed(method: str, folder: Path) -> tuple[int, float, float]:
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
    files, wall, processor = done.stdout.split()[-3:]
    return int(files), float(wall), float(processor)


if __name__ == "__main__":
    main()
