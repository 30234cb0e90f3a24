"""Files of the packages with a few bytes changed, read one by one under limits of time and memory.

To be read in a worker process, because a limit that is met ends it.
"""

from __future__ import annotations

import os
import random
import resource
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import nibabel
import pydicom

from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import extract

CPU_SECONDS = 20
"""Of one file; the kernel ends the process that needs more."""
MEMORY_BYTES = 2 << 30
"""Beyond what the process has once everything is imported."""

FOLDERS = [
    Path(pydicom.__file__).parent / "data" / "test_files",
    Path(nibabel.__file__).parent / "nicom" / "tests" / "data",
    *map(Path, filter(None, [os.environ.get("DICOM_CORPUS")])),
]


def samples() -> list[bytes]:
    found = sorted(path for folder in FOLDERS for path in folder.rglob("*.dcm"))
    return [path.read_bytes() for path in found if path.stat().st_size < 300_000]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged files: wrong lengths, cuts, repeats, gaps, noise."""
    whole, chance = samples(), random.Random(seed)
    for _ in range(count):
        made = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(made) or 1)
            # Mostly where elements are, not in the pixels.
            place = place if chance.random() < 0.3 else place % 4096
            size = chance.choice([1, 2, 4, 8, 64])
            (way,) = chance.choices(range(6), weights=[6, 4, 1, 3, 3, 2])
            if way == 0:
                made[place : place + size] = chance.randbytes(size)
            elif way == 1:
                made[place : place + 4] = chance.choice(
                    [b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"]
                )
            elif way == 2:
                del made[place + 1 :]
            elif way == 3:
                made[place:place] = made[place : place + size * 16]
            elif way == 4:
                del made[place : place + size]
            else:
                made[place : place + 8] = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        yield bytes(made)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, -1))


def read(count: int, seed: int, folder: Path) -> dict[str, float]:
    """Read so many; return what was found. The file that ends the process stays in the folder."""
    warnings.simplefilter("ignore")
    path = folder / "mutant"
    _limit_memory()
    rejected = rows = 0
    slowest = 0.0
    for made in mutants(count, seed):
        path.write_bytes(made)
        _limit_time()
        started = time.process_time()
        portions = list(extract([SourceFile(str(path), len(made), 0)], 1, 1_000_000))
        slowest = max(slowest, time.process_time() - started)
        outcomes = [outcome for portion in portions for outcome in portion.outcomes]
        assert len(outcomes) == 1, "one file, one row of files"
        assert (outcomes[0].reason is not None) or outcomes[0].instance_id is not None
        rejected += outcomes[0].instance_id is None
        rows += sum(portion.rows.num_rows for portion in portions)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {
        "files": count, "rejected": rejected, "rows": rows, "slowest_s": round(slowest, 2),
        "peak_mib": peak,
    }  # fmt: skip
