"""What a person at a viewer and scanners that send see: the first image, files a second.

In: nothing; the files are made. Out: lines for the page of ``server.py``. The viewer is OHIF in
Debian's Chromium, without a graphics card, driven as tests/server/browser.py does it; scanners are
dcmtk's ``storescu``. What is not installed is said and left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

import warehouse
from warehouse.server import viewer

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parent.parent
SIDE = 512
SHOWN = (
    "cornerstone.getEnabledElements()[0]?.viewport?.getCornerstoneImage?.()"
    f"?.getPixelData?.()?.length === {SIDE * SIDE}"
)
FILES, SENDERS, RATE = 1_000, 4, 150
"""What is sent, by how many at once, and the files a second that are promised on two idle cores."""


def first_image(
    served: Callable[..., AbstractContextManager[tuple[str, int]]], slices: int, rounds: int
) -> list[str]:
    """Open a series of so many slices of 512 x 512, and one of a single slice, in OHIF."""
    browser = shutil.which("chromium")
    folder = viewer.installed()
    if browser is None or folder is None:
        return [
            f"Not measured: {'chromium' if browser is None else 'OHIF (make viewer)'} is missing."
        ]
    sys.path.append(str(ROOT))
    from tests.server.browser import GRAPHICS, chromium

    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        for study, count in (("1.2.3", slices), ("1.2.4", 1)):
            _series(made / "in" / study, study, count)
        warehouse.open(made / "w", create=True).ingest(made / "in", workers=2)
        began = time.perf_counter()
        files = sorted((made / "in" / "1.2.3").iterdir())
        size = sum(len(path.read_bytes()) for path in files)
        plain = time.perf_counter() - began
        took: dict[str, list[float]] = {"1.2.3": [], "1.2.4": []}
        with served(made / "w") as (url, _), chromium(made, *GRAPHICS) as page:
            for number in range(rounds + 1):
                for study, seconds in took.items():
                    page.open("about:blank")
                    began = time.perf_counter()
                    page.open(f"{url}/viewer?StudyInstanceUIDs={study}")
                    page.wait(SHOWN, 180)
                    # The first is of a browser without anything in its cache.
                    if number:
                        seconds.append(time.perf_counter() - began)
    many, one = (sorted(seconds)[len(seconds) // 2] for seconds in took.values())
    return [
        (
            f"OHIF in Chromium with software rendering, on the machine of the server. The first image of a series of "
            f"{slices} slices of {SIDE} x {SIDE} is displayed {many:.1f} s after the URL was opened, that of a series of one "
            f"slice after {one:.1f} s (median of {rounds}, polled five times a second). Reading the {len(files)} files "
            f"({size / 1e6:.0f} MB) alone takes {plain:.2f} s."
        )
    ]


def _series(folder: Path, study: str, count: int) -> None:
    folder.mkdir(parents=True)
    read = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    read.StudyInstanceUID, read.SeriesInstanceUID = study, f"{study}.1"
    pixels = np.tile(read.pixel_array, (SIDE // read.Rows, SIDE // read.Columns))
    read.Rows, read.Columns = pixels.shape
    read.PixelData = pixels.tobytes()
    for number in range(count):
        read.SOPInstanceUID = read.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
        read.InstanceNumber = number + 1
        read.ImagePositionPatient = [-100, -100, number * 1.5]
        read.save_as(folder / f"{number:05}.dcm")


def received() -> list[str]:
    """Send files by several senders at once to ``dicom-warehouse listen``."""
    sender = shutil.which("storescu")
    if sender is None:
        return ["Not measured: storescu of dcmtk is missing."]
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        read = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        for number in range(FILES):
            folder = made / f"in{number % SENDERS}"
            folder.mkdir(exist_ok=True)
            read.SOPInstanceUID = read.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            read.save_as(folder / f"{number}.dcm")
        warehouse.open(made / "w", create=True)
        command = [
            sys.executable, "-c", "from warehouse.cli import main; main()", "listen", "-w", str(made / "w"),
            "--port", "0", "--json", "--quiet",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            try:
                assert listener.stdout is not None
                port = json.loads(listener.stdout.readline())["port"]
                began = time.perf_counter()
                senders = [
                    subprocess.Popen(
                        [sender, "-aec", "WAREHOUSE", "+sd", "127.0.0.1", str(port), str(made / f"in{n}")],
                        env={**os.environ, "TCP_NODELAY": "1"},
                    )
                    for n in range(SENDERS)
                ]  # fmt: skip
                assert [each.wait() for each in senders] == [0] * SENDERS
                took = time.perf_counter() - began
            finally:
                listener.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    listener.wait(60)
        # What was received and not yet ingested, as the next start does.
        held = warehouse.open(made / "w")
        held.ingest(made / "w-received", workers=1)
        ((stored,),) = held.sql("select count(*) from instances").fetchall()
    assert stored == FILES, stored
    rate = FILES / took
    return [
        (
            f"C-STORE of {FILES:,} files of 39 kB by {SENDERS} concurrent senders (dcmtk's storescu, on the same machine). Each "
            f"file is acknowledged when it is on disk; ingest runs at the same time. The rate is {rate:,.0f} files/s; the target is "
            f"{RATE} on two idle cores: {'met' if rate >= RATE else 'missed'}. All {stored:,} files are in the warehouse."
        )
    ]
