"""One run of one method in a process of its own; started by ``extraction.py``, prints JSON.

    python benchmarks/measure.py METHOD FOLDER OUT [--core N] [--workers N] [--pool] [--stages]

The process binds itself to a core before it imports anything, so that libraries start as many
threads as they may use. Imports and a warm-up on files outside the corpus come before the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack
from typing import Any

import ours
import peers


def main() -> None:
    """Run and print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("method")
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--core", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pool", action="store_true", help="start the workers before the clock")
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--sizes", action="store_true")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    warnings.simplefilter("ignore")
    methods = {method.name: method for method in (ours.OURS, *peers.METHODS)}
    method = methods[given.method]
    print(json.dumps(measured(method, given)))


def warm_up(method: peers.Method, **options: Any) -> None:
    """Run a method on three files that are in no corpus: imports, lazy tables, first calls."""
    import importlib.util

    spec = importlib.util.find_spec("pydicom")
    assert spec is not None
    assert spec.submodule_search_locations
    packaged = os.path.join(spec.submodule_search_locations[0], "data", "test_files")
    with tempfile.TemporaryDirectory() as folder:
        sources, out = os.path.join(folder, "sources"), os.path.join(folder, "out")
        os.mkdir(sources)
        os.mkdir(out)
        for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm"):
            shutil.copyfile(os.path.join(packaged, name), os.path.join(sources, name))
        method.run(sources, out, **options)


def measured(method: peers.Method, given: argparse.Namespace) -> dict[str, Any]:
    """Run a method under the clock and look at what it left."""
    if given.stages:
        warm_up(method)
        return {"stages": ours.profile(given.folder, given.out)}
    with ExitStack() as stack:
        options: dict[str, Any] = {}
        if method is ours.OURS and given.workers > 1:
            options["workers"] = given.workers
            if given.pool:
                options["executor"] = stack.enter_context(ours.warm_pool(given.workers))
        warm_up(method, **options)
        cpu, began = cpu_seconds(), time.perf_counter()
        read = method.run(given.folder, given.out, **options)
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        peak = [ours.peak_memory()]
        if given.pool:
            peak += ours.peaks(options["executor"], given.workers)
    elements = read.elements
    if elements is None and method.count is not None:
        elements = method.count(given.out)
    return {
        "method": method.name,
        "files": len(peers.paths_of(given.folder)),
        "seconds": seconds,
        "cpu": cpu,
        "elements": elements,
        "refused": read.refused,
        "peaks": peak,
        "written": ours.bytes_in(given.out),
        "chunk_files": ours.chunk_files() if method is ours.OURS else None,
        **({"sizes": ours.sizes(given.out)} if given.sizes else {}),
    }


def cpu_seconds() -> float:
    """Return the processor time of this process and of the programs it has run."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
