"""Functions that tests run as algorithms."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def measure(case: Any) -> dict[str, Any]:
    voxels = case["ct"][:]
    print("measured")
    return {"mean-value": voxels.mean(), "voxel-count": voxels.size}


def segment(case: Any) -> dict[str, Any]:
    voxels = case["ct"][:]
    return {"mask": voxels > voxels.mean()}


def pair(case: Any) -> dict[str, Any]:
    """Where the first is less than the other, on the grid of the first."""
    mask = case["ct"][:] < case["other"][:]
    return {"mask": mask, "voxel-count": mask.sum()}


def where(case: Any) -> dict[str, Any]:
    """Say which worker of Dask runs it."""
    from distributed import get_worker

    return {"mode": str(get_worker().name)}


def count(case: Any) -> dict[str, Any]:
    """Without pixels: what a run costs besides the function."""
    return {"voxel-count": len(case.series("scan"))}


def count_aged(case: Any) -> dict[str, Any]:
    return {"voxel-count": len(case.series("scan")) + case["age"]}


def by_age(case: Any) -> dict[str, Any]:
    return {"voxel-count": case["age"] + 1}


def misbehave(case: Any) -> dict[str, Any]:
    match case["mode"]:
        case "raise":
            raise RuntimeError("Doe^Jane is in this text")
        case "sleep":
            time.sleep(60)
        case "start":
            subprocess.Popen(["sleep", "617"])
            time.sleep(60)
        case "die":
            os._exit(7)
        case "memory":
            bytearray(64 << 30)
        case "print":
            for number in range(2000):
                print("line", number, "\0")
            print("warned", file=sys.stderr)
        case "nan":
            return {"voxel-count": float("nan")}
        case "text":
            return {"voxel-count": "many"}
        case "nothing":
            return {}
        case "other":
            return {"voxel-count": 1, "unknown": 2}
    return {"voxel-count": 1}


def spots(case: Any) -> dict[str, Any]:
    shapes = [{"point": [1.0, 2.0, 3.0]}, {"point": [float(case["ct"][:].mean()), 2.0, 3.0]}]
    return {
        "spots": {"type": "Multiple points", "version": {"major": 1, "minor": 0}, "points": shapes}
    }


def named_spot(case: Any) -> dict[str, Any]:
    """Write a file; the name of its point is half of a surrogate pair if the mode is `half`."""
    name = r"\ud800" if case["mode"] == "half" else r"\ud83d\ude00"
    path = Path(tempfile.mkdtemp()) / "spots.json"
    head = '"type": "Multiple points", "version": {"major": 1, "minor": 0}'
    path.write_text(f'{{{head}, "points": [{{"point": [1, 2, 3], "name": "{name}"}}]}}')
    return {"spot-file": path}


def waiting(case: Any) -> dict[str, Any]:
    """Wait at the age of 2 to be killed, unless it has waited before."""
    marker = Path(os.environ["WAITED"])
    if case["age"] == 2 and not marker.exists():
        marker.touch()
        time.sleep(60)
    return slowly(case)


def slowly(case: Any) -> dict[str, Any]:
    time.sleep(0.02)
    return {"voxel-count": case["age"] + 1}
