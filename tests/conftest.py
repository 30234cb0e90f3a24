"""Fixtures used by more than one folder."""

from __future__ import annotations

import gc
import gzip
import os
import re
import shutil
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import warehouse
from tests.derived_objects import annotations, dose_report, measured, slide
from tests.dicom_files import image, write
from tests.flat import flat
from tests.made_once import made_once
from tests.small_components import add_components
from tests.small_tables import View

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import duckdb

# Tests start some hundred processes: each would compile every module that it imports anew, and so
# would each process that collects tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A job in the background ignores Ctrl-C, and so would the processes that tests start and stop.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# NumPy would have a thread for each processor, too, which first looks for work for 25 ms.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _let_lie(descriptor: Any) -> None:
    """Stand for ``os.fsync``, of which a new warehouse and its first batch take a hundred.

    No test cuts the power, and to wait for the disk takes longer than most of them. Tests of what
    is synced, and before what, watch the calls; processes that tests start wait for the disk.
    """
    os.fstat(descriptor)


os.fsync = _let_lie  # type: ignore[assignment]

MEMORY = Path("/dev/shm")
ROOM = 6 << 30
"""Bytes that have to be free: a run has some 300 MB of files at a time, and its processes 3 GB."""


def _write_to_memory() -> None:
    """Have temporary files in memory where there is room: with the disk tests take a quarter longer."""
    try:
        space, memory = os.statvfs(MEMORY), Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return
    found = re.search(r"^MemAvailable: +(\d+) kB$", memory, re.MULTILINE)
    room = min(space.f_bavail * space.f_frsize, int(found[1]) << 10 if found else 0)
    # Tests write programs, too, and run them.
    if room >= ROOM and not space.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


if "TMPDIR" not in os.environ:
    _write_to_memory()

# A busy machine is no fault of an example.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


TESTS = Path(__file__).parent
LAST = [
    str(TESTS / name)
    for name in (
        "store/test_mirror.py", "test_stopping.py", "test_isolation.py", "test_terminal.py",
        "test_benchmarks.py", "pipelines/", "test_crashes.py", "test_attacks.py",
        "test_two_operators.py", "test_scripts.py", "test_executors.py", "test_wheel.py",
        "test_process.py", "test_limits.py",
    )
]  # fmt: skip
"""What starts processes, serves buckets or loads Dagster. The longest files come first, or one
process that runs tests would wait for the other at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what says most in least time go first: tests are run in this order."""

    def place(item: pytest.Item) -> int:
        path = str(item.path)
        return next((n for n, name in enumerate(LAST, 1) if path.startswith(name)), 0)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage among thousands of tests, which stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _package(name: str) -> Path:
    # Not by an import, which takes a second in each process that runs tests.
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


PACKAGED = {
    "pydicom": _package("pydicom") / "data",
    "nibabel": _package("nibabel") / "nicom" / "tests" / "data",
    "highdicom": _package("highdicom"),
}


def packaged_files() -> list[Path]:
    """Return every file that comes with the packages and may be DICOM, and those of $DICOM_CORPUS."""
    folders = list(PACKAGED.values())
    if corpus := os.environ.get("DICOM_CORPUS"):
        folders.append(Path(corpus))
    skipped = {
        ".py",
        ".pyc",
        ".json",
        ".txt",
        ".md",
        ".gz",
        ".zip",
        ".icc",
        ".bin",
        ".dump",
        ".typed",
    }
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in skipped and path.name != "README"
    )


@pytest.fixture
def view() -> View:
    """Views over small drawn tables."""
    return View()


def _make_sample(folder: Path) -> None:
    made = warehouse.open(folder / "w", create=True)
    # Of the packaged files only these have vendor payloads and diffusion.
    for path in PACKAGED["nibabel"].glob("siemens_dwi_*.dcm.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    siemens = sorted(folder.glob("*.dcm"))
    # No package brings a PET.
    pet = image("1.1.9", Modality="PT", SeriesInstanceUID="1.2.1.9", Units="BQML")
    derived = [
        write(folder / "derived" / f"{n}.dcm", one)
        for n, one in enumerate((measured(), dose_report(), annotations(), slide()))
    ]
    made.ingest(
        PACKAGED["pydicom"], *siemens, write(folder / "pet.dcm", pet), *derived, mode="full", workers=1
    )  # fmt: skip
    add_components(made)
    made.measure_segments()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A warehouse of pydicom's package, two files of nibabel's and a PET, all elements. Not to write to."""
    folder = made_once(tmp_path_factory, "sample", _make_sample)
    # Runs of cohorts and exports leave something in it: each process has its own.
    own = tmp_path_factory.mktemp("sample") / "w"
    return warehouse.open(shutil.copytree(folder / "w", own))


@pytest.fixture(scope="session")
def tables_of_sample(
    sample: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> duckdb.DuckDBPyConnection:
    """The rows of every view of the sample, each as a table."""
    return flat(tmp_path_factory, "sample", sample)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """The files that $DICOM_CORPUS names, every element. Not to write to, but for runs of cohorts."""
    if not (named := os.environ.get("DICOM_CORPUS")):
        pytest.skip("DICOM_CORPUS names no folder")

    def make(folder: Path) -> None:
        warehouse.open(folder / "w", create=True).ingest(named, mode="full", workers=1)

    made = made_once(tmp_path_factory, "corpus", make)
    own = tmp_path_factory.mktemp("corpus") / "w"
    return warehouse.open(shutil.copytree(made / "w", own))


@pytest.fixture
def ingest(tmp_path: Path) -> Callable[..., warehouse.Warehouse]:
    """Ingest into the warehouse of this test, in this process; returns it with ``.report``."""
    made = warehouse.open(tmp_path / "warehouse", create=True)

    def run(*sources: Path, **options: object) -> warehouse.IngestReport:
        return made.ingest(*(sources or (tmp_path / "in",)), **{"workers": 1, **options})  # type: ignore[arg-type]

    run.warehouse = made  # type: ignore[attr-defined]
    return run
