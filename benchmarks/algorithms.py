"""An algorithm over a cohort of real series, end to end: what came out, what was refused, what it cost.

    python benchmarks/algorithms.py                 # files that installed packages bring, and $DICOM_CORPUS
    python benchmarks/algorithms.py DIR --series 50 # files of a folder

Ingests the files, makes a cohort of CT and MR series, and runs a function over it that returns a mask
and a volume for each; another of series of any modality, for the mean of their frames. Then a thousand
cases of a function that does nothing, for what a job costs.
Seconds are of processors, of this process and its workers; wall time is beside them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import warehouse
from warehouse.components.sets import put_items
from warehouse.components.values import Given
from warehouse.workers import _end_server

PACKAGES = ("pydicom", "nibabel", "highdicom")
FUNCTIONS = """
import numpy as np


def air(case):
    volume = case["image"]
    voxels = np.asarray(volume)
    # Of a series with time or directions the first volume: four axes would be a stack of segments.
    mask = voxels[(0,) * (voxels.ndim - 3)] < -500
    return {"air": mask, "air-volume": mask.sum() * np.prod(volume.spacing) / 1000}


def mean(case):
    frames = [np.mean(frame) for frame in case["scan"]]
    return {"mean-value": np.mean(frames)}


def nothing(case):
    return {"count": case["number"]}
"""


def processors() -> float:
    """Seconds of processors of this process and of workers that have ended."""
    _end_server()
    return sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def sources(given: list[Path]) -> list[Path]:
    """Return the folders to read: those given, or those that packages and the environment name."""
    if given:
        return given
    found = [importlib.util.find_spec(name) for name in PACKAGES]
    folders = [Path(spec.origin).parent for spec in found if spec and spec.origin]
    corpus = os.environ.get("DICOM_CORPUS")
    return folders + [Path(corpus)] * bool(corpus)


def prepare(wh: warehouse.Warehouse, functions: Path) -> None:
    """Make what is run: of volumes a mask and a number, of frames, which any series has, a number."""
    segments = [
        {"name": name, "visible": True, "voxel_value": n}
        for n, name in enumerate(("tissue", "air"))
    ]
    make = wh.components.create_socket
    make(title="Image", kind="IMG", relative_path="images/image")
    make(title="Scan", kind="DCMIS", relative_path="images/scan")
    make(title="Air", kind="SEG", relative_path="images/air", overlay_segments=segments)
    make(title="Air volume", kind="FLT", relative_path="air-volume.json")
    make(title="Mean value", kind="FLT", relative_path="mean-value.json")
    wh.algorithms.create("air", "image -> air, air-volume", function=f"{functions}:air")
    wh.algorithms.create("mean", "scan -> mean-value", function=f"{functions}:mean")


def cohort_run(
    wh: warehouse.Warehouse, algorithm: str, condition: str, most: int, workers: int
) -> dict[str, object]:
    """Run over a cohort, twice; return what came of it."""
    wh.save_cohort(
        algorithm,
        f"""
        select series_key from series where {condition} and image_count > 0
        order by series_key limit {most}
    """,
    )
    run = wh.cohort(algorithm)
    before = processors()
    report = wh.algorithms.run(algorithm, run, workers=workers)
    spent = processors() - before
    again = wh.algorithms.run(algorithm, run, workers=workers)
    rows = wh.sql(
        f"select count(*), count(why_not) from outputs('{algorithm}') join series using (series_key)"
    ).fetchall()[0]
    return {
        "series": run.counts["series"], "cases": report.cases, "succeeded": report.succeeded,
        "failed": report.failed, "no case": len(report.unmatched),
        "seconds of processors": round(spent, 2), "seconds": round(report.seconds, 2),
        "done before, the second time": again.done_before, "rows": rows[0],
        "rows with a reason": rows[1],
    }  # fmt: skip


def refusals(wh: warehouse.Warehouse, algorithm: str) -> list[tuple[int, str, str]]:
    """Return how many series of which modalities were refused, and why, without their UIDs."""
    return wh.sql(f"""
        select count(*) as series, string_agg(distinct Modality, ', ' order by Modality),
            regexp_replace(why_not, 'series [0-9.]+ |series missing:\\S+ ', '')
        from outputs('{algorithm}') join series using (series_key) where why_not is not null
        group by 3 order by series desc, 3
    """).fetchall()


def overhead(wh: warehouse.Warehouse, functions: Path, count: int) -> dict[str, object]:
    """Run a function that does nothing over many cases; return what a job costs."""
    make = wh.components.create_socket
    make(title="Number", kind="INT", relative_path="number.json")
    make(title="Count", kind="INT", relative_path="count.json")
    added = wh.components.add_values([Given("number", number) for number in range(count)])
    put_items(
        wh.root, "many", {f"{n:05}": {"number": each.value_id} for n, each in enumerate(added)}
    )
    wh.algorithms.create("nothing", "number -> count", function=f"{functions}:nothing")
    before = processors()
    report = wh.algorithms.run("nothing", of_set="many", workers=2)
    spent = processors() - before
    return {
        "jobs": report.succeeded, "seconds of processors": round(spent, 2),
        "ms of a processor for a job": round(1000 * spent / count, 2), "seconds": round(report.seconds, 2),
    }  # fmt: skip


def main() -> None:
    """Print the figures, and why series were refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", type=Path)
    parser.add_argument("--series", type=int, default=50)
    parser.add_argument(
        "--jobs", type=int, default=1000, help="cases of the function that does nothing"
    )
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        functions = Path(folder) / "functions.py"
        functions.write_text(FUNCTIONS, encoding="utf-8")
        wh = warehouse.open(Path(folder) / "w", create=True)
        began = time.monotonic()
        for source in sources(asked.sources):
            wh.ingest(source, workers=asked.workers)
        print(f"ingested in {time.monotonic() - began:.1f} s")
        prepare(wh, functions)
        for algorithm, condition in (("air", "Modality in ('CT', 'MR')"), ("mean", "true")):
            found = cohort_run(wh, algorithm, condition, asked.series, asked.workers)
            print(algorithm, json.dumps(found, indent=1))
            for count, modalities, why in refusals(wh, algorithm):
                print(f"{count:3} {modalities}: {why}")
        if asked.jobs:
            print(json.dumps(overhead(wh, functions, asked.jobs), indent=1))


if __name__ == "__main__":
    main()
