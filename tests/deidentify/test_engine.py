"""One file at a time: what becomes of its elements, whatever its encoding, depth and damage."""

from __future__ import annotations

import datetime as dt
import io
import zlib

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sequence import Sequence

from tests.deidentify.planted import item
from tests.dicom_files import element, image, part10, sequence, write
from tests.dicom_files import item as raw_item
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.key import Key
from warehouse.deidentify.profile import profile
from warehouse.deidentify.values import capped_age, clean_text, shifted
from warehouse.errors import NotDeidentified

KEY = Key(b"k" * 32)


def changed(content: bytes, patient: str = "P1", key: Key = KEY, **options):
    made = deidentify(content, profile(**options), key, patient)
    return pydicom.dcmread(io.BytesIO(b"".join(made.chunks))), made


def content_of(tmp_path, syntax="explicit", **attributes) -> bytes:
    return write(tmp_path / "a.dcm", image(**attributes), syntax).read_bytes()


def test_same_key_same_output_other_key_nothing_in_common(tmp_path) -> None:
    content = content_of(tmp_path, uid="1.2.3.4.5")
    first, again = changed(content)[1], changed(content)[1]
    assert b"".join(first.chunks) == b"".join(again.chunks)
    other, _ = changed(content, key=Key(b"o" * 32))
    mine, _ = changed(content)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "PatientID", "PatientName"):
        assert mine[keyword].value != other[keyword].value
    assert mine.SOPInstanceUID == mine.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "deflated"])
def test_every_encoding_gives_the_same_values(tmp_path, syntax) -> None:
    content = content_of(
        tmp_path,
        syntax,
        OperatorsName="Doe",
        RequestAttributesSequence=[item(ScheduledProcedureStepID="X")],
    )
    made, result = changed(content)
    assert made.OperatorsName == "REMOVED" or "OperatorsName" not in made
    assert made.PixelData == b"\1\2\3\4"
    assert "Doe" not in str(made)
    assert {change.action for change in result.changes} <= set("XZDUC")


def test_big_endian_and_what_is_no_dicom_is_left_out_with_a_reason(tmp_path) -> None:
    for content in (content_of(tmp_path, "big"), b"no DICOM at all", b"", part10(uid="")):
        with pytest.raises(NotDeidentified):
            changed(content)


@pytest.mark.parametrize(
    "broken",
    [
        part10(element(0x00100010, "PN", b"Doe", length=4000)),
        part10(element(0x00081140, "XX", b"Doe ")),
        part10(sequence(0x00081140, element(0x00100010, "PN", b"Doe^"))),
        part10(sequence(0x00081140, raw_item(element(0x00100010, "PN", b"Doe^"), length=500))),
        part10(b"\x08\0"),
    ],
    ids=["length", "vr", "no item", "item", "cut"],
)
def test_damage_is_refused_and_never_copied(broken) -> None:
    with pytest.raises(NotDeidentified):
        changed(broken)


def test_sequences_are_cleaned_at_any_depth_up_to_a_limit(tmp_path) -> None:
    def nested(levels):
        deep = item(PatientName="Doe^Deep", CodeValue="1")
        for _ in range(levels):
            deep = item(PurposeOfReferenceCodeSequence=Sequence([deep]))
        return content_of(tmp_path, ReferencedInstanceSequence=[deep])

    made, result = changed(nested(60))
    assert "Doe" not in str(made)
    assert any(change.path.count("[0]") == 61 for change in result.changes)
    with pytest.raises(NotDeidentified, match="deeper"):
        changed(nested(70))


def test_a_value_whose_vr_is_not_that_of_the_dictionary_goes(tmp_path) -> None:
    # Rows as text, a number that is a name, a code that is no dictionary's, a sequence as UN.
    content = part10(
        element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(0x00189087, "LT", b"Doe^Jane"),
        element(0x00180050, "DS", b"Jane Doe"),
        element(0x00131313, "LO", b"Jane Doe"),
        element(0x00082112, "UN", b"Jane Doe"),
        element(0x0020930F, "LO", b"Jane Doe"),
    )
    _, result = changed(content)
    assert b"Doe" not in b"".join(result.chunks)
    assert len([change for change in result.changes if change.action == "X"]) == 5


def test_encrypted_attributes_go(tmp_path) -> None:
    """PS3.15 E.1: they hold the original identity, and name in clear who can decrypt it."""
    envelope = item(EncryptedContent=b"CN=Sankt Qvintus ", EncryptedContentTransferSyntaxUID="1.2")
    made, result = changed(content_of(tmp_path, EncryptedAttributesSequence=[envelope]))
    assert "EncryptedAttributesSequence" not in made
    assert [change.action for change in result.changes if change.tag == 0x04000500] == ["X"]


def test_a_name_is_removed_wherever_it_stands(tmp_path) -> None:
    content = content_of(
        tmp_path, PatientName="Zubrowski^Kim", Manufacturer="for zubrowski", SequenceName="KIM 7",
        BodyPartExamined="CHEST", ManufacturerModelName="Kimono",
    )  # fmt: skip
    made, _ = changed(content)
    assert "Manufacturer" not in made
    assert "SequenceName" not in made  # a short name, alone
    assert made.ManufacturerModelName == "Kimono"  # which is another word
    assert made.BodyPartExamined == "CHEST"


@pytest.mark.parametrize("stamp", ["CT_20240131104500", "202401311045", "2024:01:31 10:45:00"])
def test_a_removed_day_with_its_time_goes(tmp_path, stamp) -> None:
    """As device software names what it makes, and as Exif writes a date and time."""
    made, _ = changed(
        content_of(tmp_path, StudyDate="20240131", SequenceName=stamp, FilterType="x")
    )
    assert "SequenceName" not in made
    assert made.FilterType == "x"


def test_an_id_that_stands_in_a_number_goes(tmp_path) -> None:
    made, _ = changed(
        content_of(tmp_path, PatientID="4711882", SeriesNumber=4711882, TriggerTime="4711882.5")
    )
    assert "SeriesNumber" not in made
    assert made.TriggerTime == 4711882.5


def test_a_patient_whose_name_is_a_word_of_imaging(tmp_path) -> None:
    content = content_of(
        tmp_path,
        PatientName="Head^Long",
        BodyPartExamined="HEAD",
        SeriesDescription="long head axial",
    )
    made, _ = changed(content, clean=["descriptors"])
    assert made.BodyPartExamined == "HEAD"
    assert not {"head", "long"} & set(made.get("SeriesDescription", "").lower().split())


def test_basic_removes_dates_and_structured_content(tmp_path) -> None:
    content = content_of(
        tmp_path, StudyDate="20200101", AcquisitionDateTime="20200101", ContentDate="20200101",
        ContentSequence=[item(TextValue="Jane Doe")], PatientAge="040Y",
    )  # fmt: skip
    made, _ = changed(content)
    assert made.LongitudinalTemporalInformationModified == "REMOVED"
    assert (made.StudyDate, made.ContentDate) == ("", "19000101")
    assert "PatientAge" not in made
    assert [list(one) for one in made.ContentSequence] == [[]]


@given(
    first=st.dates(dt.date(1930, 1, 1), dt.date(2060, 1, 1)), second=st.dates(dt.date(1930, 1, 1), dt.date(2060, 1, 1)),
    patient=st.text(max_size=8),
)  # fmt: skip
@settings(max_examples=50)
def test_intervals_are_kept_and_no_date_is(first: dt.date, second: dt.date, patient: str) -> None:
    days = KEY.days(patient)
    assert 1 <= days <= 3650
    old = f"{first:%Y%m%d}\\{second:%Y%m%d}".encode()
    moved = shifted("DA", old, days)
    new = [dt.date.fromisoformat(text.decode()) for text in moved.split(b"\\")]
    assert new[1] - new[0] == second - first
    assert first - new[0] == dt.timedelta(days)
    assert (
        shifted("DT", f"{first:%Y%m%d}235959.9+0100".encode(), days) == moved[:8] + b"235959.9+0100"
    )


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DA", b"2020"),
        ("DA", b"20201341"),
        ("DA", b"Doe"),
        ("DT", b"202001"),
        ("DT", b"20200101Doe"),
        ("TM", b"Doe"),
        ("DA", b"00010101"),
    ],
)
def test_what_is_no_whole_date_is_removed_and_not_guessed(vr: str, value: bytes) -> None:
    assert shifted(vr, value, 400) is None


def test_ages_over_89_are_90_years() -> None:
    # 45 CFR 164.514 (b) (2) (i) (C): ages over 89 may be one category of 90 or older.
    ages = {
        b"089Y": b"089Y",
        b"090Y": b"090Y",
        b"112Y": b"090Y",
        b"999M": b"999M",
        b"": b"",
        b"old": None,
    }
    assert {age: capped_age(age) for age in ages} == ages


def test_text_keeps_known_words_only() -> None:
    text = b"CT Thorax/Abdomen with contrast 3mm b1000 for Smith, 93 yo, acc 7788123"
    assert clean_text(text, frozenset()) == b"CT Thorax Abdomen with contrast 3mm b1000"
    assert clean_text(b"head", frozenset({"head"})) == b""
    assert clean_text("Schädel äöü".encode("latin-1"), frozenset()) == b""


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("warehouse.deidentify.engine.MAX_INFLATED", 1 << 16)
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(element(0x00282000, "OB", bytes(1 << 20))) + packer.flush()
    content = part10(uid="", syntax="1.2.840.10008.1.2.1.99") + body
    with pytest.raises(NotDeidentified, match="inflates"):
        changed(content)


def test_it_changes_nothing_more_when_it_is_asked_again() -> None:
    path = pydicom.data.get_testdata_file("rtplan.dcm")
    with open(path, "rb") as file:
        _, first = changed(file.read(), clean=["descriptors"])
    _, again = changed(b"".join(first.chunks), clean=["descriptors"])
    assert not [change for change in again.changes if change.action in "XZ"]
