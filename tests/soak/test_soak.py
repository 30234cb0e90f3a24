"""The attacks of the suite in their long form; docs/reliability.md has what they counted.

``make soak`` runs them and prints the counts.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

import warehouse
from tests.content import content
from tests.dicom_files import element, part10
from tests.object_server import Line, MotoServer, put
from tests.store.test_compact import PROGRAM as COMPACTION
from tests.store.test_mirror import KilledAt
from tests.store.test_mirror import start as start_to_bucket
from tests.test_attacks import VALUES, read_mutants, read_while_written
from tests.test_crashes import SETTINGS, start, ten_files
from warehouse.ingest import ingest
from warehouse.store import delta, layout
from warehouse.store.compact import compact
from warehouse.store.mirror import open_mirror
from warehouse.store.vacuum import vacuum

pytestmark = pytest.mark.soak
CHECKOUT = Path(__file__).parents[2]


def say(what: str, found: object) -> None:
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
    say("kills of an ingest, by what they left", dict(states))


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
    say("kills in one warehouse", {"kills": kills, "parts before vacuum": before, "after": after})


def test_writers_of_overlapping_folders_at_once(tmp_path: Path) -> None:
    source = ten_files(tmp_path / "in")
    ingest(tmp_path / "clean", [source], SETTINGS)
    clean, names = content(tmp_path / "clean"), sorted(source.iterdir())
    versions: Counter[int] = Counter()
    for seed in range(20):
        chance, root = random.Random(seed), tmp_path / f"w{seed}"
        writers = [start(root, *chance.sample(names, chance.randint(4, 9))) for _ in range(3)]
        for writer in writers:
            out, err = writer.communicate(timeout=120)
            assert (writer.returncode, err) == (0, ""), out
        content(root)
        ingest(root, [source], SETTINGS)
        assert content(root) == clean, f"seed {seed}"
        versions[delta.snapshot(root).version] += 1
    say("three writers at once, by the versions that they made", dict(versions))


def test_kills_of_a_writer_to_a_bucket(tmp_path: Path) -> None:
    """At each of its requests in turn, until it is done before."""
    source = ten_files(tmp_path / "in")
    ingest(tmp_path / "clean", [source], SETTINGS)
    clean, server = content(tmp_path / "clean"), MotoServer()
    kills: Counter[str] = Counter()
    try:
        for number in count():
            line = Line(server.port)
            put(line.access, "archive", {})
            url, killed = f"s3://archive/{number}", KilledAt(line, number)
            killed.process = writer = start_to_bucket(line, url, tmp_path / f"{number}-a", source)
            writer.communicate()
            killed.process = None
            reader = open_mirror(url, line.access, tmp_path / f"{number}-b")
            if (reader.root / layout.MARKER).exists():
                content(reader.root)
                kills[f"version {delta.snapshot(reader.root).version}"] += 1
            else:
                kills["before the warehouse was made"] += 1
            again = start_to_bucket(line, url, tmp_path / f"{number}-a", source)
            assert again.communicate() == ("begin\n", "")
            reader.pull()
            assert content(reader.root) == clean
            reader.close()
            line.end()
            if writer.returncode == 0:
                break
    finally:
        server.end()
    say("kills of a writer to a bucket, by what they left", dict(kills))


def test_a_limit_at_every_size_that_a_file_may_have(tmp_path: Path) -> None:
    """The system refuses writes beyond a size, whoever writes: Arrow, DuckDB, Delta, Python."""
    source = ten_files(tmp_path / "in")
    ingest(tmp_path / "clean", [source], SETTINGS)
    clean = content(tmp_path / "clean")
    made = tmp_path / "made"
    delta.create(made)
    empty = {path.stat().st_size for path in made.rglob("*") if path.is_file()}
    sizes = {path.stat().st_size for path in (tmp_path / "clean").rglob("*") if path.is_file()}
    found: Counter[str] = Counter()
    for limit in sorted(size - 1 for size in sizes - empty):
        root = shutil.copytree(made, tmp_path / f"w{limit}")
        writer = start(root, source, limit=limit)
        out, err = writer.communicate(timeout=60)
        assert (writer.returncode, err) in {(0, ""), (3, "")}, out
        said = out.splitlines()[-1].split(":")[0]
        found[said if writer.returncode else "nothing was so large"] += 1
        content(root)
        ingest(root, [source], SETTINGS)
        assert content(root) == clean, f"limit {limit}"
    say("writes refused, by what could not be written", dict(found))


def test_files_are_written_while_they_are_read(tmp_path: Path) -> None:
    folder, root = tmp_path / "in", tmp_path / "w"
    seen = read_while_written(folder, root, ingests=40)
    ingest(root, [folder], SETTINGS)
    ingest(tmp_path / "clean", [folder], SETTINGS)
    assert content(root) == content(tmp_path / "clean")
    say("files overwritten while they are read", seen)


def test_a_thousand_hostile_values(tmp_path: Path) -> None:
    """Pieces of paths, SQL, markup and shell in every order; what comes out is what went in."""
    chance, folder = random.Random(0), tmp_path / "in"
    folder.mkdir()
    given = {}
    for number in range(1000):
        value = "".join(chance.sample(VALUES, 3))[:64].strip(" \\")
        padded = value.encode() + b" " * (len(value) % 2)
        (folder / f"{number:04}").write_bytes(
            part10(
                element(0x00080060, "CS", b"CT"),
                element(0x00100020, "LO", padded),
                uid=f"1.{number}",
            )
        )
        given[f"1.{number}"] = value
    ingest(tmp_path / "w", [folder], SETTINGS)
    wh = warehouse.open(tmp_path / "w", create=True)
    assert dict(wh.sql("select SOPInstanceUID, PatientID from instances").fetchall()) == given
    for value in sorted(set(given.values()))[:200]:
        expected = sum(other == value for other in given.values())
        assert wh.select("instances", {"PatientID": value}).shape[0] == expected
    say("hostile values", {"files": len(given), "distinct": len(set(given.values())), "asked": 200})


@pytest.mark.parametrize("seed", range(100, 105))
def test_a_thousand_damaged_files(tmp_path: Path, seed: int) -> None:
    say("damaged files", read_mutants(1000, seed, tmp_path))


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
    say("a million files listed", found)
    assert found["batches"] == 100
    assert found["peak_mib"] < 1024
