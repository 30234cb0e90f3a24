"""Spaces that PS3.5 6.2 calls insignificant change no identity, filter, key, view or rule.

https://github.com/dcm4che/dcm4che/pull/1187, https://github.com/exiftool/exiftool/issues/12
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, element, image, item, part10, sequence, write
from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import extract
from warehouse.sqlfiles import by_name
from warehouse.store.attributes import gather
from warehouse.store.duck import connect

if TYPE_CHECKING:
    from pathlib import Path

PLACE = {
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1], "SliceThickness": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Every entity once with and once without stray spaces; nothing more is there."""
    folder = tmp_path_factory.mktemp("spaces")
    for n, s in enumerate(("", " ", "  ")):
        made = image(
            f"1.{n}", SpecificCharacterSet=f"{s}ISO_IR 100", Modality=f"{s}CT", PatientID=f"{s}A",
            PatientName=f"{s}Müller^{s}Eva{s}={s}M", PatientSex=f"{s}F",
            StudyInstanceUID=f"{s}1.2", SeriesInstanceUID=f"{s}1.2.3", SOPInstanceUID=f"{s}1.{n}",
            ImageType=[f"{s}ORIGINAL", f"{s}PRIMARY", f"{s}LOCALIZER{s}"], StationName=f"{s}CT1",
            PhotometricInterpretation=f"{s}MONOCHROME1", ConvolutionKernel=f"{s}B30f",
            ImageComments=f"{s}indented", FilterType=f"{s}FLAT", ImagePositionPatient=[0, 0, n],
            ReferencedStudySequence=[dataset(ReferencedSOPClassUID=f"{s}1.9", CodeValue=f"{s}7")],
            InstanceNumber=n, **PLACE,
        )  # fmt: skip
        block = made.private_block(0x0009, f"{s}ACME 1", create=True)
        block.add_new(1, "LO", f"{s}private")
        write(folder / "in" / str(n), made)
    opened = warehouse.open(folder / "w", create=True)
    assert opened.ingest(folder / "in", workers=1, mode="full").created == 3
    return opened


def test_one_patient_one_study_one_series(wh: warehouse.Warehouse) -> None:
    for entity, key in (("patients", "A"), ("studies", "1.2"), ("series", "1.2.3")):
        assert answer_of(wh, f"select {entity_key(entity)} from {entity}") == [(key,)]
    assert answer_of(wh, "select count(*), bool_or(has_missing_uid) from instances") == [(3, False)]
    assert answer_of(wh, "select attribute from entity_conflicts") == []


def test_uids_with_stray_spaces_are_the_same_uids(tmp_path: Path) -> None:
    """pydicom writes no such UIDs: these are bytes."""
    for n, (before, after) in enumerate(((b"", b"\0"), (b" ", b""), (b" ", b"  "))):
        number = str(n % 2).encode()
        (tmp_path / str(n)).write_bytes(
            part10(
                element(0x00080018, "UI", before + b"1.1." + number + after),
                element(0x00080060, "CS", b"SR"),
                element(0x0020000D, "UI", before + b"1.2.3" + after),
                element(0x0020000E, "UI", before + b"1.2.4" + after),
                uid="",
            )
        )
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.ingest(tmp_path, pattern="?", workers=1).duplicate == 1
    assert answer_of(wh, "select instance_key, SOPInstanceUID from files order by file_path") == [
        ("1.1.0", "1.1.0"), ("1.1.1", "1.1.1"), ("1.1.0", "1.1.0"),
    ]  # fmt: skip
    assert answer_of(wh, "select study_key, series_key, instance_count from series") == [
        ("1.2.3", "1.2.4", 2)
    ]


def entity_key(entity: str) -> str:
    return {"patients": "patient_key", "studies": "study_key", "series": "series_key"}[entity]


def test_the_text_as_stored_stays_in_elements(wh: warehouse.Warehouse) -> None:
    stored = "select distinct text from {} where keyword = '{}' order by all"
    for table, texts in (("elements", ["  CT", " CT", "CT"]), ("normal_elements", ["CT"])):
        assert answer_of(wh, stored.format(table, "Modality")) == [(t,) for t in texts]
    # Spaces before a text mean something in ST, LT and UT.
    assert answer_of(wh, stored.format("normal_elements", "ImageComments")) == [
        ("  indented",), (" indented",), ("indented",),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("select count(*), any_value(is_localizer), any_value(FilterType) from ct_series",
         (1, True, "FLAT")),
        ("select count(distinct PatientName), min(PatientName), min(family_name) from instances",
         (1, "Müller^Eva=M", "Müller")),
        ("select count(*) from instances where PatientSex = 'F' and StationName = 'CT1'", (3,)),
        ("select count(*) from instances where ConvolutionKernel = ['B30f']", (3,)),
        ("select count(*) from attribute('FilterType') where text = 'FLAT'", (3,)),
        ("select count(*) from attributes(['ImageType']) where ImageType[3] = 'LOCALIZER'", (3,)),
        ("select count(*) from attributes(['FilterType']) where FilterType = 'FLAT'", (3,)),
        ("select count(*) from sequence_items('ReferencedStudySequence') where text = '7'", (3,)),
        ("select count(*) from private('ACME 1', 1) where text = 'private'", (3,)),
        ("select count(*) from element_values where keyword = 'Modality'", (1,)),
        ("select distinct_count from tags where name = 'ImageType'", (3,)),
        ("select count(distinct creator) from elements where creator is not null", (1,)),
    ],
)  # fmt: skip
def test_what_compares_texts_finds_them(
    wh: warehouse.Warehouse, question: str, answer: tuple[Any, ...]
) -> None:
    assert answer_of(wh, question) == [answer]


@pytest.mark.parametrize(
    "asked",
    [
        {"Modality": "CT"},
        {"Modality": " CT "},
        {"PatientID__in": ["A", "B"]},
        {"FilterType": "FLAT"},
        {"(0018,1160)__existing": "FLAT"},
        {"ImageType__has": ["LOCALIZER", "PRIMARY"]},
    ],
)
def test_filters_find_them(wh: warehouse.Warehouse, asked: dict[str, Any]) -> None:
    assert len(wh.select("series", asked)) == 1


def test_pixels_know_what_they_are(wh: warehouse.Warehouse) -> None:
    assert wh.stack("1.2.3", rescale=True)[0].tolist() == [[1, 2], [3, 4]]
    assert wh.volume("1.2.3", window=(2.5, 3), invert=True)[0].tolist() != [[1, 2], [3, 4]]


def test_a_sequence_type_is_found_behind_spaces(tmp_path: Path) -> None:
    for n, s in enumerate(("", " ")):
        write(
            tmp_path / "in" / str(n), uid=f"1.{n}", Modality=f"{s}MR", SeriesInstanceUID=f"2.{n}",
            Manufacturer=f"{s}SIEMENS", ScanningSequence=[f"{s}GR", f"{s}IR"],
            SequenceVariant=[f"{s}SK", f"{s}SP", f"{s}MP"], MRAcquisitionType=f"{s}3D",
            ScanOptions=f"{s}IR", InversionTime=900, EchoTime=3, RepetitionTime=2300,
        )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    types = answer_of(wh, "select sequence_type from sequence_types")
    assert types[0] == types[1]
    assert types[0][0] is not None


@pytest.mark.parametrize("s", [" ", ""], ids=["some begin with a space", "none does"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_both_ways_to_gather_attributes_agree(tmp_path: Path, syntax: str, s: str) -> None:
    """And with them the fast reader and the SQL that defines what it gathers."""
    names = [f"{s}A^B", "A ^ B=  =C ", '" ^": "', f'{s}\\" ^ x', "^ ^", "A^ "]
    paths = [
        write(
            tmp_path / str(n), syntax=syntax, uid=f"1.{n}", PatientName=name, Modality=f"{s}CT",
            ImageComments=f"{s}{s}kept", OperatorsName=[name, f"{s}C^ D"],
            ImageType=[f"{s}A", "B ", ""],
        )
        for n, name in enumerate(names)
    ]  # fmt: skip
    found = [SourceFile(str(path), path.stat().st_size, 0) for path in paths]
    (portion,) = extract(found, 0, 1 << 20)
    rows = portion.rows
    with connect() as connection:
        time = "cast(make_timestamp(time_us) as time) as time"
        connection.register("stored", rows)
        connection.execute(f"create view elements as select *, {time} from stored")
        connection.execute(by_name("normal_text").sql)
        connection.execute(by_name("whole_identifier").sql)
        connection.execute(by_name("instance_attributes").sql)
        told = connection.sql("from instance_attributes order by instance_id").to_arrow_table()
    quick = gather(rows)
    assert quick["SOPInstanceUID"].to_pylist() == [f"1.{n}" for n in range(len(names))]
    assert quick["ImageComments"].to_pylist() == [f"{s}{s}kept"] * len(names)
    for name in ("PatientName", "OperatorsName", "Modality", "ImageType", "ImageComments"):
        assert quick[name].to_pylist() == told[name].to_pylist(), name


def test_a_character_set_behind_a_space_is_known(tmp_path: Path) -> None:
    """Specific Character Set is CS; in items too, which take over that of the data set."""
    content = part10(
        element(0x00080005, "CS", b" ISO_IR 192 "),
        sequence(0x00081115, item(element(0x00081030, "LO", "éé".encode()))),
        element(0x00100010, "PN", "Ω^x ".encode()),
    )  # fmt: skip
    (tmp_path / "a").write_bytes(content)
    header = warehouse.header(tmp_path / "a")
    assert header["PatientName"] == "Ω^x"
    assert header["00081115[0].StudyDescription"] == "éé"
