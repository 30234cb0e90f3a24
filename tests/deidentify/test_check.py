"""The search of bytes finds a value wherever and however it is hidden, and says when it cannot look."""

from __future__ import annotations

import base64
import gzip
import json
import zipfile
import zlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from warehouse.deidentify.check import check
from warehouse.errors import SourceNotFound

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Quxhausen"
JAPANESE = "山田太郎吉右衛門"
NOISE = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def against(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("against")
    write(
        folder / "in" / "a.dcm", PatientName=f"{NAME}^Li", PatientID="40718823", StudyInstanceUID="1.2.840.99999.7.1",
        StudyDate="20210823", SpecificCharacterSet="ISO_IR 192", OtherPatientNames=JAPANESE, Manufacturer="ACME Scanners",
        StudyDescription="ACME Scan", PatientComments="1234", SeriesDescription="axial T1",
    )  # fmt: skip
    warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)
    return folder / "w"


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (
        b"\2\0\x10\0UI\x16\0"
        b"1.2.840.10008.1.2.1.99" + packer.compress(b"\x08\0\5\0" + content) + packer.flush()
    )


HIDDEN = {
    "as it is": f"x{NAME}x".encode(),
    "other case": NAME.upper().encode(),
    "utf-16": NAME.encode("utf-16-le"),
    "utf-16 big": b"\0" + NAME.encode("utf-16-be"),
    "base64": base64.b64encode(b"some name: " + NAME.encode() + b" and more"),
    "base64, one further": base64.b64encode(b"some name:  " + NAME.encode() + b" and more"),
    "base64, two further": base64.b64encode(b"some name:   " + NAME.encode() + b" and more"),
    "zlib": zlib.compress(b"the name is " + NAME.encode()),
    "gzip": gzip.compress(b"the name is " + NAME.encode()),
    "deflated data set": deflated(b"LO" + NAME.encode()),
    "id": b"ID 40718823.",
    "date": b"on 20210823 it was",
    "uid": b"\x001.2.840.99999.7.1\0",
    "shift_jis": JAPANESE.encode("shift_jis"),
    "iso2022_jp": JAPANESE.encode("iso2022_jp"),
    "utf-8": JAPANESE.encode(),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_value_is_found(against: Path, tmp_path: Path, how: str) -> None:
    noise = b"" if how == "deflated data set" else NOISE
    (tmp_path / "a.dcm").write_bytes(noise + HIDDEN[how] + noise)
    (tmp_path / "b.dcm").write_bytes(NOISE)
    found = check(tmp_path, against)
    assert {one.file for one in found.survivors} == {"a.dcm"}
    assert NAME not in repr(found)


def test_a_value_is_found_across_windows_in_names_zips_and_tables(
    against: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.deidentify.check._WINDOW", 1000)
    (tmp_path / "split").write_bytes(bytes(995) + NAME.encode() + bytes(3000))
    (tmp_path / f"of_{NAME.lower()}").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", bytes(5000) + NAME.encode())
    pq.write_table(pa.table({"a": [NAME] * 5}), tmp_path / "a.parquet", compression="zstd")
    found = check(tmp_path, against)
    assert {one.file for one in found.survivors} == {
        "split",
        f"of_{NAME.lower()}",
        "a.zip!/inside",
        "a.parquet",
    }


def test_bytes_that_end_as_a_zip_does_and_damaged_zips_are_searched(
    against: Path, tmp_path: Path
) -> None:
    """Four bytes make a zip for ``zipfile``: compressed pixels have them by chance."""
    (tmp_path / "chance").write_bytes(NAME.encode() + b"PK\5\6" + NOISE)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for member in ("encrypted", "whole"):
            archive.writestr(member, f"a name: {NAME}")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag of encryption
    (tmp_path / "a.zip").write_bytes(content)
    found = check(tmp_path, against)
    assert {one.file for one in found.survivors} == {"chance", "a.zip!/whole"}
    assert found.passed_over["zip files and members that cannot be unpacked"] == 2


@pytest.mark.parametrize("charset", ["ascii", "utf-16-le", "utf-16-be"])
def test_a_day_is_found_before_its_time(against: Path, tmp_path: Path, charset: str) -> None:
    for name, text in (
        ("seconds", "on 20210823143000"), ("minutes", "202108231430 "), ("fraction", "x20210823143000.5"),
        ("no time", "20210823993000"), ("longer", "2021082314300000"), ("inside", "120210823143000"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(text.encode(charset))
    found = check(tmp_path, against)
    assert {one.file for one in found.survivors} == {"seconds", "minutes", "fraction"}


def test_what_is_no_leak_is_none(against: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(
        NOISE
        + b"140718823 202108231 91.2.840.99999.7.1 1.2.840.99999.7.10 axial T1 ACME Scanners 1234 Li"
    )
    found = check(tmp_path, against)
    assert found.survivors == ()
    assert found.passed_over["words of imaging"] >= 1
    assert (
        found.passed_over["also in an element that identifies nobody"] == 1
    )  # a part of the manufacturer's name
    assert found.passed_over["shorter than 5 characters"] >= 2


def test_what_the_export_says_that_it_keeps_is_not_searched_for(
    against: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b" 20210823 1.2.840.99999.7.1 ")
    assert len(check(tmp_path, against).survivors) == 2
    about = {"deidentified": {"options": ["dates", "uids"]}}
    (tmp_path / "cohort.json").write_text(json.dumps(about))
    assert check(tmp_path, against).survivors == ()


def test_what_is_not_there_is_an_error(against: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        check(tmp_path / "nothing", against)
    assert (
        run("deidentify", "check", str(tmp_path), "--against", str(tmp_path / "none")).returncode
        != 0
    )
