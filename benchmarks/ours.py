"""The warehouse's own path, as the peers have it: a folder in, a committed warehouse out.

Also what only concerns us: how big the warehouse is, what two workers bring, where the time goes.
The timers stand here, around functions of the library, and not in it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from peers import Method, Read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

WAREHOUSE = "warehouse"
"""Name of the warehouse inside the folder for what is written."""


def ingest(folder: str, out: str, *, workers: int = 1, executor: Executor | None = None) -> Read:
    """List, compare, read, write and commit: everything ``dicom-warehouse ingest`` does."""
    from warehouse.ingest import ingest as run
    from warehouse.settings import IngestSettings, Mode

    settings = IngestSettings(mode=Mode.FULL, workers=workers)
    report = run(os.path.join(out, WAREHOUSE), [folder], settings, executor=executor)
    return Read(None, report.rejected)


def chunk_files() -> int:
    """Return how many files one worker takes at a time: with fewer, a second has nothing to do."""
    from warehouse.settings import IngestSettings

    return IngestSettings().chunk_files


def count_elements(out: str) -> int:
    """Count the elements in a warehouse: each has one value of index 0."""
    import warehouse

    found = warehouse.open(os.path.join(out, WAREHOUSE), create=True).sql(
        'select count(*) from elements where "index" = 0'
    )
    return int(found.fetchall()[0][0])


OURS = Method(
    "ours", "**dicom-warehouse** → committed warehouse: every element", ingest,
    count=count_elements,
)  # fmt: skip


# -- size ---------------------------------------------------------------------------------------


def sizes(out: str) -> dict[str, Any]:
    """Measure a warehouse on disk against the headers it was made from."""
    import warehouse

    root = os.path.join(out, WAREHOUSE)
    ask = warehouse.open(root, create=True).sql
    (rows, long_values, long_bytes), *_ = ask(
        """select count(*), count(*) filter (length > 256 and sha256 is not null),
        coalesce(sum(length) filter (length > 256 and sha256 is not null), 0)
        from elements"""
    ).fetchall()
    (files, header_bytes), *_ = ask(
        """select count(*), coalesce(sum(coalesce(pixel_offset, size_bytes)), 0)
        from files where status = 'ingested'"""
    ).fetchall()
    (duplicates,), *_ = ask("select count(*) from files where status = 'duplicate'").fetchall()
    readers = ask(
        "select reader, count(*) from files where reader is not null group by all order by all"
    ).fetchall()
    on_disk = {name: bytes_in(os.path.join(root, name)) for name in os.listdir(root)}
    logs = {name: bytes_in(os.path.join(root, name, "_delta_log")) for name in TABLES}
    tables = {name: on_disk.pop(name) - logs[name] for name in TABLES}
    return {
        "rows": rows, "files": files, "duplicates": duplicates, "header_bytes": int(header_bytes),
        "long_values": long_values, "long_bytes": int(long_bytes),
        "tables": tables, "rest": sum(on_disk.values()) + sum(logs.values()),
        "readers": dict(readers),
    }  # fmt: skip


TABLES = ("elements", "blobs", "instances", "files")
"""Tables that the page shows apart; their logs are of the rest, being as large for three rows."""


def bytes_in(path: str) -> int:
    """Add up files: what they hold, not the blocks they take."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(path)
        for name in names
    )


# -- processes ----------------------------------------------------------------------------------


@contextmanager
def warm_pool(workers: int) -> Iterator[Executor]:
    """Start worker processes as an ingest does, and let each import what it needs.

    Who holds them reads nothing itself, so its first run goes through them too.
    """
    from warehouse.workers import WorkerPool

    with WorkerPool(workers) as pool:
        _each(pool, workers, _import_library)
        yield pool


def peaks(pool: Executor, workers: int) -> list[int]:
    """Return the peak memory of each worker process in bytes."""
    return _each(pool, workers, peak_memory)


def _each(pool: Executor, workers: int, call: Callable[[], int]) -> list[int]:
    """Call a function in every worker; ask again until all have answered."""
    answers: dict[int, int] = {}
    while len(answers) < workers:
        answers.update(future.result() for future in [
            pool.submit(_with_pid, call) for _ in range(workers)
        ])  # fmt: skip
    return list(answers.values())


def _with_pid(call: Callable[[], int]) -> tuple[int, int]:
    answer = call()
    time.sleep(0.05)  # or one worker would answer for all
    return os.getpid(), answer


def _import_library() -> int:
    importlib.import_module("warehouse.reading")
    return 0


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes.

    Linux's ``ru_maxrss`` begins with that of the process that started this one; VmHWM does not.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except FileNotFoundError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- stages -------------------------------------------------------------------------------------

STAGES = {
    "list and compare": ["warehouse.ingest.survey"],
    "read bytes": ["warehouse.dicom.heads.Heads.load", "warehouse.dicom.heads.Heads.refill"],
    "scan": [
        "warehouse.elements.fast.scan",
        "warehouse.elements.fast.restrict",
        "warehouse.elements.fast.parse_defined_length",
    ],
    "read and scan by pydicom": ["warehouse.elements.extract.read_header"],
    "decode": [
        "warehouse.elements.fast.distinct_raws",
        "warehouse.elements.fast.resolve",
        "warehouse.elements.fast._decode",
        "warehouse.elements.columns.Batch.add_elements",
    ],
    "columns and sort": [
        "warehouse.elements.columns.Batch.tables",
    ],
    "instances": [
        "warehouse.store.stage._files",
        "warehouse.store.stage.instances_of",
        "warehouse.store.stage._identified",
    ],
    "attributes": ["warehouse.store.stage.gather"],
    "vendor payloads": [
        "warehouse.elements.vendor.vendor_rows",
        "warehouse.store.tables.vendor_rows",
    ],
    "write": ["warehouse.store.stage.write_rows", "warehouse.store.stage.write_small"],
    "commit": ["warehouse.ingest.commit_batch", "warehouse.read_batches.commit_batch"],
}
"""Stage → functions it consists of, where they are called from. The time inside another function of
the list counts for that one alone. Functions that a version of the library lacks are passed over.
"""


def profile(folder: str, out: str) -> dict[str, float]:
    """Ingest with timers around the stages; stage → seconds, with what is left as ``other``."""
    spent: Counter[str] = Counter()
    running: list[float] = []
    importlib.import_module("warehouse.ingest")
    for stage, functions in STAGES.items():
        for name in functions:
            _watch(stage, name, spent, running)
    began = time.perf_counter()
    ingest(folder, out)
    total = time.perf_counter() - began
    seconds = {stage: spent[stage] for stage in STAGES if spent[stage]}
    return {**seconds, "other": total - sum(seconds.values())}


def _watch(stage: str, name: str, spent: Counter[str], running: list[float]) -> None:
    """Replace a function by one that adds its own time, without that of watched callees."""
    found = _resolve(name)
    if found is None:
        return
    owner, attribute = found
    function = getattr(owner, attribute)

    def timed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        running.append(0.0)
        try:
            return call(*args, **kwargs)
        finally:
            whole = time.perf_counter() - began
            spent[stage] += whole - running.pop()
            if running:
                running[-1] += whole

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        return timed(function, *args, **kwargs)

    @functools.wraps(function)
    def watched_steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
        steps = function(*args, **kwargs)
        ended = object()
        while (step := timed(next, steps, ended)) is not ended:
            yield step

    # What a generator does takes its time when the next step is asked for.
    is_generator = inspect.isgeneratorfunction(function)
    setattr(owner, attribute, watched_steps if is_generator else watched)


def _resolve(name: str) -> tuple[Any, str] | None:
    """Find the module or class that holds a function; None if this version has no such thing."""
    *path, attribute = name.split(".")
    for split in range(len(path), 0, -1):
        try:
            owner = importlib.import_module(".".join(path[:split]))
        except ModuleNotFoundError:
            continue
        for part in path[split:]:
            owner = getattr(owner, part, None)
        return (owner, attribute) if hasattr(owner, attribute) else None
    return None
