"""Encapsulated documents come out as files: whole, safely named, whatever their headers say."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any, Self

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import image, write
from warehouse.cohorts import export_documents
from warehouse.cohorts.provenance import verify
from warehouse.deidentify.options import Deidentify
from warehouse.errors import ExportFailed, TargetExists, UsageError
from warehouse.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("asked_here")

PDF, CDA, STL, OBJ, MTL = (f"1.2.840.10008.5.1.4.1.1.104.{n}" for n in range(1, 6))
EVERY = "select instance_key from instances"


def document(
    folder: Path, uid: str, content: bytes, mime: str | None, sop_class: str = PDF, **more: Any
) -> None:
    """Write a document; a byte of padding follows one of odd length."""
    usual: dict[str, Any] = {
        "PatientID": "p1", "SOPClassUID": sop_class, "Modality": "DOC", "PixelData": None, "Rows": None, "Columns": None,
        "MIMETypeOfEncapsulatedDocument": mime, "EncapsulatedDocument": content + b"\0" * (len(content) % 2),
        "EncapsulatedDocumentLength": len(content), "DocumentTitle": "../../title.exe",
    } | more  # fmt: skip
    write(folder / f"{uid.strip('./')}.dcm", image(uid, **usual))


PDF_BYTES = b"%PDF-1.7\n" + bytes(range(256)) * 8
LONG = b"%PDF-2.0\n" + os.urandom((2 << 20) + 1)
"""Beyond what is kept beside the tables: copied out of its file."""
RIGHT: dict[str, tuple[bytes, str, str, str]] = {
    "1.1": (PDF_BYTES, "application/pdf", PDF, "pdf"),
    "1.2": (b"\xef\xbb\xbf<?xml version='1.0'?><ClinicalDocument/>", "text/XML", CDA, "xml"),
    "1.3": (bytes(80) + b"\0\0\0\0", "model/stl", STL, "stl"),
    "1.4": (b"mtllib a.mtl\nv 0 0 0\n", "model/obj", OBJ, "obj"),
    "1.5": (b"newmtl red\nKd 1 0 0\n", "model/mtl; charset=utf-8", MTL, "mtl"),
    "1.6": (LONG, "APPLICATION/PDF", PDF, "pdf"),
}
HOSTILE: dict[str, tuple[bytes, str | None]] = {
    "1.10": (b"MZ\x90\0", "application/x-msdownload"),
    "1.11": (b"<script>", "application/pdf"),
    "1.12": (b"x", "../../../etc/passwd"),
    "1.13": (b"y", None),
    "1.14": (b"\0\0", "text/xml"),
    "1.15": (b"short", "model/stl"),
    "1.16": (b"z", '=cmd|"/c calc"!A1\\text/xml'),
}
UNKNOWN, ELSE = (
    "its MIME type is none of a document that is known",
    "it does not begin as its MIME type says",
)


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("documents")
    for uid, (content, mime, sop_class, _) in RIGHT.items():
        document(folder / "in", uid, content, mime, sop_class)
    for uid, (bad, stated) in HOSTILE.items():
        document(folder / "in", uid, bad, stated)
    document(folder / "in", "1.20", b"", "application/pdf")
    document(folder / "in", "1.21", PDF_BYTES, "application/pdf", EncapsulatedDocumentLength=7)
    document(folder / "in", "1.22", PDF_BYTES, "application/pdf", EncapsulatedDocumentLength=None)
    document(folder / "in", "../../1.23", PDF_BYTES, "application/pdf", PatientID="../../x\0\n")
    write(folder / "in" / "ct.dcm", image("1.30"))
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1, limits=Limits(value_bytes=1 << 20))
    made.save_cohort("every", EVERY)
    made.cohort("every")
    return made


def listed(target: Path) -> dict[str, dict[str, str]]:
    with (target / "documents.csv").open(encoding="utf-8", newline="") as file:
        return {row["SOPInstanceUID"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def target(wh: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("out") / "documents"
    facts = wh.export("every", made, "documents")
    assert facts["documents"] == {"documents_written": 16, "documents_missing": 1}
    return made


@pytest.mark.acceptance("R16")
@pytest.mark.parametrize("uid", RIGHT)
def test_a_document_is_the_bytes_that_were_put_in(target: Path, uid: str) -> None:
    content, mime, sop_class, ending = RIGHT[uid]
    row = listed(target)[uid]
    assert row["name"] == f"p1/1.2.1/1.2.1.1/{uid}.{ending}"
    assert (target / row["name"]).read_bytes() == content
    assert (row["SOPClassUID"], row["MIMETypeOfEncapsulatedDocument"]) == (sop_class, mime)
    assert row["size_bytes"] == str(len(content))
    padded = content + b"\0" * (len(content) % 2)
    assert row["value_sha256"] == hashlib.sha256(padded).hexdigest()
    assert (row["warning"], row["why_not"]) == ("", "")


@pytest.mark.parametrize("uid", HOSTILE)
def test_what_is_no_such_document_has_no_ending_of_one(target: Path, uid: str) -> None:
    content, mime = HOSTILE[uid]
    row = listed(target)[uid]
    assert row["name"] == f"p1/1.2.1/1.2.1.1/{uid}.bin"
    assert (target / row["name"]).read_bytes() == content
    assert row["warning"] == (
        ELSE if mime in {"application/pdf", "text/xml", "model/stl"} else UNKNOWN
    )


def test_lengths_that_contradict_leave_the_value_whole(target: Path) -> None:
    rows = listed(target)
    padded = PDF_BYTES + b"\0" * (len(PDF_BYTES) % 2)
    for uid in ("1.21", "1.22"):
        assert (target / rows[uid]["name"]).read_bytes() == padded
    assert rows["1.21"]["warning"] == "Encapsulated Document Length is not that of the document"
    assert rows["1.22"]["warning"] == ""
    assert (rows["1.20"]["name"], rows["1.20"]["why_not"]) == (
        "",
        "it has no Encapsulated Document",
    )
    assert "1.30" not in rows


def test_no_name_leaves_the_folder(target: Path) -> None:
    row = listed(target)["../../1.23"]
    assert row["name"].startswith("x~")
    assert (target / row["name"]).resolve().is_relative_to(target.resolve())
    assert not [path for path in target.rglob("*") if path.suffix in {".exe", ".dcm"}]


def test_an_export_of_documents_is_verified(target: Path) -> None:
    assert verify(target).problems == ()
    assert verify(target).files == 16
    changed = target / listed(target)["1.4"]["name"]
    before = changed.read_bytes()
    changed.write_bytes(b"other")
    assert verify(target).problems == ("p1/1.2.1/1.2.1.1/1.4.obj: other content than was written",)
    changed.write_bytes(before)


def test_documents_that_are_not_there_any_more_leave_nothing_behind(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    source = next(path for path in (wh.root.parent / "in").iterdir() if path.name == "1.6.dcm")
    content = source.read_bytes()
    try:
        source.write_bytes(content.replace(LONG, LONG[:-1] + bytes([LONG[-1] ^ 1])))
        with pytest.raises(
            ExportFailed, match=r"1\.6: its document cannot be read: .*no file has these"
        ):
            wh.export("every", tmp_path / "x", "documents")
    finally:
        source.write_bytes(content)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_by_name(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    wh.save_cohort("pictures", f"{EVERY} where Modality = 'CT'")
    wh.cohort("pictures")
    with pytest.raises(ExportFailed, match="no member has a document"):
        wh.export("pictures", tmp_path / "x", "documents")
    with pytest.raises(UsageError, match="needs a format; choose one of: csv"):
        wh.export("every", tmp_path / "x")
    with pytest.raises(UsageError, match="the text of a document is not de-identified"):
        wh.export("every", tmp_path / "x", "documents", deidentify=Deidentify())
    (tmp_path / "there").mkdir()
    with pytest.raises(TargetExists):
        wh.export("every", tmp_path / "there", "documents")


def test_documents_of_a_mode_without_elements_say_so(tmp_path: Path) -> None:
    document(tmp_path / "in", "1.1", PDF_BYTES, "application/pdf")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1, mode="minimal")
    wh.save_cohort("every", EVERY)
    wh.cohort("every")
    with pytest.raises(ExportFailed, match="1 members should have a document, and none does"):
        wh.export("every", tmp_path / "x", "documents")


def test_the_command_counts_documents(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    done = run("cohort", "export", "every", tmp_path / "x", "--format", "documents", "-w", wh.root)
    assert done.returncode == 0
    assert f"{tmp_path / 'x'}: every-0001, 16 documents, digest " in done.stdout
    assert f"1 instance without a document: {tmp_path / 'x' / 'documents.csv'}" in done.stdout


# A process of its own: VmHWM is its peak. The digest of a document is that of its bytes.
STREAMED = """
import sys, hashlib
from pathlib import Path
import warehouse
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
root, target = map(Path, sys.argv[1:])
wh = warehouse.open(root)
wh.export("small", target / "small", "documents")
before = peak()
wh.export("large", target / "large", "documents")
print((peak() - before) << 10)
"""


def test_a_document_is_copied_in_pieces(
    wh: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a piece of a document that is copied out of its file is in memory."""
    monkeypatch.setattr(export_documents, "_CHUNK", 1 << 16)
    real, most = export_documents.open_value, list[int]()

    class Watched:
        def __init__(self, value: IO[bytes]) -> None:
            self.value = value

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.value.close()

        def seek(self, place: int) -> None:
            self.value.seek(place)

        def read(self, size: int = -1) -> bytes:
            found = self.value.read(size)
            most.append(len(found))
            return found

    monkeypatch.setattr(export_documents, "open_value", lambda *a, **k: Watched(real(*a, **k)))
    wh.export("every", tmp_path / "out", "documents")
    assert max(most) == 1 << 16
    row = listed(tmp_path / "out")["1.6"]
    assert (tmp_path / "out" / row["name"]).read_bytes() == LONG


@pytest.mark.long("test_a_document_is_copied_in_pieces")
@pytest.mark.parametrize(
    "size", [48 << 20, pytest.param(500 << 20, marks=pytest.mark.slow)], ids=["48MiB", "500MiB"]
)
def test_a_long_document_is_copied_in_pieces(tmp_path: Path, size: int) -> None:
    """The file is made in pieces too: a header with a document, whose bytes are put at its end."""
    piece = os.urandom(1 << 20)
    document(
        tmp_path / "in", "1.2", b"%PDF-1.7", "application/pdf", EncapsulatedDocumentLength=size
    )
    short = tmp_path / "in" / "1.2.dcm"
    content = short.read_bytes()
    at = content.index(b"%PDF-1.7")
    long = tmp_path / "in" / "1.1.dcm"
    digest = hashlib.sha256(b"%PDF-1.7" + bytes((1 << 20) - 8))
    with long.open("wb") as file:
        head = content[: at - 4].replace(b"UI\x04\x001.2\0", b"UI\x04\x001.1\0")
        file.write(head + size.to_bytes(4, "little") + b"%PDF-1.7" + bytes((1 << 20) - 8))
        for _ in range((size >> 20) - 1):
            file.write(piece)
            digest.update(piece)
        file.write(content[at + 8 :])
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.ingest(tmp_path / "in", workers=1).created == 2
    for name, uid in (("small", "1.2"), ("large", "1.1")):
        wh.save_cohort(name, f"{EVERY} where SOPInstanceUID = '{uid}'")
        wh.cohort(name)
    command = [sys.executable, "-c", STREAMED, str(tmp_path / "w"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    # A value of up to 32 MiB may be in memory.
    assert int(done.stdout) < 80 << 20
    row = listed(tmp_path / "large")["1.1"]
    assert (row["size_bytes"], row["value_sha256"]) == (str(size), digest.hexdigest())
    with (tmp_path / "large" / row["name"]).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest.hexdigest()
