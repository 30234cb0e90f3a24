"""kill -9: what was acknowledged is in the warehouse after the next start."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydicom.dataset import FileMetaDataset

import warehouse
from tests.command_line import COMMAND, ROOT
from tests.dicom_files import CT, image
from tests.listener.peers import associated, received

EXPLICIT = "1.2.840.10008.1.2.1"


def listen(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start the command; return it and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "listen", "-w", str(folder / "w"), "--port", "0", "--json",
         "--batch-files", "20", "--batch-seconds", "0.3"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["port"]


def end(process: subprocess.Popen[str], how: signal.Signals) -> int:
    process.send_signal(how)
    process.communicate()
    return process.returncode


def send_until_killed(port: int, prefix: str, acknowledged: list[str]) -> None:
    """Send instances over two associations, and note those that were acknowledged."""

    def send(stream: int) -> None:
        with associated(port, (CT, EXPLICIT)) as association:
            for number in range(10_000):
                uid = f"{prefix}.{stream}.{number}"
                made = image(uid, SeriesInstanceUID=f"{prefix}.{stream}")
                made.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
                made.file_meta = FileMetaDataset()
                made.file_meta.TransferSyntaxUID = EXPLICIT
                try:
                    status = association.send_c_store(made)
                except RuntimeError:
                    return  # the association has ended
                if status.get("Status") != 0:
                    return
                acknowledged.append(uid)

    threads = [threading.Thread(target=send, args=(stream,)) for stream in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost(tmp_path: Path, kills: int) -> None:
    acknowledged: list[str] = []
    moments = random.Random(20261128)
    for kill in range(kills):
        process, port = listen(tmp_path)
        sender = threading.Thread(
            target=send_until_killed, args=(port, f"1.5.{kill + 1}", acknowledged)
        )
        sender.start()
        before = len(acknowledged)
        while len(acknowledged) < before + 25:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.4))
        end(process, signal.SIGKILL)
        sender.join()
    assert len(acknowledged) >= 25 * kills
    process, _ = listen(tmp_path)
    wh = warehouse.open(tmp_path / "w", create=True)
    patience = time.monotonic() + 60
    while True:
        wh.refresh()
        stored = {uid for (uid,) in wh.sql("select SOPInstanceUID from instances").fetchall()}
        if set(acknowledged) <= stored or time.monotonic() > patience:
            break
        time.sleep(0.1)
    assert end(process, signal.SIGTERM) == 143
    assert set(acknowledged) <= stored
    # What was not acknowledged may be there, whole; nothing is there twice, nothing in part.
    files = received(tmp_path / "w-received" / "WAREHOUSE")
    assert wh.sql("select status, count(*) from files group by all").fetchall() == [
        ("ingested", len(files))
    ]
