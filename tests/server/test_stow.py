"""STOW-RS: what is acknowledged is stored, byte by byte; what is not leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.data import get_testdata_file

import warehouse
from tests.dicom_files import image, write
from tests.server.running import Client, running
from warehouse.server.access import add_token

KIND = 'multipart/related; type="application/dicom"; boundary=here'


@contextlib.contextmanager
def serving(one_instance: Path, folder: Path) -> Iterator[tuple[Client, warehouse.Warehouse, Path]]:
    """Serve a warehouse of one file, and take objects."""
    shutil.copytree(one_instance, folder, dirs_exist_ok=True)
    made = warehouse.open(folder / "w")
    secret = add_token(folder / "tokens", "sender", "write")
    with running(
        made, tokens=folder / "tokens", audit=folder / "audit", received=folder / "got"
    ) as client:
        client.session.headers["Authorization"] = f"Bearer {secret}"
        yield client, made, folder


@pytest.fixture
def archive(
    one_instance: Path, tmp_path: Path
) -> Iterator[tuple[Client, warehouse.Warehouse, Path]]:
    """A server of its own for a test."""
    with serving(one_instance, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def refusing(
    one_instance: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, warehouse.Warehouse, Path]]:
    """One for all that leaves nothing behind."""
    with serving(one_instance, tmp_path_factory.mktemp("refusing")) as made:
        yield made


def body(*parts: bytes, kind: str = "application/dicom", end: bytes = b"--") -> bytes:
    made = b"".join(f"\r\n--here\r\nContent-Type: {kind}\r\n\r\n".encode() + part for part in parts)
    return made + b"\r\n--here" + end + b"\r\n"


def content(folder: Path, uid: str, **attributes: object) -> bytes:
    return write(folder / "made.dcm", image(uid, **attributes)).read_bytes()


def kept(folder: Path) -> list[str]:
    """Return the digests of the files that were received; nothing half done lies beside them."""
    files = [path for path in (folder / "got").rglob("*") if path.is_file()]
    assert all(path.stem == hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return sorted(path.stem for path in files)


@pytest.mark.acceptance("W5")
def test_an_object_is_stored_once(archive: tuple[Client, warehouse.Warehouse, Path]) -> None:
    client, made, folder = archive
    sent = content(folder, "1.7", PatientName="Sent^By")
    for _ in range(2):
        answer = client.post("/dicomweb/studies", body(sent), **{"Content-Type": KIND})
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["00081199"]["Value"]
        assert item["00081155"]["Value"] == ["1.7"]
        (address,) = item["00081190"]["Value"]
        assert client.get(address.removeprefix(client.url), "application/dicom").content == sent
    assert kept(folder) == [hashlib.sha256(sent).hexdigest()]
    made.refresh()
    assert made.sql("select count(*) from files").fetchall() == [(2,)]
    # The bytes of a file that was ingested from elsewhere are there, too.
    there = (folder / "in" / "a.dcm").read_bytes()
    assert (
        client.post("/dicomweb/studies", body(there), **{"Content-Type": KIND}).status_code == 200
    )
    assert len(kept(folder)) == 1


@pytest.mark.acceptance("W5")
@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_an_object_that_cannot_be_moved_is_not_acknowledged_and_others_are(
    archive: tuple[Client, warehouse.Warehouse, Path],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
) -> None:
    """A full disk; before, objects that were moved earlier stayed, neither stored nor answered."""
    client, made, folder = archive
    sent = [content(folder, f"1.7{number}") for number in range(3)]
    full = folder / "got" / hashlib.sha256(sent[1]).hexdigest()[:2]
    original = {"replace": os.replace, "fsync": os.fsync}[function]

    def failing(first: Any, *rest: Any) -> object:
        where = rest[0] if rest else Path(f"/proc/self/fd/{first}").readlink() / "x"
        if Path(where).parent == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(first, *rest)

    monkeypatch.setattr(os, function, failing)
    answer = client.post("/dicomweb/studies", body(*sent), **{"Content-Type": KIND})
    assert answer.status_code == 202, answer.text
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.71"]
    assert failed["00081197"]["Value"] == [0xA700]
    assert len(answer.json()["00081199"]["Value"]) == 2
    assert kept(folder) == sorted(hashlib.sha256(each).hexdigest() for each in (sent[0], sent[2]))
    made.refresh()
    assert made.sql("select count(*) from files").fetchall() == [(3,)]


def test_the_url_of_a_study_is_encoded(refusing: tuple[Client, warehouse.Warehouse, Path]) -> None:
    client, _, folder = refusing
    for path in ("9%2F1", "9%201", "9%221"):
        sent = body(content(folder, "1.6"))
        answer = client.post(f"/dicomweb/studies/{path}", sent, **{"Content-Type": KIND})
        assert answer.status_code == 409
        assert answer.json()["00081190"]["Value"] == [f"{client.url}/dicomweb/studies/{path}"]


@pytest.mark.acceptance("W5")
def test_some_fail(archive: tuple[Client, warehouse.Warehouse, Path]) -> None:
    client, made, folder = archive
    good, other = content(folder, "1.8"), content(folder, "1.8", PatientName="Other")
    changed, foreign = (
        content(folder, "1.1", PatientName="Other"),
        content(folder, "1.9", StudyInstanceUID="9"),
    )
    answer = client.post(
        "/dicomweb/studies/1.2.1",
        body(good, b"no DICOM", changed, foreign, other),
        **{"Content-Type": KIND},
    )
    assert answer.status_code == 202
    told = answer.json()
    assert [item["00081155"]["Value"] for item in told["00081199"]["Value"]] == [["1.8"]]
    reasons = [item["00081197"]["Value"][0] for item in told["00081198"]["Value"]]
    assert reasons == [0xC000, 0x0111, 0xA900, 0x0111]
    assert kept(folder) == [hashlib.sha256(good).hexdigest()]
    assert client.post("/dicomweb/studies", body(b"x"), **{"Content-Type": KIND}).status_code == 409
    made.refresh()
    assert made.sql("select count(*) from files").fetchall() == [(2,)]


@pytest.mark.acceptance("W5")
def test_what_is_told_to_have_failed_is_not_there(
    archive: tuple[Client, warehouse.Warehouse, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PS3.18 10.5.3: what became of each object; a UID of two values was told to have failed, and was stored."""
    client, made, folder = archive
    two = pydicom.dcmread(io.BytesIO(content(folder, "1.8")))
    two.SOPInstanceUID = ["1.8", "1.9"]
    sent = io.BytesIO()
    two.save_as(sent)
    told = client.post("/dicomweb/studies", body(sent.getvalue()), **{"Content-Type": KIND})
    assert told.status_code == 200, told.text
    ((address,),) = (item["00081190"]["Value"] for item in told.json()["00081199"]["Value"])
    assert client.get(f"{address.removeprefix(client.url)}/metadata").status_code == 200
    before = kept(folder)
    # Read as a header, and refused by the ingest: nothing of it stays.
    monkeypatch.setenv("DICOM_WAREHOUSE_LIMITS", "rows=1")
    told = client.post("/dicomweb/studies", body(content(folder, "1.10")), **{"Content-Type": KIND})
    assert (told.status_code, kept(folder)) == (409, before)
    made.refresh()
    assert made.sql("select count(*) from instances").fetchall() == [(2,)]


@pytest.mark.acceptance("W5")
@pytest.mark.parametrize(("sent", "kind", "status"), [
    (b"", KIND, 400),
    (body(), KIND, 400),
    (b"\r\n--here\r\nContent-Type: application/dicom\r\n\r\nDICM", KIND, 400),
    (body(b"DICM", end=b""), KIND, 400),
    (b"nonsense", KIND, 400),
    (b"--here\r\nbroken header\r\n\r\n--here--", KIND, 400),
    (b"\r\n--here\r\n" + b"A" * 10000 + b": b\r\n\r\n\r\n--here--\r\n", KIND, 400),
    (body(b"{}", kind="application/json"), KIND, 415),
    (body(b"x"), "multipart/form-data; boundary=here", 415),
    (body(b"x"), 'multipart/related; type="application/dicom"', 415),
    (body(b"x"), 'multipart/related; type="application/dicom+json"; boundary=here', 415),
    (body(b"x"), "", 415),
    (body(b"x"), f"multipart/related; boundary={'q' * 500}", 400),
], ids=["empty", "no part", "cut", "no last boundary", "nonsense", "header", "long header", "json", "form", "no boundary", "metadata", "no type", "long boundary"])  # fmt: skip
def test_a_body_that_is_none_leaves_nothing(
    refusing: tuple[Client, warehouse.Warehouse, Path], sent: bytes, kind: str, status: int
) -> None:
    client, _, folder = refusing
    answer = client.post("/dicomweb/studies", sent, **{"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "message"}
    assert kept(folder) == []
    assert not list((folder / "got" / ".begun").glob("*"))


def test_only_who_may_stores(archive: tuple[Client, warehouse.Warehouse, Path]) -> None:
    client, _, folder = archive
    secret = add_token(folder / "tokens", "reader", "read")
    client.session.headers["Authorization"] = f"Bearer {secret}"
    sent = body(content(folder, "1.9"))
    assert client.post("/dicomweb/studies", sent, **{"Content-Type": KIND}).status_code == 403
    assert kept(folder) == []


def test_dicomweb_client_stores(archive: tuple[Client, warehouse.Warehouse, Path]) -> None:
    client, _, folder = archive
    read = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    service = DICOMwebClient(
        f"{client.url}/dicomweb", headers={"Authorization": client.session.headers["Authorization"]}
    )
    told = service.store_instances([read])
    assert told.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == read.SOPInstanceUID
    assert service.search_for_studies(search_filters={"PatientID": read.PatientID})
    assert len(kept(folder)) == 1


_MEASURED = """
import re, resource, sys, warehouse
from pathlib import Path
from tests.server.running import Client, running
from warehouse.server.access import add_token
folder, size = Path(sys.argv[1]), int(sys.argv[2])
made = warehouse.open(folder / "w", create=True)
made.ingest(folder / "in", workers=1)
head = (folder / "in" / "a.dcm").read_bytes()
def rss():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
def sent(length):
    yield b"\\r\\n--here\\r\\nContent-Type: application/dicom\\r\\n\\r\\n"
    for at in range(0, length, 1 << 16):
        yield bytes(1 << 16)
    yield b"\\r\\n--here--\\r\\n"
secret = add_token(folder / "tokens", "a", "write")
with running(made, tokens=folder / "tokens", audit=folder / "audit", received=folder / "got") as client:
    client.session.headers["Authorization"] = f"Bearer {secret}"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=here'}
    assert client.post("/dicomweb/studies", sent(1 << 20), **kind).status_code == 409
    before = rss()
    assert client.post("/dicomweb/studies", sent(size), **kind).status_code == 409
    print(rss() - before)
"""


@pytest.mark.acceptance("W5")
def test_a_body_is_not_kept_in_memory(
    refusing: tuple[Client, warehouse.Warehouse, Path],
) -> None:
    """The short form: what Python allocates in this process, which serves too."""
    client, _, _ = refusing
    size, piece = 32 << 20, bytes(1 << 16)

    def sent() -> Iterator[bytes]:
        yield b"\r\n--here\r\nContent-Type: application/dicom\r\n\r\n"
        for _ in range(0, size, len(piece)):
            yield piece
        yield b"\r\n--here--\r\n"

    tracemalloc.start()
    try:
        answer = client.post("/dicomweb/studies", sent(), **{"Content-Type": KIND})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 409
    assert peak < size / 4


@pytest.mark.long("test_a_body_is_not_kept_in_memory")
@pytest.mark.acceptance("W5")
@pytest.mark.parametrize("size", [64 << 20, pytest.param(1 << 30, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_body(tmp_path: Path, size: int) -> None:
    write(tmp_path / "in" / "a.dcm", image("1.1"))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(tmp_path), str(size)],
        capture_output=True, text=True, check=False, timeout=500, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 64
