"""What our own processes do first: they leave pandas and requests to who asks for them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.measured import garbage
from warehouse.store.delta import create
from warehouse.workers import WorkerPool

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="needs pandas")
@pytest.mark.parametrize(
    ("begin", "imported"),
    [
        pytest.param(
            "",
            True,
            id="any process",
            marks=pytest.mark.long("test_a_worker_reads_without_pandas_and_leaves_it_to_others"),
        ),
        pytest.param(
            "from warehouse.forking import begin_worker; begin_worker()", False, id="worker"
        ),
    ],
)
def test_a_worker_reads_without_pandas_and_leaves_it_to_others(
    tmp_path: Path, begin: str, imported: bool
) -> None:
    program = f"""
import sys
from pathlib import Path
{begin}
from warehouse.dicom.scan import discover
from warehouse.reading import Chunk, stage_chunk
from warehouse.settings import IngestSettings
from warehouse.store.marker import found_identity

root, file = Path(sys.argv[1]), sys.argv[2]
stage_chunk(Chunk(root, found_identity(root), "000001", 0, list(discover([file])), 1, IngestSettings()))
print("pandas" in sys.modules)
import pandas, pyarrow
print(len(pyarrow.Table.from_pandas(pandas.DataFrame({{"a": [1, 2]}})).to_pandas()))
"""
    root = str(tmp_path / "warehouse")
    create(tmp_path / "warehouse")
    done = subprocess.run(
        [sys.executable, "-c", program, root, str(get_testdata_file("CT_small.dcm"))],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == [str(imported), "2"]


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="needs pandas")
def test_our_processes_import_no_more_than_they_need() -> None:
    """Each takes a third of a second or more, whenever a cohort is asked or a worker starts."""
    asking = (
        "import sys, warehouse.cohorts.asking\n"
        "print(set(sys.modules) & {'pydicom', 'polars', 'pandas'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", asking], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
    with WorkerPool(1) as pool:
        loaded = pool.submit(eval, "set(__import__('sys').modules)").result()
    assert "pydicom" in loaded
    assert not loaded & {"polars", "pandas", "requests"}


@pytest.mark.skipif(importlib.util.find_spec("requests") is None, reason="needs requests")
def test_pydicom_is_imported_without_requests_and_leaves_it_to_others() -> None:
    program = """
import sys
from warehouse.process import do_without_requests
do_without_requests()
import pydicom.data.download
print(pydicom.data.download.HAVE_REQUESTS, "requests" in sys.modules)
import requests
print(requests.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["False", "False", "requests"]


@pytest.mark.parametrize(
    ("reader", "step", "least_rows"),
    [
        ("fast", 3, 5_000),
        # It takes fifty times as long as the other one.
        ("pydicom", 40, 300),
        pytest.param(
            "pydicom", 3, 5_000,
            marks=pytest.mark.long("test_reading_leaves_nothing_to_the_collector"),
        ),
    ],
)  # fmt: skip
def test_reading_leaves_nothing_to_the_collector(reader: str, step: int, least_rows: int) -> None:
    """Or a chunk of files with long headers would pile up while the collector is paused."""
    # In a process of its own: what other tests left is not meant.
    folder = Path(get_testdata_file("CT_small.dcm")).parent
    with WorkerPool(1) as pool:
        files, rows, left, is_enabled = pool.submit(garbage, folder, reader, step).result()
    assert rows > least_rows
    assert left < files, "one object of each file would be twice as many"
    assert is_enabled
