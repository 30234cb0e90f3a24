"""Files with planted secrets, and what has to become of each: an answer key in the actions of MIDI-B.

The files are pydicom's samples. Secrets are words that stand in no file and no dictionary, so that
to find one anywhere in an export is a leak. The actions are those of the validation script of the
MIDI-B challenge (CBIIT/MIDI_validation_script, 2025): tag_retained, text_notnull, text_retained,
text_removed, date_shifted, uid_changed, uid_consistent, patid_consistent, pixels_retained,
pixels_hidden.
"""

from __future__ import annotations

import base64
import copy
import warnings
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

if TYPE_CHECKING:
    from pathlib import Path

NAME, OTHER_NAME, DOCTOR = "Quxhausen^Zebulonia", "Vorplgruber", "Drxylander^Ottokarla"
ID, ACCESSION, PHONE = "MRNQX774411", "ACCQZ990817", "0049-8955-77123"
HOSPITAL, STREET, WARD = "Sankt Qvintus Klinik", "Wermelskirchweg 17", "Station Qybele"
NOTE = "spoke to Mrs Quxhausen about her brother Vorplgruber"
DEVICE = "SNQ-8841-XW"
BIRTH, DAY = "19310417", "20210823"
WIDE = {
    "ISO_IR 192": "王德華麗^小東方",
    "GB18030": "欧阳慕容^春秋月",
    "ISO 2022 IR 87": "Gorobei^Tarzaburo=山田次^太郎衛=やまだつ^たろうえ",
    "ISO 2022 IR 149": "Gwangsuk^Bellado=洪吉星^東子=홍길동^이순신",
    "ISO_IR 144": "Люксембург^Василиса",
}
"""Names of the patient in files of other character sets."""
CODECS = {
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "ISO 2022 IR 87": "iso2022_jp",
    "ISO 2022 IR 149": "euc_kr", "ISO_IR 144": "iso8859-5",
}  # fmt: skip
BANNER = (0, 0, 640, 30)
"""Where an Acuson Sequoia shows text: a rule of ``burned_in.csv``."""
FILES = 16
"""How many there are."""
SECRETS = (
    "Quxhausen", "Zebulonia", "Vorplgruber", "Drxylander", "Ottokarla", ID, ACCESSION, PHONE,
    HOSPITAL, "Qvintus", STREET, "Qybele", DEVICE, BIRTH,
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What has to become of an element of an instance."""

    action: str
    uid: str
    """Old SOP Instance UID."""
    place: tuple[Any, ...]
    """Keywords and item numbers that lead to it."""
    value: Any = None
    """What it held, or the words that must stay or go."""


@dataclass
class Planted:
    """What was planted."""

    folder: Path
    answers: list[Answer] = field(default_factory=list)
    uids: dict[str, set[str]] = field(default_factory=dict)


def sample(name: str) -> Dataset:
    """Return a sample of pydicom."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(get_testdata_file(name))


def item(**attributes: Any) -> Dataset:
    """Return an item of a sequence."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def plant(folder: Path) -> Planted:
    """Write the files beneath a folder whose names are secrets too."""
    planted = Planted(folder)
    people = folder / "Quxhausen_Zebulonia" / ID
    people.mkdir(parents=True)
    study, series = generate_uid(), generate_uid()
    names = ["CT_small.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"]
    for number, name in enumerate(names):
        made = secret(sample(name), study, series, number)
        write(planted, made, people / f"{NAME.replace('^', '_')}_{number}.dcm")
    # A second study, eleven days later, that refers to the first image.
    first = pydicom.dcmread(people / f"{NAME.replace('^', '_')}_0.dcm")
    later = secret(sample("CT_small.dcm"), generate_uid(), generate_uid(), 9)
    later.StudyDate = later.SeriesDate = later.AcquisitionDate = later.ContentDate = "20210903"
    later.ReferencedImageSequence = Sequence(
        [
            item(
                ReferencedSOPClassUID=first.SOPClassUID,
                ReferencedSOPInstanceUID=first.SOPInstanceUID,
            )
        ]
    )
    later.SourceImageSequence = copy.deepcopy(later.ReferencedImageSequence)
    write(planted, later, people / "later.dcm")
    planted.answers.append(
        Answer("uid_consistent", later.SOPInstanceUID,
               ("ReferencedImageSequence", 0, "ReferencedSOPInstanceUID"), first.SOPInstanceUID)
    )  # fmt: skip
    others = enumerate(WIDE, 10)
    for number, charset in others:
        made = secret(sample("CT_small.dcm"), study, series, number)
        made.SpecificCharacterSet = (
            charset if charset.startswith(("ISO_IR", "GB")) else ["", charset]
        )
        made.PatientName = WIDE[charset]  # who has another name in other files
        made.Manufacturer = f"made for {WIDE[charset].split('=')[-1].split('^')[0]}"
        write(planted, made, people / f"charset_{number}.dcm")
    made = secret(sample("CT_small.dcm"), study, series, 20)
    made.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    write(planted, made, people / "deflated.dcm")
    write(planted, ultrasound(secret(sample("CT_small.dcm"), study, series, 21)), people / "us.dcm",
          has_banner=True)  # fmt: skip
    write(planted, document(first), people / "letter.dcm", is_image=False)
    write(planted, structures(first), people / "structures.dcm", is_image=False)
    write(planted, segmentation(first), people / "segments.dcm", is_image=False)
    write(planted, report(first), people / "report.dcm", is_image=False)
    return planted


def secret(made: Dataset, study: str, series: str, number: int) -> Dataset:
    """Plant secrets into an image: attributes, text, private, nested, overlay, curve, other VRs."""
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{series[:58]}.{number}"
    made.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", study])
    made.ImageType, made.BurnedInAnnotation = ["ORIGINAL", "PRIMARY"], "NO"
    made.PatientName, made.PatientID, made.PatientBirthDate = NAME, ID, BIRTH
    made.PatientAge, made.PatientSex, made.PatientWeight = "093Y", "F", "61"
    made.OtherPatientIDs, made.OtherPatientNames = ID, OTHER_NAME
    made.PatientAddress, made.PatientTelephoneNumbers = STREET, PHONE
    made.PatientComments, made.AdditionalPatientHistory = NOTE, NOTE
    made.AccessionNumber, made.InstitutionName, made.InstitutionAddress = (
        ACCESSION,
        HOSPITAL,
        STREET,
    )
    made.ReferringPhysicianName = made.OperatorsName = made.PerformingPhysicianName = DOCTOR
    made.StationName = made.DeviceSerialNumber = DEVICE
    made.StudyDescription = f"CT chest for {OTHER_NAME}"
    made.SeriesDescription = "T1 axial 3mm Quxhausen"
    made.ImageComments = NOTE
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = made.ContentDate = DAY
    made.StudyTime = made.SeriesTime = made.AcquisitionTime = made.ContentTime = "101112.345"
    made.AcquisitionDateTime = f"{DAY}101112.345+0200"
    made.ModalityLUTSequence = Sequence(
        [item(LUTExplanation=f"for {OTHER_NAME}", ModalityLUTType="US")]
    )
    made.RequestAttributesSequence = Sequence(
        [item(ScheduledProcedureStepDescription=NOTE, RequestedProcedureID=ACCESSION,
              ScheduledProtocolCodeSequence=Sequence(
                  [item(CodeValue="1", CodingSchemeDesignator="99LOCAL", CodeMeaning=NOTE)]))]
    )  # fmt: skip
    # Where the table has no row: a deep item, a label, a field of the maker, a number.
    deep = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=f"as {OTHER_NAME} said")
    for _ in range(12):
        deep = item(PurposeOfReferenceCodeSequence=Sequence([deep]), ContentLabel="X")
    made.ReferencedInstanceSequence = Sequence([deep])
    made.Manufacturer = f"ACME for {NAME.split('^', maxsplit=1)[0]}"
    made.add_new(0x00180024, "SH", ID)  # SequenceName
    coded(made)
    private(made)
    # Overlay, curve, an attribute that no dictionary knows, a padding.
    made.add_new(0x60000010, "US", 8)
    made.add_new(0x60000011, "US", 8)
    made.add_new(0x60000100, "US", 1)
    made.add_new(0x60003000, "OW", NAME.encode()[:8])
    made.add_new(0x60004000, "LT", NOTE)
    made.add_new(0x50000005, "US", 1)
    made.add_new(0x50002500, "LO", OTHER_NAME)
    made.add_new(0x00091001, "UN", zlib.compress(NAME.encode() * 9))
    made.add_new(0x00131313, "LO", NOTE)
    made.add_new(0xFFFCFFFC, "OB", NAME.encode()[:18])
    made.file_meta.SourceApplicationEntityTitle = "QYBELE_AE"
    made.file_meta.PrivateInformationCreatorUID = generate_uid()
    made.file_meta.PrivateInformation = NAME.encode()[:18]
    made.preamble = (NAME.encode() * 8)[:128]
    return made


def coded(made: Dataset) -> None:
    """Plant names where texts, codes and bytes are kept: turned round, in another case, coded."""
    last, first = NAME.split("^")
    made.ScanOptions = f"{first.upper()} {last.upper()}"[:16]
    made.FilterType = f"X{first.upper()}X"
    made.ConvolutionKernel = base64.b64encode(f" {ID}".encode()).decode()
    made.PositionReferenceIndicator = base64.b64encode(last.encode()).decode()
    made.ModalityLUTSequence[0].LUTDescriptor = [4, 0, 16]
    made.ModalityLUTSequence[0].add_new(0x00283006, "OW", last.encode("utf-16-le") + bytes(2))


def private(made: Dataset) -> None:
    """Plant names in private elements: with a creator, nested, as unknown VR, in bytes."""
    block = made.private_block(0x0099, NAME, create=True)
    block.add_new(1, "LO", NOTE)
    block.add_new(2, "UN", NAME.encode("utf-16-le"))
    block.add_new(3, "SQ", Sequence([item(PatientName=NAME)]))
    noise = bytes(range(256))
    block.add_new(4, "OB", noise + NAME.encode() + noise)
    block.add_new(5, "OB", noise + NAME.encode("utf-16-be") + noise)
    block.add_new(6, "UT", base64.b64encode(b"name: " + NAME.encode()).decode())
    block.add_new(7, "OB", zlib.compress(noise + NAME.encode() * 3) + b"\0" * 2)
    safe = made.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    safe.add_new(0x0C, "IS", "1000")
    safe.add_new(0x08, "CS", "QXPRIVATE")


def ultrasound(made: Dataset) -> Dataset:
    """Return a picture of a device that shows text at its top, and says so."""
    made.Modality, made.Manufacturer, made.ManufacturerModelName = "US", "ACUSON", "SEQUOIA"
    made.BurnedInAnnotation, made.Rows, made.Columns = "YES", 480, 640
    drawn = np.random.default_rng(4).integers(1, 1000, (480, 640)).astype("<u2")
    made.PixelData = drawn.tobytes()
    return made


def document(image: Dataset) -> Dataset:
    """Return a letter as an encapsulated PDF."""
    made = derived(image, "1.2.840.10008.5.1.4.1.1.104.1", "DOC")
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.DocumentTitle = NOTE
    stream = zlib.compress(f"BT ({NOTE}) Tj ET".encode())
    made.EncapsulatedDocument = (
        b"%PDF-1.4 " + NAME.encode() + stream + b"\0" * (len(stream) % 2 + 1)
    )
    if len(made.EncapsulatedDocument) % 2:
        made.EncapsulatedDocument += b"\0"
    return made


def structures(image: Dataset) -> Dataset:
    """Return an RT structure set that refers to an image."""
    made = derived(image, "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    made.StructureSetLabel = OTHER_NAME
    made.ReferencedFrameOfReferenceSequence = Sequence(
        [item(FrameOfReferenceUID=image.FrameOfReferenceUID, RTReferencedStudySequence=Sequence(
            [item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
                  ReferencedSOPInstanceUID=image.StudyInstanceUID,
                  RTReferencedSeriesSequence=Sequence(
                      [item(SeriesInstanceUID=image.SeriesInstanceUID, ContourImageSequence=Sequence(
                          [item(ReferencedSOPClassUID=image.SOPClassUID,
                                ReferencedSOPInstanceUID=image.SOPInstanceUID)]))]))]))]
    )  # fmt: skip
    made.StructureSetROISequence = Sequence(
        [
            item(
                ROINumber=1,
                ROIName=f"GTV {OTHER_NAME}",
                ReferencedFrameOfReferenceUID=image.FrameOfReferenceUID,
            )
        ]
    )
    return made


def segmentation(image: Dataset) -> Dataset:
    """Return a segmentation that refers to an image."""
    made = sample("liver_1frame.dcm")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate",
                    "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID"):  # fmt: skip
        setattr(made, keyword, image[keyword].value)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.BurnedInAnnotation = generate_uid(), "NO"
    one = {
        "ReferencedSOPClassUID": image.SOPClassUID,
        "ReferencedSOPInstanceUID": image.SOPInstanceUID,
    }
    made.ReferencedSeriesSequence = Sequence(
        [
            item(
                SeriesInstanceUID=image.SeriesInstanceUID,
                ReferencedInstanceSequence=Sequence([item(**one)]),
            )
        ]
    )
    made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence = Sequence(
        [item(SourceImageSequence=Sequence([item(**one)]))]
    )
    return made


def report(image: Dataset) -> Dataset:
    """Return a structured report with a name, a text, a measurement and a reference."""
    made = derived(image, "1.2.840.10008.5.1.4.1.1.88.22", "SR")
    made.ValueType, made.CompletionFlag, made.VerificationFlag = (
        "CONTAINER",
        "COMPLETE",
        "UNVERIFIED",
    )

    def named(meaning: str) -> Sequence:
        return Sequence(
            [item(CodeValue="121071", CodingSchemeDesignator="DCM", CodeMeaning=meaning)]
        )

    made.ContentSequence = Sequence(
        [
            item(ValueType="PNAME", RelationshipType="HAS OBS CONTEXT",
                 ConceptNameCodeSequence=named("Person Observer Name"), PersonName=DOCTOR),
            item(ValueType="TEXT", RelationshipType="CONTAINS",
                 ConceptNameCodeSequence=named("Finding"), TextValue=NOTE),
            item(ValueType="NUM", RelationshipType="CONTAINS",
                 ConceptNameCodeSequence=named("Length"),
                 MeasuredValueSequence=Sequence([item(NumericValue="12.5")])),
            item(ValueType="IMAGE", RelationshipType="CONTAINS",
                 ReferencedSOPSequence=Sequence(
                     [item(ReferencedSOPClassUID=image.SOPClassUID,
                           ReferencedSOPInstanceUID=image.SOPInstanceUID)])),
        ]
    )  # fmt: skip
    return made


def derived(image: Dataset, sop_class: str, modality: str) -> Dataset:
    """Return an object of the patient and study of an image."""
    made = Dataset()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate",
                    "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        setattr(made, keyword, image[keyword].value)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.SeriesInstanceUID, made.Modality = generate_uid(), modality
    made.preamble = bytes(128)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def write(
    planted: Planted, made: Dataset, path: Path, *, is_image: bool = True, has_banner: bool = False
) -> None:
    """Write a file, and note the answers that every file, or every image, has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_as(path, enforce_file_format=False)
    uid = str(made.SOPInstanceUID)

    def answer(action: str, *place: Any, value: Any = None) -> None:
        planted.answers.append(Answer(action, uid, place, value))

    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        answer("uid_changed", keyword, value=str(made[keyword].value))
        answer("uid_consistent", keyword, value=str(made[keyword].value))
    answer("patid_consistent", "PatientID", value=ID)
    answer("date_shifted", "StudyDate", value=made.StudyDate)
    answer("text_notnull", "PatientID")
    answer("tag_retained", "Modality", value=made.Modality)
    for keyword in ("PatientName", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate"):
        answer("text_removed", keyword, value=str(made[keyword].value).replace("^", " ").split())
    if not is_image:
        return
    if has_banner:
        answer("pixels_hidden", "PixelData", value=made.pixel_array)
    else:
        answer("pixels_retained", "PixelData", value=made.pixel_array)
    answer("text_retained", "SeriesDescription", value=["T1", "axial", "3mm"])
    answer("text_removed", "SeriesDescription", value=["Quxhausen"])
    answer("text_retained", "StudyDescription", value=["CT", "chest"])
    answer("text_removed", "StudyDescription", value=["Vorplgruber"])
    answer("tag_retained", "Rows", value=made.Rows)
    answer(
        "tag_retained",
        "PixelSpacing",
        value=list(made.PixelSpacing) if "PixelSpacing" in made else None,
    )
    for keyword in ("PatientComments", "ImageComments", "InstitutionName", "StationName", "OtherPatientIDs",
                    "SequenceName", "PatientAddress", "ScanOptions", "FilterType", "ConvolutionKernel",
                    "PositionReferenceIndicator"):  # fmt: skip
        answer("text_removed", keyword, value=str(made[keyword].value).replace("^", " ").split())
