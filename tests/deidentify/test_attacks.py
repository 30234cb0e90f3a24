"""Attempts to find a person in a de-identified file: other spellings, dates in text, odd places."""

from __future__ import annotations

import io
import itertools
import re
import struct
from typing import TYPE_CHECKING

import polars as pl
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

import warehouse
from tests.asking import cohort_of
from tests.deidentify.planted import item
from tests.dicom_files import element, image, write
from tests.dicom_files import item as raw_item
from warehouse.deidentify import mapping
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.frames import without_comments
from warehouse.deidentify.identity import Identity, tokens_of
from warehouse.deidentify.key import Key, is_of_standard
from warehouse.deidentify.options import Deidentify
from warehouse.deidentify.pixels import PixelRules, pixels, risk
from warehouse.deidentify.profile import profile
from warehouse.deidentify.spellings import DATE_LIKE, dates_in
from warehouse.deidentify.values import clean_text, shifted
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

KEY = Key(b"k" * 32)
MODEL = 0x00081090
"""ManufacturerModelName, which the profile keeps."""


def bytes_of(tmp_path: Path, syntax: str = "explicit", **attributes: object) -> bytes:
    return write(tmp_path / "a.dcm", image(**attributes), syntax).read_bytes()


def changed(content: bytes, **options: list[str]) -> Dataset:
    made = deidentify(
        content,
        profile(**options),
        KEY,
        "P1",
        lambda facts, data: pixels(facts, data, PixelRules()),
    )
    return pydicom.dcmread(io.BytesIO(b"".join(bytes(chunk) for chunk in made.chunks)))


def before_patient(content: bytes, added: bytes) -> bytes:
    at = content.index(struct.pack("<HH", 0x10, 0x10))
    return content[:at] + added + content[at:]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Müller^Jörg", "for MÜLLER"),
        ("Müller^Jörg", "for Mueller"),
        ("MÜLLER^JÖRG", "muller"),
        ("Müller^Jörg", "jörg"),
        ("Łukasz^Søren", "lukasz"),
        ("Zebulonia^Ann", "Zébulonia"),
        ("Smith-Jones^Ann", "Smith"),
        ("O'Brien^Ann", "OBrien"),
        ("Ng^Bo", "NG BO"),
        ("Ng^Bo", "bo_ng"),
        ("Ng^Bo", "Bo, Ng"),
    ],
)
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 101"])
def test_a_name_is_found_in_other_letters(tmp_path, name, text, charset) -> None:
    content = bytes_of(
        tmp_path, SpecificCharacterSet="ISO_IR 192", PatientName=name, SequenceName="fl3d"
    )
    coded = text.encode({"ISO_IR 192": "utf-8", "ISO_IR 101": "iso8859-2"}[charset])
    made = changed(before_patient(content, element(MODEL, "LO", coded + b" " * (len(coded) % 2))))
    assert "ManufacturerModelName" not in made
    assert made.SequenceName == "fl3d"


@pytest.mark.parametrize(
    ("charset", "name", "text"),
    [
        ("GB18030", "欧阳^春秋", "欧阳"),
        ("ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", "山田"),
        ("ISO_IR 144", "Иванова^Анна", "ИВАНОВА"),
        ("ISO_IR 126", "Παπαδόπουλος^Νίκος", "ΠΑΠΑΔΌΠΟΥΛΟΣ"),
        ("ISO_IR 127", "محمد^علي", "محمد"),
    ],
)
@pytest.mark.parametrize("coding", ["utf-8", "gb18030", "utf-16-le", "utf-16-be"])
def test_a_name_is_found_in_another_character_set(tmp_path, charset, name, text, coding) -> None:
    content = bytes_of(tmp_path, SpecificCharacterSet=charset, PatientName=name)
    coded = text.encode(coding)
    made = changed(before_patient(content, element(MODEL, "LO", coded + b" " * (len(coded) % 2))))
    assert "ManufacturerModelName" not in made


def test_short_names_in_binary_values_are_found_in_text_and_not_by_chance(tmp_path) -> None:
    chance = bytes([1, 2, 200]) + b"Doe" + bytes([255, 9])
    assert "ICCProfile" in changed(bytes_of(tmp_path, ICCProfile=chance))
    said = bytes(8) + b"profile of Mrs Doe" + bytes(6)
    assert "ICCProfile" not in changed(bytes_of(tmp_path, ICCProfile=said))


@pytest.mark.parametrize(
    "text",
    [
        "scan 20200229", "29.02.2020", "2020-02-29", "2/29/2020", "29 Feb 2020", "29-FEB-20",
        "February 29th, 2020", "29/2/20", "1953-12-25", "25121953",
    ],
)  # fmt: skip
def test_a_day_that_is_taken_out_is_found_in_text(tmp_path, text) -> None:
    days = {"StudyDate": "20200229", "PatientBirthDate": "19531225"}
    content = bytes_of(tmp_path, ManufacturerModelName=text, SequenceName="V1.2.2020", **days)
    for retain in ([], ["dates-shifted"]):
        made = changed(content, retain=retain)
        assert "ManufacturerModelName" not in made
        assert made.SequenceName == "V1.2.2020"  # another day
    # A day that is kept may stand elsewhere, too; the day of birth is never kept.
    kept = changed(content, retain=["dates"])
    assert ("ManufacturerModelName" in kept) == ("1953" not in text and text != "25121953")


def test_a_day_in_a_number_goes(tmp_path) -> None:
    made = changed(bytes_of(tmp_path, SeriesNumber=20200229, AcquisitionDateTime="20200229101500"))
    assert "SeriesNumber" not in made


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("head 12/3/2004", "head"),
        ("head 12.3.2004 axial", "head axial"),
        ("head 12/3 axial", "head axial"),
        ("head 24th Dec axial", "head axial"),
        ("Dec 12 head", "head"),
        ("diff b0 50 1000 3mm", "diff b0 3mm"),
        ("T1 2 3 axial 12", "T1 2 3 axial 12"),
    ],
)
def test_numbers_of_a_day_are_no_numbers_of_imaging(text, left) -> None:
    assert clean_text(text.encode(), frozenset()).decode() == left.replace("diff ", "")


@given(st.text(alphabet="0123456789 ./-JanFebDc", max_size=60))
@settings(max_examples=200)
def test_days_in_text_are_days(text: str) -> None:
    assert all(len(day) == 8 and day.isdigit() for day in dates_in(text))


def test_text_that_is_all_gaps_is_quick() -> None:
    assert DATE_LIKE.search("1" + " " * 200_000 + "x") is None


def test_columns_are_searched_in_small_letters_of_every_alphabet() -> None:
    found = tokens_of("4711882", ["MÜLLER^Jörg"], ["4711882", "CT", "12"])
    assert {"müller", "mueller", "muller", "jörg", "4711882"} <= found
    assert not {"ct", "12"} & found


def test_elements_of_messages_and_file_meta_are_in_no_data_set(tmp_path) -> None:
    stray = (
        element(0x00000600, "AE", b"MOVEDEST")
        + element(0x00020016, "AE", b"HOSPCT1 ")
        + element(0x00041130, "CS", b"DOEDIR")
    )
    content = bytes_of(tmp_path, PixelData=None)
    inside = raw_item(stray)
    made = changed(before_patient(content, element(0x00081140, "SQ", inside)))
    assert [list(one) for one in made.ReferencedImageSequence] == [[]]
    made = changed(content + element(0x00020016, "AE", b"HOSPCT1 "))
    assert not [one for one in made if one.tag.group == 2]


def test_pixels_in_an_item_go(tmp_path) -> None:
    icon = item(Rows=2, Columns=2, BitsAllocated=8)
    icon.add_new(0x7FE00010, "OB", b"\1\2\3\4")
    made = changed(bytes_of(tmp_path, ReferencedImageSequence=Sequence([icon])))
    assert "PixelData" not in made.ReferencedImageSequence[0]
    assert made.PixelData == b"\1\2\3\4"


def test_a_root_of_the_standard_makes_no_uid_of_the_standard(tmp_path) -> None:
    own = "1.2.840.10008.98890234.19531225"
    assert not is_of_standard(own)
    assert changed(bytes_of(tmp_path, uid=own)).SOPInstanceUID.startswith("2.25.")
    # PS3.6 Table A-2: Talairach Brain Atlas Frame of Reference.
    atlas = "1.2.840.10008.1.4.1.1"
    assert changed(bytes_of(tmp_path, FrameOfReferenceUID=atlas)).FrameOfReferenceUID == atlas


@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_a_safe_private_element_is_what_its_list_says(tmp_path, syntax) -> None:
    made = image()
    block = made.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x69, "SQ", [item(PatientComments="nurse Betty")])
    block.add_new(0x11, "LO", "nurse Betty 20200229")
    block.add_new(0x03, "FL", 1000.0)
    content = write(tmp_path / "a.dcm", made, syntax).read_bytes()
    kept = changed(content, retain=["safe-private"])
    # PS3.15 Table E.3.10-1: (2001,xx03) FL, one value; sequences are not looked into.
    assert [one.value for one in kept if one.tag.is_private] == ["Philips Imaging DD 001", 1000.0]


def coded(value: str, scheme: str = "DCM") -> Sequence:
    return Sequence([item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning="…")])


def measured(value: str, concept: str, scheme: str = "DCM") -> Dataset:
    number = item(NumericValue=value, MeasurementUnitsCodeSequence=coded("a", "UCUM"))
    return item(
        ValueType="NUM", ConceptNameCodeSequence=coded(concept, scheme),
        MeasuredValueSequence=Sequence([number]),
    )  # fmt: skip


def test_a_report_says_no_more_of_a_person_than_its_header(tmp_path) -> None:
    # PS3.16 TID 1007 Subject Context, Patient: 121032 Subject Sex, 121033 Subject Age.
    sex = item(
        ValueType="CODE", ConceptNameCodeSequence=coded("121032"), ConceptCodeSequence=coded("F")
    )
    parts = [
        measured("97", "121033"), measured("88", "121033"), sex, measured("70", "29463-7", "LN"),
        measured("12", "121207"),
    ]  # fmt: skip
    content = bytes_of(tmp_path, PixelData=None, ContentSequence=Sequence(parts))

    def said(**options: list[str]) -> list[object]:
        made = changed(content, clean=["structured"], **options).ContentSequence
        return [
            one.MeasuredValueSequence[0].NumericValue if one.MeasuredValueSequence else None
            for one in made
            if one.ValueType == "NUM"
        ] + [made[2].ConceptCodeSequence[0].CodeValue]

    assert said() == [None, None, None, 12, "REMOVED"]
    assert said(retain=["patient"]) == [None, 88, 70, 12, "F"]


@pytest.mark.parametrize(
    ("attributes", "is_risky"),
    [
        ({"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, True),
        ({"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]}, True),
        ({"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}, False),
        ({"SpecimenLabelInImage": "YES", "BurnedInAnnotation": "NO"}, True),
        ({"Modality": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, True),
        ({"Modality": "XX", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.1"}, True),
        ({"Modality": "SM", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"}, False),
        ({"Modality": "BMD"}, True),
    ],
)
def test_labels_and_classes_tell_of_text_in_pixels(tmp_path, attributes, is_risky) -> None:
    # PS3.3 C.8.12.4.1.1: LABEL and OVERVIEW show the label of the slide; PS3.6 Table A-1.
    content = bytes_of(tmp_path, **attributes)
    facts = deidentify(content, profile(), KEY, "P1").facts
    assert bool(risk(facts)) is is_risky


def test_pixels_whose_size_nobody_says_are_refused(tmp_path) -> None:
    with pytest.raises(NotDeidentified, match="size of its frames"):
        changed(bytes_of(tmp_path, Rows=None, PixelData=b"JOHN DOE"))
    content = bytes_of(tmp_path).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    with pytest.raises(NotDeidentified, match="fragments"):
        changed(content)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "JPEG-lossy.dcm", "JPEGLSNearLossless_08.dcm"])
def test_what_follows_the_end_of_a_frame_is_blanked(name) -> None:
    dataset = pydicom.dcmread(get_testdata_file(name))
    before = dataset.pixel_array
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    frame = frame[: frame.rindex(b"\xff\xd9") + 2]
    hidden = b"Quxhausen \xff\xd9 MRNQX774411"
    packed = encapsulate([frame + hidden])
    blanked = without_comments(packed)
    assert b"Quxhausen" not in blanked
    assert b"MRNQX774411" not in blanked
    dataset.PixelData = blanked
    assert (dataset.pixel_array == before).all()


def test_comments_in_frames_of_several_fragments_are_blanked() -> None:
    dataset = pydicom.dcmread(get_testdata_file("JPEG-lossy.dcm"))
    before = dataset.pixel_array
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    frame = frame[: frame.rindex(b"\xff\xd9") + 2]
    comment = b"\xff\xfe\0\x16" + bytes(4) + b"MRNQX774411 MRNQ"
    frame = frame[:2] + comment + frame[2:] + b"\xff\xd9 Quxhausen "
    # The second fragment begins within the comment, the third after the end of the image.
    frame += bytes(len(frame) % 2)
    places = [0, 16, len(frame) - 10, len(frame)]
    fragments = [frame[first:last] for first, last in itertools.pairwise(places)]
    packed = b"".join(raw_item(each) for each in (b"", *fragments))
    blanked = without_comments(packed)
    assert not re.search(rb"Quxhausen|MRNQ|774411", blanked)
    dataset.PixelData = blanked
    assert (dataset.pixel_array == before).all()


@pytest.mark.parametrize(("marker", "kept"), [
    (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), (0xE8, b"mrfx\1"), (0xEE, b"Adobe\0\x64\0\0\0\0\1"), (0xE0, b""),
])  # fmt: skip
def test_application_segments_hold_colors_only(marker, kept) -> None:
    """ITU T.871 (JFIF), T.872 (Adobe) and HP's LOCO-I (mrfx) state how many bytes they need."""
    payload = kept + b"Quxhausen"
    segment = bytes([0xFF, marker, 0, len(payload) + 2]) + payload
    blanked = without_comments(encapsulate([b"\xff\xd8" + segment + b"\xff\xd9"]))
    assert b"Quxhausen" not in blanked
    assert kept in blanked


def test_a_spiff_header_stays() -> None:
    dataset = pydicom.dcmread(get_testdata_file("SC_rgb_jls_lossy_sample.dcm"))
    assert b"SPIFF" in dataset.PixelData
    assert without_comments(dataset.PixelData) is None


def test_a_comment_between_scans_is_blanked() -> None:
    # Two scans with a comment between them, as progressive JPEG may have (ITU T.81 B.2).
    frame = (
        b"\xff\xd8\xff\xda\0\4\1\2data\xff\0more" + b"\xff\xfe\0\x0bQuxhausen"
        + b"\xff\xda\0\4\1\2data\xff\xd9"
    )  # fmt: skip
    blanked = without_comments(encapsulate([frame]))
    assert b"Quxhausen" not in blanked
    assert blanked.count(b"data") == 2


def test_the_length_of_a_document_goes_with_it(tmp_path) -> None:
    made = changed(
        bytes_of(
            tmp_path, PixelData=None, EncapsulatedDocument=b"%PDF Doe", EncapsulatedDocumentLength=8
        )
    )
    assert made.EncapsulatedDocument == b"\0\0"
    assert "EncapsulatedDocumentLength" not in made


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """One image whose kept attributes hold a name in other letters and a day, and one label."""
    folder = tmp_path_factory.mktemp("hidden")
    said = {
        "SpecificCharacterSet": "ISO_IR 192", "PatientName": "MÜLLER^Zebulonia", "StudyDate": "20210823",
        "SequenceName": "23.08.2021", "ManufacturerModelName": "Zébulonia", "Manufacturer": "for Müller",
        "ConvolutionKernel": "B30f", "PulseSequenceName": "20210823101112",
    }  # fmt: skip
    write(folder / "in" / "a.dcm", image("1.9.1", **said))
    write(folder / "in" / "b.dcm", image("1.9.2", BurnedInAnnotation="YES"))
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    cohort_of(wh, "all_of_it", "select series_key from instances")
    return wh


def test_rows_hold_no_name_in_other_letters_and_no_day(hidden, tmp_path) -> None:
    how = Deidentify(retain=("patient",), key=KEY)
    target = tmp_path / "rows.parquet"
    hidden.export("all_of_it", target, "parquet", rows="instances", deidentify=how)
    rows = {row["instance_key"]: row for row in pl.read_parquet(target).to_dicts()}
    row = rows[KEY.uid("1.9.1")]
    assert row["SequenceName"] is row["PulseSequenceName"] is None
    assert row["ManufacturerModelName"] is None
    assert row["Manufacturer"] is None
    assert row["SOPClassUID"] == "1.2.840.10008.5.1.4.1.1.2"
    assert "B30f" in str(row["ConvolutionKernel"])


def test_tables_of_identities_are_their_owners_and_have_what_was_left_out(hidden, tmp_path) -> None:
    folder = tmp_path / "apart"
    folder.mkdir(mode=0o755)
    how = Deidentify(key=KEY, mapping=folder, workers=1)
    hidden.export("all_of_it", tmp_path / "out", "copy", deidentify=how)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    (left,) = pl.read_csv(tmp_path / "out" / "left_out.csv")["SOPInstanceUID"]
    pairs = dict(mapping.read(folder / "uid_mapping.csv.encrypted", KEY))
    assert pairs["1.9.2"] == left


BIRTH = "19210304"


def stated(concept: tuple[str, str], **value: object) -> Dataset:
    """Return a content item with a concept and a value."""
    name = item(CodeValue=concept[0], CodingSchemeDesignator=concept[1], CodeMeaning="Said")
    return item(ConceptNameCodeSequence=Sequence([name]), **value)


@pytest.mark.parametrize("option", ["dates", "dates-shifted"])
@pytest.mark.parametrize("concept", [("121031", "DCM"), ("21112-8", "LN")])
def test_no_option_keeps_a_date_of_birth_in_a_report(tmp_path, option, concept) -> None:
    # Table E.1-1: Patient's Birth Date is Z in every option; shifted, it tells an age above 89.
    items = [
        stated(concept, ValueType="DATE", Date=BIRTH),
        stated(concept, ValueType="DATETIME", DateTime=f"{BIRTH}120000"),
        stated(concept, ValueType="TIME", Time="120000"),
        stated(("111060", "DCM"), ValueType="DATE", Date="20200304"),
    ]
    content = bytes_of(tmp_path, ContentSequence=Sequence(items), StudyDate="20200304")
    made = changed(content, retain=[option, "patient"], clean=["structured"])
    date, stamp, time, study = made.ContentSequence
    assert (date.Date, stamp.DateTime, time.Time) == ("19000101", "19000101000000", "000000")
    assert study.Date == made.StudyDate


@pytest.mark.parametrize(
    "keyword",
    ["ProtocolContextSequence", "SpecimenPreparationStepContentItemSequence",
     "SpecimenLocalizationContentItemSequence", "ScheduledProcessingParametersSequence",
     "PerformedProcessingParametersSequence", "PatientTreatmentPreparationProcedureParameterSequence"],
)  # fmt: skip
def test_content_items_are_treated_alike_in_every_sequence(tmp_path, keyword) -> None:
    # PS3.3 10.2: the Content Item Macro is that of all of these.
    years = item(NumericValue="95")
    items = [
        stated(("121033", "DCM"), ValueType="NUMERIC", MeasuredValueSequence=Sequence([years])),
        stated(("121031", "DCM"), ValueType="DATE", Date=BIRTH),
    ]
    content = bytes_of(tmp_path, **{keyword: Sequence(items)})
    age, birth = changed(content, retain=["patient", "dates"])[keyword].value
    assert not age.MeasuredValueSequence
    assert birth.Date == "19000101"


@pytest.mark.parametrize(
    ("keyword", "holder"),
    [
        # PS3.3 C.12.1.1.9: what an archive replaced on import, such as the name before.
        ("OriginalAttributesSequence",
         item(ModifiedAttributesSequence=Sequence([item(PatientName="Quisenberry^Ann")]))),
        ("RequestAttributesSequence", item(AccessionNumber="Quisenberry")),
        ("VerifyingObserverSequence", item(VerifyingObserverName="Quisenberry^Ann")),
        ("ReferringPhysicianIdentificationSequence", item(InstitutionName="Quisenberry")),
        ("ContentSequence", item(ValueType="PNAME", PersonName="Quisenberry^Ann")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "unknown VR"])
def test_a_name_in_a_removed_sequence_is_found_elsewhere(tmp_path, syntax, keyword, holder) -> None:
    attributes = {keyword: Sequence([holder]), "ConvolutionKernel": "B30f Quisenberry"}
    content = bytes_of(tmp_path, "explicit" if syntax == "unknown VR" else syntax, **attributes)
    if syntax == "unknown VR":  # PS3.5 6.2.2: its items are in implicit VR
        data = io.BytesIO(bytes_of(tmp_path, "implicit", **attributes))
        made = pydicom.dcmread(io.BytesIO(content))
        tag = made[keyword].tag
        implicit = data.getvalue()
        start = implicit.index(struct.pack("<HH", tag.group, tag.element))
        (length,) = struct.unpack_from("<L", implicit, start + 4)
        value = implicit[start + 8 : start + 8 + length]
        at = content.index(struct.pack("<HH2s", tag.group, tag.element, b"SQ"))
        (size,) = struct.unpack_from("<L", content, at + 8)
        content = content[:at] + element(tag, "UN", value) + content[at + 12 + size :]
    assert "ConvolutionKernel" not in changed(content)


def test_files_that_were_deidentified_before_are_exported_again(tmp_path) -> None:
    # "REMOVED" stands in place of names, here and in files of other software.
    content = bytes_of(tmp_path, OperatorsName="Doe^X", StationName="ABCDEF", ContentLabel="XX")
    write(tmp_path / "in" / "a.dcm", changed(content, retain=["device"]))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    cohort_of(wh, "all_of_it", "select series_key from instances")
    done = wh.export("all_of_it", tmp_path / "out", "copy", deidentify="basic")
    assert (done["counts"]["instances"], done["counts"]["left_out"]) == (1, 0)


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Images of patients with an age, one above 89, texts that are no age, and none."""
    folder = tmp_path_factory.mktemp("aged")
    ages = [b"045Y", b"101Y", b"101 ", b"0101Y ", b"101y", b"", None]
    for number, age in enumerate(ages, 1):
        uid = f"1.{number}"
        content = write(folder / "in" / uid, image(
            uid, PatientID=uid, StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.1.1",
        )).read_bytes()  # fmt: skip
        if age is not None:
            at = content.index(struct.pack("<HH", 0x20, 0x0D))
            content = content[:at] + element(0x00101010, "AS", age) + content[at:]
        (folder / "in" / uid).write_bytes(content)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    cohort_of(wh, "all_of_it", "select series_key from instances")
    return wh


def test_rows_have_the_ages_of_files(aged, tmp_path) -> None:
    how = Deidentify(retain=("patient",), key=KEY, workers=1)
    aged.export("all_of_it", tmp_path / "rows.parquet", "parquet", rows="instances", deidentify=how)
    rows = pl.read_parquet(tmp_path / "rows.parquet").sort("SOPInstanceUID")
    in_rows = rows.select("SOPInstanceUID", "PatientAge", "patient_age_years").rows()
    of = {uid: (age, years) for uid, age, years in in_rows}
    expected = [("045Y", 45.0), ("090Y", 90.0)] + [(None, None)] * 5
    assert [of[KEY.uid(f"1.{n}")] for n in range(1, 8)] == expected
    aged.export("all_of_it", tmp_path / "out", "copy", deidentify=how)
    for path in (tmp_path / "out").rglob("*.dcm"):
        made = pydicom.dcmread(path)
        assert (made.get("PatientAge") or None) == of[made.SOPInstanceUID][0]


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Images of patients with a date, and with dates that stand for none.

    16010101 is the first of Windows (FILETIME), 17530101 that of SQL Server, 18991230 that of OLE
    Automation; 99991231 is the last of SQL Server and .NET.
    """
    folder = tmp_path_factory.mktemp("dated")
    days = [
        "20200304", "00010101", "00010305", "19000101", "19700101", "16010101", "17530101",
        "18991230", "99991231", "19010101",
    ]  # fmt: skip
    for number, day in enumerate(days, 1):
        uid = f"1.{number}"
        write(folder / "in" / uid, image(
            uid, PatientID=uid, StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.1.1",
            StudyDate=day, StudyTime="120000", AcquisitionDateTime=f"{day}120000",
        ))  # fmt: skip
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    cohort_of(wh, "all_of_it", "select series_key from instances")
    return wh


def test_rows_and_files_shift_the_same_dates(dated, tmp_path) -> None:
    # A placeholder tells by how many days all dates of its patient were shifted.
    how = Deidentify(retain=("dates-shifted",), key=KEY, workers=1)
    dated.export("all_of_it", tmp_path / "rows.parquet", "parquet", rows="studies", deidentify=how)
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    of = {
        uid: (day, at) for uid, day, at in rows.select("study_key", "StudyDate", "study_at").rows()
    }
    assert (
        of[KEY.uid("1.1.1")][0].strftime("%Y%m%d")
        == shifted("DA", b"20200304", KEY.days("1.1")).decode()
    )
    assert [of[KEY.uid(f"1.{n}.1")] for n in range(2, 10)] == [(None, None)] * 8
    # A second shift of the last one ends before 1900, where dates stand for none.
    early = shifted("DA", b"19010101", KEY.days("1.10"))
    assert early is not None
    assert shifted("DA", early, KEY.days("1.10")) is None
    assert of[KEY.uid("1.10.1")][0].strftime("%Y%m%d") == early.decode()
    facts = dated.export("all_of_it", tmp_path / "out", "copy", deidentify=how)
    assert facts["counts"]["instances"] == len(of) == 10
    for path in (tmp_path / "out").rglob("*.dcm"):
        made = pydicom.dcmread(path)
        day = of[made.StudyInstanceUID][0]
        assert made.StudyDate == (day.strftime("%Y%m%d") if day else "")
        assert made.AcquisitionDateTime[:8] == (made.StudyDate or "19000101")


def test_no_date_is_shifted_to_a_placeholder() -> None:
    # Written, it would be refused when the file is read back.
    assert shifted("DA", b"19700104", 3) is None
    assert shifted("DT", b"19700104120000+0100", 3) is None
    assert shifted("DA", b"19700104", 2) == b"19700102"


@pytest.mark.parametrize("number", [1, 2])
def test_sound_is_left_out(tmp_path, number) -> None:
    # PS3.4 B.5: Basic Voice Audio and General Audio Waveform Storage.
    content = bytes_of(
        tmp_path, PixelData=None, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.9.4.{number}", Modality="AU"
    )
    with pytest.raises(NotDeidentified, match="sound"):
        changed(content)


@pytest.mark.parametrize(
    ("tag", "vr", "other", "name", "expected"),
    [
        (0x00080018, b"UI", "UN", "SOPInstanceUID", KEY.uid("1.2.3.4.5")),
        (0x0008103E, b"LO", "UT", "SeriesDescription", "axial"),
    ],
)  # fmt: skip
def test_names_of_files_are_values_whatever_the_vr(
    tmp_path, tag, vr, other, name, expected
) -> None:
    # UN and UT have a header of 12 bytes: PS3.5 7.1.2.
    content = bytes_of(tmp_path, uid="1.2.3.4.5", SeriesDescription="axial")
    at = content.index(struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr))
    (size,) = struct.unpack_from("<H", content, at + 6)
    value = content[at + 8 : at + 8 + size]
    content = content[:at] + element(tag, other, value) + content[at + 8 + size :]
    made = deidentify(content, profile(clean=["descriptors"]), KEY, "P1")
    assert made.names[name] == expected


def test_names_in_files_outside_of_the_cohort_are_searched_for(tmp_path) -> None:
    # A name before marriage, in a study that is not exported.
    one = {"PatientID": "7654321", "StudyInstanceUID": "1.7", "SeriesInstanceUID": "1.7.1"}
    other = {"PatientID": "7654321", "StudyInstanceUID": "1.8", "SeriesInstanceUID": "1.8.1"}
    write(tmp_path / "in" / "a", image("1.1", PatientName="Quisenberry^Ann", **one))
    write(tmp_path / "in" / "b", image(
        "1.2", PatientName="Zebulonia^Ann", ConvolutionKernel="B30f Quisenberry", **other
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    cohort_of(wh, "one", "select series_key from instances where StudyInstanceUID = '1.8'")
    how = Deidentify(key=KEY, workers=1)
    wh.export("one", tmp_path / "out", "copy", deidentify=how)
    (path,) = (tmp_path / "out").rglob("*.dcm")
    assert "ConvolutionKernel" not in pydicom.dcmread(path)
    wh.export("one", tmp_path / "rows.parquet", "parquet", rows="instances", deidentify=how)
    assert pl.read_parquet(tmp_path / "rows.parquet")["ConvolutionKernel"].to_list() == [None]


def test_a_file_of_too_many_names_and_too_much_text_is_left_out() -> None:
    """The search takes names times bytes: 8,000 names in 4 MB of text took 101 s."""
    identity = Identity("P1")
    identity.know([("PN", f"Name{number:04}^Given") for number in range(8_000)])
    kept = [("", MODEL, "LO", b"axial " * 100)]
    assert identity.found_in(kept) == frozenset()
    with pytest.raises(NotDeidentified, match="identifying values would have to be searched"):
        identity.found_in([*kept, ("", 0x0040A160, "UT", b"words " * 700_000)])
