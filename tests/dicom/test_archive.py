"""Members of zip archives: each read once, by the reader of files, whatever the archive claims."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest

import warehouse
from tests.content import content
from tests.dicom_files import element, image, part10, write
from warehouse.dicom import archive, heads
from warehouse.dicom.archive import directory, open_member
from warehouse.dicom.open import open_source
from warehouse.dicom.scan import SourceFile, Unreadable, discover
from warehouse.elements.extract import extract
from warehouse.errors import Rejected
from warehouse.ingest import ingest
from warehouse.planned import listed_again
from warehouse.settings import IngestSettings, Mode

SETTINGS = IngestSettings(mode=Mode.FULL, workers=1)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the archives whose directory was read, in the order of reading."""
    seen: list[int] = []
    real = archive._read_directory

    def read(file: io.FileIO, status: os.stat_result) -> archive.Directory:
        seen.append(status.st_size)
        return real(file, status)

    monkeypatch.setattr(archive, "_kept", {})
    monkeypatch.setattr(archive, "_read_directory", read)
    return seen


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def outcomes(path: Path) -> list:
    sources = [item for item in discover([path]) if isinstance(item, SourceFile)]
    return [o for portion in extract(sources, 0, 10_000) for o in portion.outcomes]


def many(folder: Path, count: int) -> dict[str, bytes]:
    """Headers longer than a first window, long values, fragments, bytes behind pixel data."""
    for number in range(count):
        made = image(f"1.{number}", SliceThickness=1)
        if number % 3 == 1:
            made.add_new(0x00420011, "OB", bytes(range(256)) * 1200)
            made.add_new(0x00420012, "LO", "behind")
        if number % 3 == 2:
            made.PixelData = pydicom.encaps.encapsulate([b"\1\2" * 40_000] * 3)
            made["PixelData"].is_undefined_length = True
        write(folder / f"{number:03}.dcm", made)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], Any]:
    """Files in a folder, and the rows of them. Not to write to."""
    folder = tmp_path_factory.mktemp("plain")
    files = many(folder / "in", 9)
    ingest(folder / "files", [folder / "in"], SETTINGS)
    return folder / "in", files, content(folder / "files")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_rows_of_an_archive_are_those_of_its_files(
    tmp_path: Path, method: int, plain: tuple[Path, dict[str, bytes], Any]
) -> None:
    folder, files, rows_of_files = plain
    zipped(tmp_path / "a.zip", files, method)
    ingest(tmp_path / "members", [tmp_path / "a.zip"], SETTINGS)
    made = rows_of_files, content(tmp_path / "members")
    for table in ("instances", "blobs", "elements"):
        of_files, of_members = (str(sorted(map(repr, rows[table]))) for rows in made)
        inside = of_members.replace(f"{tmp_path}/a.zip!/", f"{folder}/")
        assert inside == of_files, table


def test_members_go_the_fast_way_and_the_directory_is_read_once(
    tmp_path: Path, parsed: list[int]
) -> None:
    path = zipped(tmp_path / "a.zip", many(tmp_path / "in", 60))
    found = outcomes(path)
    assert {outcome.reader for outcome in found} == {"fast"}
    assert parsed == [path.stat().st_size]


def test_members_that_do_not_fit_together_come_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = many(tmp_path / "in", 12)
    path = zipped(tmp_path / "a.zip", files)
    whole = [(o.reader, o.pixels) for o in outcomes(path)]
    monkeypatch.setattr(heads, "MEMBER_BYTES", 310_000)
    assert [(o.reader, o.pixels) for o in outcomes(path)] == whole
    monkeypatch.setattr(heads, "MEMBER_BYTES", 1)
    some = outcomes(path)
    assert {o.reader for o in some} == {"pydicom"}, "what is longer than all memory"
    assert [o.pixels for o in some] == [pixels for _, pixels in whole]


def test_an_archive_that_is_replaced_is_read_anew(tmp_path: Path, parsed: list[int]) -> None:
    path = zipped(tmp_path / "a.zip", {"1": b"one"})
    for data in (b"one", b"another"):
        zipped(path, {"1": data})
        with open_member(str(path), "1") as file:
            assert file.read() == data
    assert len(parsed) == 2


def test_places_of_few_archives_are_remembered(
    tmp_path: Path, parsed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "KEPT_MEMBERS", 5)
    for name in "abc":
        directory(str(zipped(tmp_path / name, {"1": b"", "2": b"", "3": b""})))
    assert list(archive._kept) == [f"{tmp_path}/c"]
    large = zipped(tmp_path / "d", {str(n): b"" for n in range(9)})
    directory(str(large))
    directory(str(large))
    assert list(archive._kept) == [str(large)]
    assert len(parsed) == 4


def test_listing_again_and_reading_by_path_ask_an_archive_once(
    tmp_path: Path, parsed: list[int]
) -> None:
    """As a batch that is run again, a rebuild, an export and pixels do."""
    path = zipped(tmp_path / "a.zip", many(tmp_path / "in", 30))
    items = listed_again([f"{path}!/{n:03}.dcm" for n in range(30)] + [f"{path}!/x"], SETTINGS)
    assert [type(item) for item in items] == [SourceFile] * 30 + [Unreadable]
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(path, workers=1)
    run = wh.cohort("ct_thin_slice", min_instances=1)
    assert run.counts["instances"] == 30
    wh.export(run, tmp_path / "out", "copy")
    assert len(parsed) == 1


# -- archives that lie ----------------------------------------------------------------------------


def overlapping(path: Path, count: int) -> Path:
    """Many names for one compressed block, as in the bombs of Fifield (USENIX WOOT 2019)."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("0", bytes(1000))
    whole = made.getvalue()
    begin = whole.index(b"PK\1\2")
    entry = whole[begin : whole.index(b"PK\5\6")]
    entries = b"".join(entry[:-1] + bytes([97 + number]) for number in range(count))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entries), begin, 0)
    path.write_bytes(whole[:begin] + entries + end)
    return path


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    found = list(discover([overlapping(tmp_path / "a.zip", 5)]))
    assert len(found) == 5
    for item in found:
        assert isinstance(item, Unreadable)
        assert "shares its bytes with another one: refused" in item.reason


def test_a_directory_beyond_all_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 1000)
    zipped(tmp_path / "a.zip", {f"{n}": b"" for n in range(100)})
    (found,) = discover([tmp_path])
    assert isinstance(found, Unreadable)
    assert "bytes, more than 1000: refused" in found.reason


def test_a_damaged_member_is_rejected_whose_header_looks_well(tmp_path: Path) -> None:
    """One wrong bit far behind the header: the CRC-32 is that of the whole member."""
    body = part10(element(0x00100020, "LO", b"P1"), element(0x7FE00010, "OW", bytes(50_000)))
    path = zipped(tmp_path / "a.zip", {"1": body, "2": body}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[30_000] ^= 1
    path.write_bytes(data)
    first, second = outcomes(path)
    assert first.reason == "broken zip archive: the member cannot be unpacked"
    assert second.reason is None


def test_a_directory_that_means_another_member_is_rejected(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1": b"x" * 50, "2": b"y" * 50}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1" + b"x" * 50, b"3" + b"x" * 50))
    reasons = {outcome.reason for outcome in outcomes(path)}
    assert "broken zip archive: the member cannot be unpacked" in reasons


def test_members_encrypted_or_of_unknown_compression_have_a_reason(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1": b"x" * 50, "2": b"y" * 50})
    data = bytearray(path.read_bytes())
    first, second = (data.index(b"PK\1\2", at) for at in (0, data.index(b"PK\1\2") + 1))
    data[first + 8] |= 1  # general purpose bit 0, APPNOTE 4.4.4
    data[second + 10] = 97  # WavPack, APPNOTE 4.4.5
    path.write_bytes(data)
    assert [outcome.reason for outcome in outcomes(path)] == [
        "zip member is encrypted",
        "zip member is compressed by method 97, which cannot be unpacked here",
    ]


def test_an_archive_cut_while_it_is_read_rejects_its_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1": random.Random(1).randbytes(9000)})
    (found,) = discover([path])
    os.truncate(path, 4000)
    assert isinstance(found, SourceFile)
    with pytest.raises(Rejected, match="broken zip archive"), open_source(found):
        pass
