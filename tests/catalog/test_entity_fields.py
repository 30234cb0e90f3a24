"""What entities offer: their fields and types, names of codes, pages and extremes of counts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import image, write

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {
    "patients": {
        "PatientID": "VARCHAR", "PatientBirthDate": "DATE", "PatientSex": "VARCHAR", "given_name": "VARCHAR",
        "family_name": "VARCHAR", "middle_name": "VARCHAR", "name_prefix": "VARCHAR", "name_suffix": "VARCHAR",
        "full_name": "VARCHAR", "study_count": "BIGINT", "series_count": "BIGINT", "instance_count": "BIGINT",
        "latest_study_at": "TIMESTAMP",
    },
    "studies": {
        "StudyInstanceUID": "VARCHAR", "StudyDescription": "VARCHAR", "StudyDate": "DATE", "StudyTime": "TIME",
        "patient_count": "BIGINT", "series_count": "BIGINT", "instance_count": "BIGINT",
    },
    "series": {
        "SeriesInstanceUID": "VARCHAR", "SeriesNumber": "BIGINT", "SeriesDescription": "VARCHAR",
        "SeriesDate": "DATE", "SeriesTime": "TIME", "EchoTime": "DOUBLE", "InversionTime": "DOUBLE",
        "RepetitionTime": "DOUBLE", "EchoTrainLength": "BIGINT", "ScanningSequence": "VARCHAR[]",
        "SequenceVariant": "VARCHAR[]", "PixelSpacing": "DOUBLE[]", "SliceThickness": "DOUBLE",
        "Manufacturer": "VARCHAR", "ManufacturerModelName": "VARCHAR", "MagneticFieldStrength": "DOUBLE",
        "DeviceSerialNumber": "VARCHAR", "BodyPartExamined": "VARCHAR", "PatientPosition": "VARCHAR",
        "Modality": "VARCHAR", "InstitutionName": "VARCHAR", "OperatorsName": "VARCHAR[]",
        "ProtocolName": "VARCHAR", "FlipAngle": "DOUBLE", "pulse_sequence_name": "VARCHAR",
        "SequenceName": "VARCHAR", "MRAcquisitionType": "VARCHAR", "series_at": "TIMESTAMP",
        "spatial_resolution_mm": "DOUBLE[]", "study_key": "VARCHAR", "patient_key": "VARCHAR",
    },
    "images": {
        "SOPInstanceUID": "VARCHAR", "InstanceNumber": "BIGINT", "InstanceCreationDate": "DATE",
        "InstanceCreationTime": "TIME", "file_path": "VARCHAR", "series_key": "VARCHAR",
    },
    "sequence_types": {"series_key": "VARCHAR", "sequence_type": "VARCHAR"},
}  # fmt: skip
"""Fields of patient, study, series and image that django_dicom has, by the names they have here."""


@pytest.mark.acceptance("D40")
@pytest.mark.parametrize("view", FIELDS)
def test_an_entity_has_its_fields(sample: warehouse.Warehouse, view: str) -> None:
    columns = {row[0]: row[1] for row in answer_of(sample, f"describe {view}")}
    assert FIELDS[view].items() <= columns.items()


@pytest.mark.acceptance("D45")
def test_a_pulse_sequence_is_named_by_the_standard_or_by_ge_in_any_block(tmp_path: Path) -> None:
    standard = image("1.1", Modality="MR", SeriesInstanceUID="2.1", PulseSequenceName="epi2d")
    ge = image("1.2", Modality="MR", SeriesInstanceUID="2.2")
    ge.add_new(0x00190011, "LO", "GEMS_ACQU_01")
    ge.add_new(0x0019119C, "LO", "efgre3d")
    other = image("1.3", Modality="MR", SeriesInstanceUID="2.3")
    other.add_new(0x00190010, "LO", "SOMEBODY")
    other.add_new(0x0019109C, "LO", "no name")
    for number, made in enumerate((standard, ge, other)):
        write(tmp_path / "in" / f"{number}.dcm", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    assert answer_of(wh, "select pulse_sequence_name from series order by series_key") == [
        ("epi2d",), ("efgre3d",), (None,),
    ]  # fmt: skip


MODALITIES = """
    AR ASMT AU BDUS BMD BI CR CT CTPROTOCOL DG DOC DX ECG EPS FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR
    M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PLAN PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTPLAN
    RTRECORD RTSTRUCT RWV SEG SM SMR SR SRF STAIN TG US VA XA XC
""".split()  # noqa: SIM905


@pytest.mark.acceptance("D51")
def test_codes_have_names_to_join(sample: warehouse.Warehouse) -> None:
    known = {row[0] for row in answer_of(sample, "select Modality from modalities")}
    assert len(MODALITIES) == 65
    assert set(MODALITIES) <= known
    # Defined terms of PS3.3 C.7.3.1.1.1 that PS3.16 CID 33 does not have.
    assert {"ANN", "RTINTENT", "RTRAD", "RTSEGANN", "XAPROTOCOL"} <= known
    assert len(known) == 79
    counts = sample.sql("select attribute, count(*) from code_names group by all order by all")
    assert counts.fetchall() == [
        ("PatientPosition", 16), ("PatientSex", 3), ("ScanningSequence", 5), ("SequenceVariant", 8),
    ]  # fmt: skip
    joined = answer_of(
        sample,
        "select distinct PatientPosition, name from series "
        "left join code_names on attribute = 'PatientPosition' and code = PatientPosition "
        "where PatientPosition is not null order by 1",
    )
    assert ("HFS", "Head First-Supine") in joined
    assert all(name for _, name in joined)


# -- an archive of sixty series -------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Sixty series of 22 studies of 7 patients; one study is of two patients."""
    folder = tmp_path_factory.mktemp("archive")
    for n in range(75):
        series, study = n % 60, n % 60 % 22
        patient = 6 if n == 59 else study % 6
        write(
            folder / "in" / f"{n}.dcm", uid=f"1.{n}", SeriesInstanceUID=f"2.{series}",
            StudyInstanceUID=f"3.{study}", PatientID=f"P{patient}", StudyDate=f"2020{1 + study % 12:02}01",
        )  # fmt: skip
    made = warehouse.open(folder / "w", create=True)
    report = made.ingest(folder / "in", workers=1)
    assert report.created == 75
    return made


@pytest.mark.acceptance("D64")
def test_pages_hold_every_row_once_and_nothing_is_cut_off_unasked(
    archive: warehouse.Warehouse,
) -> None:
    pages = [
        [row[0] for row in archive.select("series", order="SeriesNumber", limit=25, offset=offset).fetchall()]
        for offset in (0, 25, 50, 75)
    ]  # fmt: skip
    assert [len(page) for page in pages] == [25, 25, 10, 0]
    whole = [row[0] for row in archive.select("series", order="SeriesNumber").fetchall()]
    assert [key for page in pages for key in page] == whole
    assert len(set(whole)) == 60


@pytest.mark.acceptance("D66")
def test_the_least_and_the_most_of_every_count_equal_a_loop(archive: warehouse.Warehouse) -> None:
    below: dict[str, dict[str, set[str]]] = {
        name: defaultdict(set)
        for name in ("patients series", "patients studies", "studies patients", "studies series")
    }
    images: dict[str, dict[str, int]] = {"patients": defaultdict(int), "studies": defaultdict(int)}
    for patient, study, series in answer_of(
        archive, "select PatientID, StudyInstanceUID, SeriesInstanceUID from instances"
    ):
        below["patients studies"][patient].add(study)
        below["patients series"][patient].add(series)
        below["studies patients"][study].add(patient)
        below["studies series"][study].add(series)
        images["patients"][patient] += 1
        images["studies"][study] += 1
    for view, other in (("patients", "study"), ("studies", "patient")):
        sizes = [
            [len(ids) for ids in below[f"{view} {'studies' if other == 'study' else 'patients'}"].values()],
            [len(ids) for ids in below[f"{view} series"].values()],
            list(images[view].values()),
        ]  # fmt: skip
        (row,) = answer_of(
            archive,
            f"select min({other}_count), max({other}_count), min(series_count), max(series_count), "
            f"min(instance_count), max(instance_count) from {view}",
        )
        assert row == tuple(bound(counts) for counts in sizes for bound in (min, max))
        assert row[0] < row[1]


def test_elements_and_what_says_which_file_join_without_a_clash(
    sample: warehouse.Warehouse,
) -> None:
    """`path` is the place of an element in its data set, `file_path` the file: in SQL and in Polars."""
    for table in ("instances", "files", "images"):
        joined = f"elements join {table} using (instance_id)"
        place, file = answer_of(sample, f"select path, file_path from {joined} limit 1")[0]
        assert place == "" or place.endswith("]")
        assert file.startswith("/")
        frame = sample.table("elements").join(sample.table(table), on="instance_id")
        names = frame.collect_schema().names()
        assert {"path", "file_path"} <= set(names)
        assert "path_right" not in names
