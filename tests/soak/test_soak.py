"""The attacks of the suite in their long form; docs/reliability.md has what they counted.

``make soak`` runs them and prints the counts.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.content import content
from tests.store.test_compact import PROGRAM as COMPACTION
from tests.test_attacks import read_mutants
from tests.test_crashes import SETTINGS, start, ten_files
from warehouse.ingest import ingest
from warehouse.store import delta, layout
from warehouse.store.compact import compact
from warehouse.store.vacuum import vacuum

pytestmark = pytest.mark.soak
CHECKOUT = Path(__file__).parents[2]


def count(what: str, found: object) -> None:
    print(f"\n{what}: {found}", flush=True)


def state(root: Path) -> str:
    """Say how far a killed ingest came."""
    if not (root / layout.MARKER).exists():
        return "before the warehouse was made"
    content(root)
    version = delta.snapshot(root).version
    staged = len({path.name for path in root.glob("elements/batch=*/*.parquet")})
    named = len(delta.snapshot(root).parts["elements"])
    return f"version {version}" + (", with parts of no version" if staged > named else "")


def test_a_hundred_kills_of_an_ingest(tmp_path: Path) -> None:
    source = ten_files(tmp_path / "in")
    ingest(tmp_path / "clean", [source], SETTINGS)
    clean = content(tmp_path / "clean")
    states: Counter[str] = Counter()
    for seed in range(100):
        root = tmp_path / f"w{seed}"
        writer = start(root, source)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 1.2))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        states[state(root)] += 1
        ingest(root, [source], SETTINGS)
        assert content(root) == clean, f"seed {seed}"
    count("kills of an ingest, by what they left", dict(states))


def test_kills_one_after_another_in_one_warehouse(tmp_path: Path) -> None:
    """Ingests and compactions are killed by turns until all is there; then a vacuum."""
    source = ten_files(tmp_path / "in")
    ingest(tmp_path / "clean", [source], SETTINGS)
    root, chance = tmp_path / "w", random.Random(0)
    delta.create(root)
    kills = 0
    for _ in range(40):
        if chance.random() < 0.5:
            running = start(root, source)
        else:
            running = subprocess.Popen(
                [sys.executable, "-c", COMPACTION, CHECKOUT, root],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(chance.uniform(0, 0.6))
        kills += running.poll() is None
        running.kill()
        running.communicate()
        content(root)
    ingest(root, [source], SETTINGS)
    compact(root)
    before = sum(1 for _ in root.rglob("batch=0*/*.parquet"))
    vacuum(root, dt.timedelta(0), delete=True)
    after = sum(1 for _ in root.rglob("batch=0*/*.parquet"))
    assert content(root) == content(tmp_path / "clean")
    count("kills in one warehouse", {"kills": kills, "parts before vacuum": before, "after": after})


@pytest.mark.parametrize("seed", range(100, 105))
def test_a_thousand_damaged_files(tmp_path: Path, seed: int) -> None:
    count("damaged files", read_mutants(1000, seed, tmp_path))


LISTING = """
import json, os, resource, sys, time
from warehouse.ingest import plan
from warehouse.settings import IngestSettings
started = time.monotonic()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
batches = plan(sys.argv[1], [sys.argv[2]], IngestSettings(workers=1))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
print(json.dumps({"batches": len(batches), "before_mib": before, "peak_mib": peak,
                  "seconds": round(time.monotonic() - started, 1)}))
"""


def test_a_million_files_are_listed_in_bounded_memory(tmp_path: Path) -> None:
    for folder in range(1000):
        made = tmp_path / "in" / f"{folder:03}"
        made.mkdir(parents=True)
        for number in range(1000):
            os.close(os.open(made / f"{number:03}", os.O_CREAT))
    done = subprocess.run(
        [sys.executable, "-c", LISTING, tmp_path / "w", tmp_path / "in"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    count("a million files listed", found)
    assert found["batches"] == 100
    assert found["peak_mib"] < 1024
