"""Planted secrets: every answer of the key is met, and no secret is in any byte."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

from tests.deidentify.planted import BANNER, CODECS, DAY, FILES, SECRETS, WIDE
from warehouse.deidentify import mapping
from warehouse.deidentify.check import check
from warehouse.deidentify.key import read_key
from warehouse.deidentify.profile import safe_private

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from tests.deidentify.conftest import Exported
    from tests.deidentify.planted import Answer

ACTIONS = {
    "tag_retained", "text_notnull", "text_retained", "text_removed", "date_shifted", "uid_changed",
    "uid_consistent", "patid_consistent", "pixels_retained", "pixels_hidden",
}  # fmt: skip


@pytest.fixture(scope="module")
def new(exported: Exported) -> dict[str, Dataset]:
    """The new data set of every old SOP Instance UID, by the mapping as the MIDI script reads it."""
    key = read_key(exported.key)
    uids = dict(mapping.read(exported.mapping / "uid_mapping.csv.encrypted", key))
    files = {
        found.SOPInstanceUID: found
        for found in map(pydicom.dcmread, exported.folder.rglob("*.dcm"))
    }
    return {old: files[uid] for old, uid in uids.items() if uid in files}


def at(dataset: Dataset, place: tuple[Any, ...]) -> Any:
    found: Any = dataset
    for step in place:
        found = found[step] if isinstance(step, int) else getattr(found, step, None)
    return found


def words(value: Any) -> list[str]:
    return re.split(r"[^A-Za-z0-9]+", str(value or ""))


def passes(
    answer: Answer, dataset: Dataset, uids: dict[str, str], patients: dict[str, str]
) -> bool:
    value = at(dataset, answer.place)
    match answer.action:
        case "tag_retained":
            return (
                answer.value is None
                or (list(value) if isinstance(answer.value, list) else value) == answer.value
            )
        case "text_notnull":
            return bool(value)
        case "text_retained":
            return set(answer.value) <= set(words(value))
        case "text_removed":
            return not {
                word for word in answer.value if len(word) > 2 and not word.isdigit()
            } & set(words(value))
        case "date_shifted":
            return re.fullmatch(r"\d{8}", value) is not None and value != answer.value
        case "uid_changed":
            return value != answer.value
        case "uid_consistent":
            return value == uids[answer.value]
        case "patid_consistent":
            return value == patients[answer.value]
        case "pixels_retained":
            return bool((dataset.pixel_array == answer.value).all())
        case "pixels_hidden":
            column, row, width, height = BANNER
            hidden = answer.value.copy()
            hidden[row : row + height, column : column + width] = 0
            return bool((dataset.pixel_array == hidden).all())
    raise AssertionError(answer.action)


@pytest.mark.acceptance("D80")
def test_every_answer_of_the_key_is_met(exported: Exported, new: dict[str, Dataset]) -> None:
    key = read_key(exported.key)
    uids = dict(mapping.read(exported.mapping / "uid_mapping.csv.encrypted", key))
    patients = dict(mapping.read(exported.mapping / "patid_mapping.csv.encrypted", key))
    answers = exported.planted.answers
    assert {answer.action for answer in answers} == ACTIONS
    failed = [
        one
        for one in answers
        if one.uid not in new or not passes(one, new[one.uid], uids, patients)
    ]
    assert not [(one.action, one.place) for one in failed]
    assert len(answers) > 350


def test_no_secret_is_in_any_byte(exported: Exported) -> None:
    folder = exported.folder
    assert len(list(folder.rglob("*.dcm"))) == FILES
    for path in folder.rglob("*"):
        shown = str(path.relative_to(folder)).lower()
        content = path.read_bytes().lower() if path.is_file() else b""
        for secret in SECRETS:
            assert secret.lower() not in shown
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                assert secret.lower().encode(encoding) not in content, (path.suffix, secret)
        for charset, name in WIDE.items():
            for part in re.split("[\\^=]", name):
                for encoding in ("utf-8", CODECS[charset], "utf-16-le"):
                    written = part.encode(encoding)
                    assert written.lower() not in content, (path.suffix, charset, part)


@pytest.mark.acceptance("D80")
def test_the_search_of_bytes_finds_nothing(exported: Exported) -> None:
    found = check(exported.folder, exported.wh.root)
    assert found.survivors == ()
    assert found.values > 25
    assert found.files == FILES + 5


def test_the_sources_hold_every_secret_and_the_search_finds_them(exported: Exported) -> None:
    # What shows that the search can find: the files it came from.
    found = check(exported.planted.folder, exported.wh.root)
    attributes = {one.attribute for one in found.survivors}
    assert len(attributes) > 12
    assert {"PatientBirthDate", "SOPInstanceUID", "InstitutionAddress"} & attributes
    assert any(one.how.endswith("its name") for one in found.survivors)
    assert any("inflated" in one.how for one in found.survivors)


def test_intervals_of_a_patient_are_kept(new: dict[str, Dataset]) -> None:
    days = sorted({dataset.StudyDate for dataset in new.values()})
    first, second = (dt.date.fromisoformat(day) for day in days)
    assert (second - first).days == 11
    assert DAY not in days
    image = next(one for one in new.values() if one.Modality == "CT" and one.StudyDate == days[0])
    assert image.AcquisitionDateTime == f"{image.StudyDate}101112.345+0200"
    assert image.StudyTime == "101112.345"


def test_references_lead_where_they_led(new: dict[str, Dataset]) -> None:
    by_modality = {dataset.Modality: dataset for dataset in new.values()}
    images = {
        dataset.SOPInstanceUID: dataset for dataset in new.values() if dataset.Modality == "CT"
    }
    frame = by_modality["RTSTRUCT"].ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    image = images[series.ContourImageSequence[0].ReferencedSOPInstanceUID]
    assert image.SeriesInstanceUID == series.SeriesInstanceUID
    assert image.FrameOfReferenceUID == frame.FrameOfReferenceUID
    segments = by_modality["SEG"]
    source = (
        segments.PerFrameFunctionalGroupsSequence[0]
        .DerivationImageSequence[0]
        .SourceImageSequence[0]
    )
    assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
    listed = segments.ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == image.SeriesInstanceUID
    assert listed.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert segments.FrameOfReferenceUID == image.FrameOfReferenceUID
    name, text, number, referenced = by_modality["SR"].ContentSequence
    assert referenced.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert number.MeasuredValueSequence[0].NumericValue == 12.5
    assert (str(name.PersonName), text.TextValue) == ("REMOVED", "REMOVED")
    assert text.ConceptNameCodeSequence[0].CodeMeaning == "Finding"


def test_what_an_image_says_of_itself(new: dict[str, Dataset]) -> None:
    image = next(dataset for dataset in new.values() if dataset.Modality == "CT")
    assert image.PatientIdentityRemoved == "YES"
    assert image.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = {
        (code.CodeValue, code.CodingSchemeDesignator)
        for code in image.DeidentificationMethodCodeSequence
    }
    assert codes == {("113100", "DCM"), ("113107", "DCM"), ("113108", "DCM"), ("113111", "DCM"),
                     ("113105", "DCM"), ("113104", "DCM")}  # fmt: skip
    assert image.PatientAge == "090Y"  # it was 93 years
    assert image.PatientSex == "F"
    # Of private elements those that PS3.15 Table E.3.10-1 lists, and their creators.
    assert image.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 1000
    assert 0x08 not in image.private_block(0x0019, "SIEMENS MR HEADER")
    for element in image:
        if element.tag.is_private and not element.tag.is_private_creator:
            known = (element.private_creator, element.tag.group, element.tag.elem & 0xFF)
            assert known in safe_private()
    assert "SourceApplicationEntityTitle" not in image.file_meta
    assert image.preamble == bytes(128)
    # A group of overlays goes as a whole; what no dictionary knows goes.
    assert not [element for element in image if element.tag.group in {0x5000, 0x6000, 0x0013}]


def test_both_mappings_are_encrypted_and_open_with_their_key(exported: Exported) -> None:
    tables = sorted(exported.mapping.iterdir())
    assert [table.name for table in tables] == [
        "patid_mapping.csv.encrypted",
        "uid_mapping.csv.encrypted",
    ]
    for table in tables:
        content = table.read_bytes()
        assert b"1.2.826" not in content
        assert b"MRNQ" not in content
    rows = list(mapping.read(tables[1], read_key(exported.key)))
    assert len(rows) == len({old for old, _ in rows}) == len({uid for _, uid in rows})
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for _, uid in rows)


def test_what_lies_beside_the_files(exported: Exported) -> None:
    folder = exported.folder
    audit = exported.wh.sql(f"from read_parquet('{folder}/audit.parquet')").pl()
    with (folder / "manifest.csv").open() as file:
        instances = {row["instance_key"] for row in csv.DictReader(file)}
    assert set(audit["SOPInstanceUID"]) == instances
    assert {"X", "Z", "D", "U", "C"} == set(audit["action"])
    assert audit.columns == [
        "SOPInstanceUID",
        "path",
        "tag",
        "keyword",
        "vr",
        "action",
        "option",
        "reason",
    ]
    report = (folder / "report.html").read_text()
    assert "113105" in report
    assert report.count("<img") >= 4
    assert list(csv.DictReader(io.StringIO((folder / "left_out.csv").read_text()))) == []
