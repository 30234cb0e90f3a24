"""Lines of docs/acceptance.md that no other test shows, and that every line is shown by some."""

from __future__ import annotations

import datetime as dt
import json
import re
import struct
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.dicom_files import CT, element, image, part10, write
from warehouse.elements.values import ALL_VRS

ROOT = Path(__file__).parents[1]
DJANGO_DICOM_IMAGES_PER_SECOND = 2.09
DJANGO_DICOM_BYTES_PER_IMAGE = 36_000


def test_every_line_is_shown_by_a_test() -> None:
    promised = set(
        re.findall(r"^\| (\w\d+) \|", (ROOT / "docs/acceptance.md").read_text(), re.MULTILINE)
    )
    shown = {
        line
        for path in (ROOT / "tests").rglob("test_*.py")
        for line in re.findall(
            r'^@pytest\.mark\.acceptance\("(\w+)"\)$', path.read_text(), re.MULTILINE
        )
    }
    assert promised == shown


def test_every_line_is_shown_by_a_test_that_is_not_slow() -> None:
    """``make test`` and CI leave out what is slow: a line that only such tests show is not held."""
    marks, slow, quick = set[str](), False, set[str]()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r'@pytest\.mark\.acceptance\("(\w+)"\)$', line):
                marks.add(found[1])
            elif re.match(r"@pytest\.mark\.(slow|soak)\b", line):
                slow = True
            elif re.match(r"(async )?def ", line):
                quick |= set() if slow else marks
                marks, slow = set(), False
    promised = set(
        re.findall(r"^\| (\w\d+) \|", (ROOT / "docs/acceptance.md").read_text(), re.MULTILINE)
    )
    assert promised - quick == set()


# -- values that are as they should be ------------------------------------------------------------

VALUES = {
    "AE": b"STORE ", "AS": b"018M", "AT": b"\x10\0\x20\0", "CS": b"CODE", "DA": b"20200229",
    "DS": b"123.25993 ", "DT": b"20200229103000.5+0200 ", "FD": struct.pack("<d", 0.1),
    "FL": struct.pack("<f", 0.5), "IS": b"-7", "LO": b"Words ", "LT": b"Text",
    "OB": b"\1\2", "OD": struct.pack("<d", 1), "OF": struct.pack("<f", 1),
    "OL": struct.pack("<L", 1), "OV": struct.pack("<Q", 1), "OW": b"\1\0", "PN": b"Doe^Jane",
    "SH": b"Word", "SL": struct.pack("<l", -1), "SQ": b"", "SS": struct.pack("<h", -1),
    "ST": b"Text", "SV": struct.pack("<q", -(2**63)), "TM": b"1030", "UC": b"Word",
    "UI": b"1.2\0", "UL": struct.pack("<L", 3_000_000_000), "UN": b"\1\2", "UR": b"http://h",
    "US": b"\1\0", "UT": b"Text", "UV": struct.pack("<Q", 2**63 + 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def every_vr(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A warehouse of one file with an element of every VR, all private but the UIDs."""
    folder = tmp_path_factory.mktemp("vrs")
    body = element(0x00080016, "UI", CT.encode() + b"\0") + element(0x00080018, "UI", b"1.1\0")
    body += element(0x00110010, "LO", b"MAKER ")
    for number, (vr, value) in enumerate(sorted(VALUES.items())):
        body += element(0x00111000 + number, vr, value)
    path = folder / "vrs.dcm"
    path.write_bytes(part10(body))
    made = warehouse.open(folder / "w", create=True)
    made.ingest(path, mode="full", workers=1)
    return made


@pytest.mark.acceptance("D18")
def test_all_34_vrs_are_there_and_typed(every_vr: warehouse.Warehouse) -> None:
    ask = every_vr.sql
    assert set(VALUES) == ALL_VRS
    assert ask("select count(distinct vr) from elements").fetchall() == [(34,)]
    assert ask("select status, count(*) from files group by all").fetchall() == [("ingested", 1)]
    untyped = ask("""
        select vr from elements
        where creator = 'MAKER' and vm > 0 and warning is null and coalesce(
            text, integer::varchar, real::varchar, date::varchar, time::varchar,
            timestamp::varchar, sha256
        ) is null
    """).fetchall()
    assert untyped == []
    assert ask("select count(*) from elements where warning is not null").fetchall() == [(0,)]


@pytest.mark.acceptance("D26")
def test_integers_of_32_and_64_bits_are_exact(every_vr: warehouse.Warehouse) -> None:
    rows = every_vr.sql(
        "select vr, integer, text, warning from elements "
        "where creator = 'MAKER' and vr in ('UL', 'UV', 'SV') order by vr"
    ).fetchall()
    assert rows == [
        ("SV", -(2**63), None, None),
        ("UL", 3_000_000_000, None, None),
        ("UV", None, str(2**63 + 1), None),
    ]


@pytest.mark.acceptance("D27")
def test_binary_values_have_length_and_digest_and_no_text(every_vr: warehouse.Warehouse) -> None:
    rows = every_vr.sql(
        "select vr, text, length, length(sha256) from elements "
        "where creator = 'MAKER' and vr in ('OB', 'OW', 'OD', 'OF', 'OL', 'OV', 'UN') order by vr"
    ).fetchall()
    sizes = {"OB": 2, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "UN": 2}
    assert rows == [(vr, None, size, 64) for vr, size in sizes.items()]


@pytest.mark.acceptance("D17")
def test_the_long_table_has_a_column_for_everything(every_vr: warehouse.Warehouse) -> None:
    columns = dict(
        every_vr.sql("select column_name, column_type from (describe elements)").fetchall()
    )
    assert columns == {
        "batch": "VARCHAR", "instance_id": "BIGINT", "path": "VARCHAR", "tag": "VARCHAR",
        "keyword": "VARCHAR", "vr": "VARCHAR", "creator": "VARCHAR", "vm": "INTEGER",
        "index": "INTEGER", "text": "VARCHAR", "integer": "BIGINT", "real": "DOUBLE",
        "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP", "bytes": "BLOB",
        "length": "BIGINT", "sha256": "VARCHAR", "warning": "VARCHAR",
    }  # fmt: skip


# -- one file with something of everything --------------------------------------------------------


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("one")
    made = image(
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], AccessionNumber="",
        EchoTime="123.25993", Modality="MR", SeriesInstanceUID="1.2.1.9", StudyTime="1030", SeriesTime="10",
        AcquisitionDateTime="20200229103000.5+0200", PatientAge="018M",
        PatientName="Doe^Jane^Q^Dr^PhD=\u5c71\u7530^\u82b1\u5b50=\u3084\u307e\u3060^\u306f\u306a\u3053",
        SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    for number, age in enumerate(["027Y", "010W", "100D"], 2):
        write(folder / "in" / f"{number}.dcm", uid=f"1.{number}", PatientAge=age)
    write(folder / "in" / "1.dcm", made)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode="full", workers=1)
    return wh


@pytest.mark.acceptance("D19")
def test_several_values_are_rows_in_order(one: warehouse.Warehouse) -> None:
    rows = one.sql(
        "select vm, \"index\", text from elements where keyword = 'ImageType' order by 2"
    ).fetchall()
    words = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    assert rows == [(5, i, word) for i, word in enumerate(words)]


@pytest.mark.acceptance("D20")
def test_an_empty_element_is_a_row_without_value(one: warehouse.Warehouse) -> None:
    rows = one.sql(
        "select vm, text, warning from elements where keyword = 'AccessionNumber'"
    ).fetchall()
    assert rows == [(0, None, None)]


@pytest.mark.acceptance("D21")
def test_a_number_is_there_as_written_and_as_a_number(one: warehouse.Warehouse) -> None:
    rows = one.sql("select text, real from elements where keyword = 'EchoTime'").fetchall()
    assert rows == [("123.25993", 123.25993)]


@pytest.mark.acceptance("D22")
def test_ages_are_years(one: warehouse.Warehouse) -> None:
    rows = one.sql(
        "select text, round(real, 4) from elements where keyword = 'PatientAge' order by text"
    ).fetchall()
    assert rows == [("010W", 0.1918), ("018M", 1.5), ("027Y", 27.0), ("100D", 0.2738)]


@pytest.mark.acceptance("D23")
def test_a_modality_is_found_by_code_and_by_name(one: warehouse.Warehouse) -> None:
    by_name = one.sql(
        "select SeriesInstanceUID from series join modalities using (Modality) "
        "where modality_name = 'Magnetic Resonance'"
    ).fetchall()
    assert by_name == [("1.2.1.9",)]
    by_code = one.sql("select SeriesInstanceUID from series where Modality = 'MR'").fetchall()
    assert by_code == by_name


@pytest.mark.acceptance("D24")
def test_a_name_is_found_by_its_components_and_groups(one: warehouse.Warehouse) -> None:
    row = one.sql(
        "select family_name, given_name, middle_name, name_prefix, name_suffix, ideographic_name, "
        "phonetic_name from instances where SOPInstanceUID = '1.1'"
    ).fetchall()
    assert row == [
        ("Doe", "Jane", "Q", "Dr", "PhD", "\u5c71\u7530^\u82b1\u5b50",
         "\u3084\u307e\u3060^\u306f\u306a\u3053"),
    ]  # fmt: skip


@pytest.mark.acceptance("D25")
def test_times_with_missing_parts_and_with_offsets(one: warehouse.Warehouse) -> None:
    rows = one.sql(
        "select keyword, time, timestamp::varchar from elements where keyword in "
        "('StudyTime', 'SeriesTime', 'AcquisitionDateTime') order by keyword"
    ).fetchall()
    assert rows == [
        ("AcquisitionDateTime", None, "2020-02-29 08:30:00.5"),
        ("SeriesTime", dt.time(10), None),
        ("StudyTime", dt.time(10, 30), None),
    ]


# -- values that are not as they should be --------------------------------------------------------

ODD = {
    "StudyDate": (0x00080020, "DA", b"2020-13-45"), "PatientAge": (0x00101010, "AS", b"27"),
    "AcquisitionDateTime": (0x0008002A, "DT", b"20200101-20201231 "),
    "EchoTime": (0x00180081, "DS", b"1,5 "), "InstanceNumber": (0x00200013, "IS", b"one "),
    "StudyTime": (0x00080030, "TM", b"25:99 "),
}  # fmt: skip


@pytest.mark.acceptance("D9")
@pytest.mark.acceptance("D12")
@pytest.mark.acceptance("D25")
def test_what_cannot_be_read_keeps_its_text_and_says_why(tmp_path: Path) -> None:
    for name, (tag, vr, raw) in ODD.items():
        parts = {0x00080016: element(0x00080016, "UI", CT.encode() + b"\0")}
        parts[0x00080018] = element(0x00080018, "UI", f"1.{tag}".encode() + b"\0" * (tag % 2))
        parts[tag] = element(tag, vr, raw)
        path = tmp_path / "in" / f"{name}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(part10(b"".join(parts[tag] for tag in sorted(parts))))
    wh = warehouse.open(tmp_path / "w", create=True)
    report = wh.ingest(tmp_path / "in", mode="full", workers=1)
    assert (report.created, report.rejected) == (len(ODD), 0)
    rows = answer_of(
        wh,
        "select keyword, text, real, integer, date, time, timestamp, warning is not null "
        "from elements where warning is not null order by keyword",
    )
    assert rows == [
        (name, raw.decode().strip(), None, None, None, None, None, True)
        for name, (_, _, raw) in sorted(ODD.items())
    ]


@pytest.mark.acceptance("D9")
def test_missing_identity_and_odd_matrices_leave_the_image(tmp_path: Path) -> None:
    made = image(PatientID=None)
    made.add_new(0x00189602, "FD", 1.0)
    made.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    made.add_new(0x00191027, "FD", [1.0] * 9)  # a matrix of nine numbers instead of six
    made.add_new(0x00080120, "UR", "http://h/\\x")
    made.add_new(0x00204000, "LT", "nul\0inside")
    write(tmp_path / "in" / "a.dcm", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.ingest(tmp_path / "in", mode="full", workers=1).created == 1
    assert answer_of(wh, "select count(*) from images") == [(1,)]


@pytest.mark.acceptance("D28")
def test_an_item_of_a_sequence_is_addressed_by_its_path(tmp_path: Path) -> None:
    reference, inner, outer = Dataset(), Dataset(), Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3"
    inner.ReferencedStudySequence = [reference]
    outer.ReferencedStudySequence = [Dataset(), inner]
    write(tmp_path / "in" / "a.dcm", image(ReferencedStudySequence=[outer]))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    step = "ReferencedStudySequence"
    rows = answer_of(
        wh, "select path, text from elements where keyword = 'ReferencedSOPInstanceUID'"
    )
    assert rows == [(f"{step}[0].{step}[1].{step}[0]", "1.2.3")]


@pytest.mark.acceptance("D30")
def test_unknown_private_elements_are_kept_and_known_as_private(tmp_path: Path) -> None:
    made = image()
    made.add_new(0x00990010, "LO", "NOBODY KNOWS")
    made.add_new(0x00991001, "UN", b"\1\2")
    made.add_new(0x00991002, "LO", "text")
    write(tmp_path / "in" / "a.dcm", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    rows = answer_of(
        wh, "select tag, creator, keyword from element_definitions where is_private order by tag"
    )
    assert len(rows) == sum(1 for e in made if e.tag.is_private)
    assert rows[1:] == [("00991001", "NOBODY KNOWS", None), ("00991002", "NOBODY KNOWS", None)]


# -- the command and the documents ----------------------------------------------------------------


@pytest.mark.acceptance("D14")
def test_today_takes_the_folder_of_the_day(tmp_path: Path) -> None:
    today = f"{dt.datetime.now().astimezone():%Y/%m/%d}"
    write(tmp_path / "in" / today / "a.dcm", uid="1.1")
    write(tmp_path / "in" / "1999" / "01" / "01" / "b.dcm", uid="1.2")
    arguments = ("--today", "-w", tmp_path / "w", "--json")
    report = json.loads(run("ingest", tmp_path / "in", *arguments).stdout)
    assert (report["files"], report["created"]) == (1, 1)
    (tmp_path / "other").mkdir()
    assert json.loads(run("ingest", tmp_path / "other", *arguments).stdout)["files"] == 0
    missing = run("ingest", tmp_path / "nothing", *arguments)
    assert missing.returncode == 2
    assert "nothing" in missing.stderr


@pytest.mark.acceptance("D15")
def test_the_measured_speed_is_far_above_that_of_django_dicom() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    ours = [
        int(cell.replace(",", ""))
        for cell in re.findall(
            r"^\| \*\*dicom-warehouse\*\*[^|]*\| *([\d,]+) \|", page, re.MULTILINE
        )
    ]
    assert ours
    assert min(ours) >= 100 * DJANGO_DICOM_IMAGES_PER_SECOND


@pytest.mark.acceptance("D16")
def test_an_image_takes_a_fifth_of_what_it_took(sample: warehouse.Warehouse) -> None:
    tables = [sample.root / name for name in ("elements", "instances", "files")]
    stored = sum(p.stat().st_size for t in tables for p in t.rglob("*.parquet"))
    (images,) = answer_of(sample, "select count(*) from instances")[0]
    assert stored / images <= DJANGO_DICOM_BYTES_PER_IMAGE / 5
