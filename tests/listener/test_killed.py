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
from warehouse.listener.listener import Listener
from warehouse.listener.settings import ListenerSettings

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


@pytest.mark.acceptance("L2")
@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning"
)  # the sender's, by pynetdicom
@pytest.mark.parametrize(
    "kills",
    [
        1,
        pytest.param(2, marks=pytest.mark.long("test_nothing_acknowledged_is_lost")),
        pytest.param(10, marks=pytest.mark.slow),
    ],
)
def test_nothing_acknowledged_is_lost(tmp_path: Path, kills: int) -> None:
    acknowledged: list[str] = []
    moments = random.Random(20261128)
    least = 30 if kills == 10 else 10
    for kill in range(kills):
        process, port = listen(tmp_path)
        sender = threading.Thread(
            target=send_until_killed, args=(port, f"1.5.{kill + 1}", acknowledged)
        )
        sender.start()
        before = len(acknowledged)
        while len(acknowledged) < before + least:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        sender.join()
    wh = warehouse.open(tmp_path / "w", create=True)
    with Listener(wh, ListenerSettings(port=0, ingest=False)) as listener:
        assert listener.hand_over(everything=True)
        files = received(listener.spool)
    stored = {uid for (uid,) in wh.sql("select SOPInstanceUID from instances").fetchall()}
    assert len(acknowledged) >= least * kills
    assert set(acknowledged) <= stored
    # What was not acknowledged may be there, whole; nothing is there twice, nothing in part.
    counted = wh.sql("select status, count(*) from files group by all").fetchall()
    assert counted == [("ingested", len(files))]
