"""What is received: bytes as sent, on disk before the answer, and rows of the ordinary ingest."""

from __future__ import annotations

import datetime as dt
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from pydicom import dcmread

import warehouse
from tests.conftest import PACKAGED
from tests.dicom_files import CT, write
from tests.listener.peers import associated, data_set, eventually, received, send
from tests.programs import needed
from warehouse.errors import CannotListen, SpoolInUse, UsageError, WarehouseError
from warehouse.listener import received as receiving
from warehouse.listener.listener import Listener
from warehouse.listener.spool import Spool
from warehouse.listener.state import read_states

Start = Callable[..., Listener]
EXPLICIT = "1.2.840.10008.1.2.1"
FULL = 0xA700


@pytest.mark.acceptance("L1")
@pytest.mark.acceptance("D71")
def test_a_file_of_storescu_is_there_once(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    listener = listening()
    file = write(tmp_path / "1.dcm", uid="1.9.1")
    address = ["-aec", "WAREHOUSE", "127.0.0.1", str(listener.port)]
    echoed = subprocess.run([needed("echoscu"), *address], capture_output=True, check=False)
    assert echoed.returncode == 0, echoed.stderr
    for _ in range(2):
        sent = subprocess.run(
            [needed("storescu"), "-v", *address, str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert sent.returncode == 0
        assert "Received Store Response (Success)" in sent.stderr
        assert listener.hand_over()
    assert wh.sql("select SOPInstanceUID from instances").fetchall() == [("1.9.1",)]
    assert wh.sql("select status from files order by all").fetchall() == [
        ("duplicate",),
        ("ingested",),
    ]


@pytest.mark.acceptance("L3")
def test_every_transfer_syntax_is_kept_as_it_was_sent(
    wh: warehouse.Warehouse, listening: Start
) -> None:
    files = {}
    for path in sorted((PACKAGED["pydicom"] / "test_files").rglob("*.dcm")):
        meta = dcmread(path, stop_before_pixels=True, force=True).file_meta
        # What does not say what it is cannot be sent as it is.
        stated = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
        if all(meta.get(keyword) for keyword in stated):
            files.setdefault((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID), path)
    assert len({syntax for _, syntax in files}) >= 12
    listener = listening(sop_classes=tuple({str(sop_class) for sop_class, _ in files}))
    assert set(send(listener.port, *files.values())) == {0}
    kept = received(listener.spool)
    assert sorted(map(data_set, kept)) == sorted(map(data_set, files.values()))
    meta = dcmread(kept[0], stop_before_pixels=True).file_meta
    assert meta.SourceApplicationEntityTitle == "SENDER"
    assert listener.hand_over()
    syntaxes = wh.sql("select distinct TransferSyntaxUID from files").fetchall()
    assert {syntax for (syntax,) in syntaxes} == {str(syntax) for _, syntax in files}


def test_other_bytes_of_the_same_instance_are_kept_beside_it(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    listener = listening()
    files = [write(tmp_path / f"{n}", uid="1.7", PatientID=f"P{n}") for n in range(2)]
    assert send(listener.port, *files, *files) == [0, 0, 0, 0]
    assert len(received(listener.spool)) == 2
    listener.hand_over()
    assert wh.sql("select count(*) from duplicates").fetchall() == [(1,)]


def test_what_is_no_data_set_is_acknowledged_and_stays_with_its_reason(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    file = write(tmp_path / "1", uid="1.7")
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + b"\xff" * 40)
    listener = listening()
    assert send(listener.port, file) == [0]
    listener.hand_over()
    ((path, reason),) = wh.sql(
        "select file_path, reason from files where status = 'rejected'"
    ).fetchall()
    assert reason
    assert data_set(Path(path)) == data_set(file)


@pytest.mark.acceptance("L5")
@pytest.mark.parametrize("memory", [receiving.MEMORY_BYTES, 1000], ids=["memory", "spooled"])
def test_a_disk_that_takes_no_more_is_told_and_later_objects_are_kept(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path, memory: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(receiving, "MEMORY_BYTES", memory)
    small = write(tmp_path / "1", uid="1.1")
    long = write(tmp_path / "2", uid="1.2", PixelData=bytes(500_000))
    listener = listening()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert send(listener.port, long, small) == [FULL, 0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert send(listener.port, long) == [0]
    assert sorted(map(data_set, received(listener.spool))) == sorted(map(data_set, [small, long]))
    assert not list((listener.spool / "parts").iterdir())
    state = listener.state()
    assert (state.received, state.refused) == (2, 1)
    assert "refused" in (state.last_error or "")


def test_a_data_set_beyond_the_limit_is_refused(listening: Start, tmp_path: Path) -> None:
    listener = listening(object_bytes=50_000)
    files = [write(tmp_path / f"{n}", uid=f"1.{n}", PixelData=bytes(n)) for n in (60_000, 40_000)]
    assert send(listener.port, *files) == [FULL, 0]


def test_what_ends_in_the_middle_leaves_nothing(
    listening: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "MEMORY_BYTES", 1000)
    listener = listening()
    parts = listener.spool / "parts"
    file = write(tmp_path / "1", uid="1.1", PixelData=bytes(3_000_000))
    with associated(listener.port, (CT, EXPLICIT)) as association:
        sent = association.dul.socket.send
        calls = []

        def stops(data: bytes) -> None:
            calls.append(len(data))
            if len(calls) == 4:
                eventually(lambda: bool(list(parts.iterdir())))
                association.dul.socket.close()
            else:
                sent(data)

        association.dul.socket.send = stops
        assert "Status" not in association.send_c_store(file)
    eventually(lambda: not list(parts.iterdir()))
    assert not received(listener.spool)


def test_what_was_left_is_ingested_by_the_next(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    first = listening()
    send(first.port, write(tmp_path / "1", uid="1.1"))
    first.stop()
    (first.spool / "parts" / "9.part").write_bytes(b"never acknowledged")
    again = listening(ingest=True)
    eventually(lambda: again.state().created == 1)
    assert not list((again.spool / "parts").iterdir())
    assert wh.sql("select SOPInstanceUID from instances").fetchall() == [("1.1",)]


def test_batches_are_handed_over_by_count_and_by_time(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    files = [write(tmp_path / f"{n}", uid=f"1.{n}") for n in range(3)]
    by_count = listening(aet="COUNT", ingest=True, batch_files=2)
    # The first ingest, of what an earlier listener left, would take one of two files by itself.
    eventually(wh.root.is_dir)
    by_time = listening(aet="TIME", ingest=True, batch_seconds=0.2)
    send(by_count.port, *files[:2])
    eventually(lambda: by_count.state().created == 2)
    send(by_time.port, files[2])
    eventually(lambda: by_time.state().created == 1 and by_time.state().waiting == 0)
    eventually(lambda: [each.created for each in read_states(wh.root)] == [2, 1])
    shown = read_states(wh.root)[1]
    assert (shown.aet, shown.port, shown.is_running) == ("TIME", by_time.port, True)
    by_time.stop()
    assert [each.is_running for each in read_states(wh.root)] == [True, False]


def test_an_ingest_that_fails_is_tried_again(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    wh.root.write_bytes(b"a file where the warehouse should be")
    listener = listening(ingest=True, batch_seconds=0.1)
    send(listener.port, write(tmp_path / "1", uid="1.1"))
    eventually(lambda: "could not be ingested" in (listener.state().last_error or ""))
    wh.root.unlink()
    eventually(lambda: wh.root.is_dir() and listener.state().created == 1)


def test_a_folder_that_was_deleted_does_not_keep_others_waiting(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path
) -> None:
    listener = listening()
    for number, aet in ((1, "GONE"), (2, "KEPT")):
        send(listener.port, write(tmp_path / f"{number}", uid=f"1.{number}"), aet=aet)
    (gone,) = (path for path in received(listener.spool) if "GONE" in path.parts)
    shutil.rmtree(gone.parent)
    assert listener.hand_over()
    assert wh.sql("select SOPInstanceUID from instances").fetchall() == [("1.2",)]
    assert "was deleted with 1 received file" in (listener.state().last_error or "")
    assert listener.state().waiting == 0


def test_one_listener_per_port_and_per_spool(listening: Start, tmp_path: Path) -> None:
    first = listening()
    with pytest.raises(CannotListen, match=f"127.0.0.1:{first.port}: address already in use"):
        listening(tmp_path / "other", port=first.port)
    with pytest.raises(SpoolInUse, match="name another --spool"):
        listening()
    with pytest.raises(UsageError, match="never ingests its own folder"):
        listening(tmp_path / "w" / "spool")
    second = listening(aet="SECOND")
    assert {first.state().port, second.state().port} == {first.port, second.port}


def test_an_acknowledged_file_survives_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is synced before it has its name, and each folder that has a new name afterwards."""
    spool = Spool(tmp_path / "s")
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.readlink(f"/proc/self/fd/{fd}")))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    kept = spool.keep(spool.begin(b"bytes"), "CT 1/../x")
    spool.close()
    assert kept.read_bytes() == b"bytes"
    assert kept.is_relative_to(tmp_path / "s" / "files")
    folders = [str(folder) for folder in kept.parents if folder.is_relative_to(tmp_path / "s")]
    assert done[0].endswith(".part")
    assert done[-2:] == ["rename", str(kept.parent)]
    assert set(folders) <= set(done)


def test_who_finds_a_folder_waits_until_its_name_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two associations receive the first files of a batch; one has created the folder."""
    spool = Spool(tmp_path / "s")
    is_made, may_sync, synced = threading.Event(), threading.Event(), list[str]()

    def sync(folder: Path) -> None:
        if not is_made.is_set():
            is_made.set()
            assert may_sync.wait(10)
        synced.append(folder.name)

    monkeypatch.setattr("warehouse.listener.spool.sync_folder", sync)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(spool.keep, spool.begin(b"1"), "CT")
        assert is_made.wait(10)
        second = pool.submit(spool.keep, spool.begin(b"2"), "CT")
        assert not wait([second], 0.2).done
        may_sync.set()
        batch = first.result().parent
        assert second.result().parent == batch
    assert synced.count(batch.name) == 2
    spool.close()


def test_a_file_is_in_the_folder_of_the_day_it_was_received(
    wh: warehouse.Warehouse, listening: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --no-ingest no batch ends, and another process ingests the folder of today."""
    now = dt.datetime(2026, 11, 28, 23, 59).astimezone()
    monkeypatch.setattr("warehouse.listener.spool._now", lambda: now)
    listener = listening()
    for number in range(3):
        send(listener.port, write(tmp_path / f"{number}", uid=f"1.{number}"))
        now += dt.timedelta(days=1)
    days = [
        path.relative_to(listener.spool / "files").parts[:3] for path in received(listener.spool)
    ]
    assert days == [("2026", "11", "28"), ("2026", "11", "29"), ("2026", "11", "30")]
    assert listener.state().waiting == 3
    assert listener.hand_over()
    assert wh.sql("select count(*) from instances").fetchall() == [(3,)]


def test_the_folder_of_a_new_spool_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[Path]()
    monkeypatch.setattr("warehouse.listener.spool.sync_folder", synced.append)
    Spool(tmp_path / "w-received" / "AET").close()
    assert {tmp_path, tmp_path / "w-received", tmp_path / "w-received" / "AET"} <= set(synced)


def test_the_state_is_written_during_an_ingest(
    wh: warehouse.Warehouse, listening: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor takes a listener whose state is old for a killed one."""
    monkeypatch.setattr("warehouse.listener.listener.HEARTBEAT_SECONDS", 0.05)
    has_begun, may_end = threading.Event(), threading.Event()

    def ingest(*_: object, **__: object) -> None:
        has_begun.set()
        assert may_end.wait(20)
        raise WarehouseError("enough")

    monkeypatch.setattr(wh, "ingest", ingest)
    listener = listening(ingest=True)
    assert has_begun.wait(10)
    try:
        (listener.spool / "state.json").unlink()
        eventually((listener.spool / "state.json").exists, 5)
    finally:
        may_end.set()


@pytest.mark.acceptance("L1")
@pytest.mark.slow
def test_four_senders_at_once(wh: warehouse.Warehouse, listening: Start, tmp_path: Path) -> None:
    listener = listening(ingest=True, batch_files=100)
    for number in range(1000):
        write(tmp_path / f"in{number % 4}" / f"{number}", uid=f"1.{number}")
    senders = [
        subprocess.Popen(
            [needed("storescu"), "-aec", "WAREHOUSE", "+sd", "127.0.0.1", str(listener.port), str(tmp_path / f"in{n}")],
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        for n in range(4)
    ]  # fmt: skip
    assert [sender.wait() for sender in senders] == [0] * 4
    listener.stop()
    assert listener.state().received == 1000
    assert wh.sql("select status, count(*) from files group by all").fetchall() == [
        ("ingested", 1000)
    ]
