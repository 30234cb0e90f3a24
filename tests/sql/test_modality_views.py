"""What ``ct_series``, ``mr_series``, ``pt_series``, ``seg_series``, ``sr_documents`` … say of a file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, image, write
from tests.flat import planned_once

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def code(value: str, meaning: str, scheme: str = "SCT") -> list[Dataset]:
    return [dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def of(modality: str, number: int, **attributes: Any) -> Dataset:
    """Return an instance of the one series of a modality."""
    usual = {
        "SOPInstanceUID": f"1.{modality.encode().hex()[:4]}.{number}".replace("a", "1"), "Modality": modality,
        "SeriesInstanceUID": f"2.{sum(modality.encode())}", "SeriesDescription": modality,
    }  # fmt: skip
    return image(**(usual | attributes))


def tracer(**attributes: Any) -> list[Dataset]:
    return [dataset(
        Radiopharmaceutical="FDG", RadiopharmaceuticalStartTime="093000", RadionuclideTotalDose="370000000",
        RadionuclideHalfLife="6586.2", RadionuclideCodeSequence=code("C-111A1", "18F", "SRT"),
        RadiopharmaceuticalCodeSequence=code("C-B1031", "Fluorodeoxyglucose", "SRT"), **attributes,
    )]  # fmt: skip


def pet(number: int, **attributes: Any) -> Dataset:
    usual = {
        "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "SeriesType": ["WHOLE BODY", "IMAGE"], "PatientWeight": "71.5", "SeriesDate": "20200102",
        "SeriesTime": "101500", "RadiopharmaceuticalInformationSequence": tracer(), "NumberOfSlices": 2,
    }  # fmt: skip
    return of("PT", number, **(usual | attributes))


def segment(number: int, label: str, meaning: str, algorithm: str) -> Dataset:
    return dataset(
        SegmentNumber=number, SegmentLabel=label, SegmentAlgorithmType=algorithm,
        SegmentedPropertyCategoryCodeSequence=code("91723000", "Anatomical Structure"),
        SegmentedPropertyTypeCodeSequence=code(f"1020000{number}", meaning),
    )  # fmt: skip


def segmentation(number: int, **attributes: Any) -> Dataset:
    frame = dataset(SegmentIdentificationSequence=[dataset(ReferencedSegmentNumber=2)])
    frame.DerivationImageSequence = [
        dataset(SourceImageSequence=[dataset(ReferencedSOPInstanceUID="1.4354.1")])
    ]
    return of(
        "SEG", number, SOPClassUID=SEG, SegmentationType="BINARY", NumberOfFrames=1,
        SegmentSequence=[segment(1, "b", "Spleen", "MANUAL"), segment(2, "a", "Liver", "AUTOMATIC")],
        PerFrameFunctionalGroupsSequence=[frame], **attributes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    folder = tmp_path_factory.mktemp("modalities")
    files = [
        of("CT", 1, XRayTubeCurrent=100, Exposure=5, FilterType="FLAT", SpiralPitchFactor=0.9,
           ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], GantryDetectorTilt="-3.5"),
        of("CT", 2, XRayTubeCurrent=250, Exposure=3, FilterType="WEDGE", ReconstructionDiameter="350",
           ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        of("MR", 1, EchoTime="4.9", TemporalPositionIdentifier=1, ImagedNucleus="1H", PixelBandwidth="300"),
        of("MR", 2, EchoTime="2.4", TemporalPositionIdentifier=1, DiffusionBValue=1000.0),
        of("MR", 3, EchoTime="4.9", TemporalPositionIdentifier=2, DiffusionBValue=0.0, SAR="0.1"),
        pet(1), pet(2, Units="CNTS", RadiopharmaceuticalInformationSequence=None),
        segmentation(1),
    ]  # fmt: skip
    files[0].SOPInstanceUID = "1.4354.1"
    for number, content in enumerate(files):
        write(folder / "in" / f"{number}.dcm", content)
    wh = warehouse.open(folder / "w", create=True)
    report = wh.ingest(folder / "in", mode="normal", workers=1)
    assert (report.created, report.rejected) == (len(files), 0)
    return planned_once(wh, *OF_MODALITIES.values())


OF_MODALITIES = {name.upper(): f"{name}_series" for name in ("ct", "mr", "pt", "seg")}


def only(
    asked: warehouse.Warehouse | duckdb.DuckDBPyConnection, view: str, *columns: str
) -> tuple[Any, ...]:
    connection = asked.catalog.connection if isinstance(asked, warehouse.Warehouse) else asked
    (row,) = connection.execute(f"select {', '.join(columns)} from {view}").fetchall()
    return row


def test_a_ct_series_has_ranges_where_images_differ_and_the_first_value_elsewhere(
    made: duckdb.DuckDBPyConnection,
) -> None:
    assert only(
        made, "ct_series", "tube_current_min_ma", "tube_current_max_ma", "exposure_min_mas", "exposure_max_mas",
        "FilterType", "ReconstructionDiameter", "SpiralPitchFactor", "gantry_tilt_degrees", "is_localizer",
        "instance_count", "SeriesDescription",
    ) == (100, 250, 3, 5, "FLAT", 350.0, 0.9, -3.5, True, 2, "CT")  # fmt: skip


def test_an_mr_series_lists_what_its_images_differ_in(made: duckdb.DuckDBPyConnection) -> None:
    assert only(
        made, "mr_series", "echo_times_ms", "b_values", "temporal_position_count", "ImagedNucleus",
        "PixelBandwidth", "SAR", "ReceiveCoilName",
    ) == ([2.4, 4.9], [0.0, 1000.0], 2, "1H", 300.0, 0.1, None)  # fmt: skip


def test_a_pt_series_has_its_tracer_and_corrections(made: duckdb.DuckDBPyConnection) -> None:
    assert only(
        made, "pt_series", "Units", "SeriesType", "CorrectedImage", "Radiopharmaceutical", "radionuclide_meaning",
        "radiopharmaceutical_meaning", "RadionuclideTotalDose", "RadionuclideHalfLife",
        "RadiopharmaceuticalStartTime", "PatientWeight", "NumberOfSlices", "has_suv_attributes",
    ) == (
        "BQML", ["WHOLE BODY", "IMAGE"], ["DECY", "ATTN", "SCAT"], "FDG", "18F", "Fluorodeoxyglucose", 3.7e8,
        6586.2, dt.time(9, 30), 71.5, 2, True,
    )  # fmt: skip


LACKING: list[dict[str, Any]] = [
    {"Units": "CNTS"}, {"DecayCorrection": "NONE"}, {"CorrectedImage": ["ATTN"]}, {"CorrectedImage": None},
    {"PatientWeight": None}, {"PatientWeight": "0"}, {"SeriesDate": None},
    {"RadiopharmaceuticalInformationSequence": None},
]  # fmt: skip
OFFSET = "RadiopharmaceuticalStartDateTime has an offset from UTC"
DIFFER = "RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime differ"
SHORT = "the start of the radiopharmaceutical is stated without minutes"
HOUR = 3600.0
CLOCKS: list[tuple[str | None, str | None, str | None, str | None, float | None, str | None]] = [
    # https://github.com/rordenlab/dcm2niix/issues/978,
    # https://github.com/QIICR/Slicer-PETDICOMExtension/issues/28; PS3.3 C.12.1.1.8.
    ("+0900", "091600", "20240102091600", "101600", HOUR, None),
    ("+0900", "091600", "20240102091600+0900", "101600", HOUR, None),
    (" +0900", None, "20240102091600+0900", "101600", HOUR, None),
    # Written in UTC, or in another clock, by a device that says which is its own.
    ("-0330", "091600", "20240102124600+0000", "101600", HOUR, None),
    (None, "091600", "20240102091600", "101600", HOUR, None),
    (None, "091600", None, "101600", HOUR, None),
    # The clock of the date-time is unknown: the time of day is in that of the series.
    (None, "091600", "20240102001600+0000", "101600", HOUR, None),
    (None, None, "20240102001600+0000", "101600", None, OFFSET),
    ("wrong", None, "20240102001600+0000", "101600", None, OFFSET),
    # Over midnight.
    (None, "233000", None, "003000", HOUR, None),
    ("-0500", None, "20240102043000+0000", "003000", HOUR, None),
    # What contradicts itself is no uptake time.
    ("+0900", "001600", "20240102091600+0900", "101600", None, DIFFER),
    (None, None, "20240102111600", "101600", None, "the radiopharmaceutical starts after"),
    (None, None, None, "101600", None, "no start of the radiopharmaceutical"),
    (None, "091600", None, None, None, "no date and time of series or acquisition"),
    # PS3.5 6.2: what a shorter DT or TM leaves out is not stated; it is not midnight.
    (None, None, "20240102", "101600", None, SHORT),
    (None, None, "2024010209", "101600", None, SHORT),
    (None, "09", None, "101600", None, SHORT),
    (None, "0916", "20240102", "101600", HOUR, None),
    (None, None, "202401020916", "101600", HOUR, None),
    # What it does state counts: the date of the injection, and the hour.
    (None, "091600", "20240101", "101600", 25 * HOUR, None),
    (None, "233000", "20240101", "003000", HOUR, None),
    (None, "091600", "2024010209", "101600", HOUR, None),
    (None, "091600", "2024010208", "101600", None, DIFFER),
    (None, "08", "20240102091600", "101600", None, DIFFER),
]


def clocked(
    uids: dict[str, str], zone: str | None, start: str | None, start_at: str | None, series: str | None
) -> Dataset:  # fmt: skip
    """Return a PET whose times are in these clocks."""
    given = tracer()
    del given[0].RadiopharmaceuticalStartTime
    if start:
        given[0].RadiopharmaceuticalStartTime = start
    if start_at:
        given[0].RadiopharmaceuticalStartDateTime = start_at
    return pet(
        1, TimezoneOffsetFromUTC=zone, SeriesDate="20240102", SeriesTime=series,
        RadiopharmaceuticalInformationSequence=given, **uids,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the row of each PET series: ``3.N`` lacks something, ``4.N`` has its own clocks."""
    folder = tmp_path_factory.mktemp("pets")

    def uids(series: str) -> dict[str, str]:
        return {
            "SOPInstanceUID": f"{series}.1", "SeriesInstanceUID": series, "StudyInstanceUID": f"{series}.2",
        }  # fmt: skip

    for n, lacking in enumerate(LACKING):
        write(folder / "in" / f"3.{n}", pet(1, **lacking, **uids(f"3.{n}")))
    for n, (*clocks, _, _) in enumerate(CLOCKS):
        write(folder / "in" / f"4.{n}", clocked(uids(f"4.{n}"), *clocks))
    wh = warehouse.open(folder / "w", create=True)
    assert wh.ingest(folder / "in", workers=1).created == len(LACKING) + len(CLOCKS)
    rows = planned_once(wh, "pt_series").sql("from pt_series").pl().to_dicts()
    return {row["series_key"]: row for row in rows}


@pytest.mark.parametrize("number", range(len(LACKING)))
def test_without_any_of_its_parts_no_suv(pets: dict[str, dict[str, Any]], number: int) -> None:
    assert pets[f"3.{number}"]["has_suv_attributes"] is False


@pytest.mark.parametrize("number", range(len(CLOCKS)))
def test_the_uptake_time_is_in_one_clock(pets: dict[str, dict[str, Any]], number: int) -> None:
    zone, _, start_at, _, expected, why = CLOCKS[number]
    row = pets[f"4.{number}"]
    assert row["uptake_time_s"] == expected
    assert row["has_suv_attributes"] == (expected is not None)
    reason = row["uptake_why_not"]
    assert reason == why or reason.startswith(why)
    if zone == "+0900" and start_at:
        nine = dt.datetime(2024, 1, 2, 9, 16)  # noqa: DTZ001
        assert row["RadiopharmaceuticalStartDateTime"] == nine


def test_a_series_processed_later_began_with_its_first_acquisition(tmp_path: Path) -> None:
    for n, at in enumerate(("103000", "101600")):
        made = pet(
            n, SeriesDate="20240102", SeriesTime="170000", AcquisitionDate="20240102",
            AcquisitionTime=at,
        )  # fmt: skip
        write(tmp_path / "in" / f"{n}.dcm", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert only(wh, "pt_series", "uptake_time_s") == (46 * 60.0,)


def test_a_tracer_that_is_injected_during_the_scan_is_not_of_the_day_before(tmp_path: Path) -> None:
    """A dynamic scan begins before the injection, which is stated as a time without a day."""
    given = tracer()
    given[0].RadiopharmaceuticalStartTime = "101630"
    for n, at in enumerate(("101600", "104600")):
        made = pet(
            n, SeriesDate="20240102", SeriesTime="101600", AcquisitionDate="20240102",
            AcquisitionTime=at, RadiopharmaceuticalInformationSequence=given,
        )  # fmt: skip
        write(tmp_path / "in" / f"{n}.dcm", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    columns = "uptake_time_s, uptake_why_not"
    assert only(wh, "pt_series", columns) == (None, "the radiopharmaceutical starts after the scan")


def test_segments_have_their_codes_and_frames(made: duckdb.DuckDBPyConnection) -> None:
    rows = made.execute(
        "select item, SegmentNumber, SegmentLabel, SegmentAlgorithmType, property_category, property_type, "
        "property_type_code, anatomic_region, frame_count from segments order by item"
    ).fetchall()
    assert rows == [
        (0, 1, "b", "MANUAL", "Anatomical Structure", "Spleen", "SCT:10200001", None, 0),
        (1, 2, "a", "AUTOMATIC", "Anatomical Structure", "Liver", "SCT:10200002", None, 1),
    ]


def test_a_segmentation_names_its_images_or_their_frames_do(
    made: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert only(
        made, "seg_series", "segment_count", "segment_labels", "algorithm_types", "property_types",
        "anatomic_regions", "SegmentationType", "referenced_series_uids",
    ) == (
        2, ["a", "b"], ["AUTOMATIC", "MANUAL"], ["Liver", "Spleen"], None, "BINARY", [f"2.{sum(b'CT')}"],
    )  # fmt: skip
    named = segmentation(1, ReferencedSeriesSequence=[dataset(SeriesInstanceUID="2.77")])
    write(tmp_path / "in" / "a.dcm", named)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert only(wh, "seg_series", "referenced_series_uids") == (["2.77"],)


def test_an_unknown_source_is_no_series(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", segmentation(1))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert only(wh, "seg_series", "segment_count", "referenced_series_uids") == (2, None)


# -- files of pydicom's package, against pydicom --------------------------------------------------


def test_structures_are_those_that_pydicom_finds(sample: warehouse.Warehouse) -> None:
    read = pydicom.dcmread(str(get_testdata_file("rtstruct.dcm")), force=True)
    observed = {o.ReferencedROINumber: o for o in read.RTROIObservationsSequence}
    drawn = {c.ReferencedROINumber: c.ContourSequence for c in read.ROIContourSequence}
    expected = [
        (
            n, roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm, roi.get("ROIVolume"),
            observed[roi.ROINumber].RTROIInterpretedType, len(drawn[roi.ROINumber]),
            sum(c.NumberOfContourPoints for c in drawn[roi.ROINumber]),
            sorted({c.ContourGeometricType for c in drawn[roi.ROINumber]}), read.StructureSetLabel,
            ["1.2.826.0.1.3680043.8.498.2010020400001.2.1.1"],
        )
        for n, roi in enumerate(read.StructureSetROISequence)
    ]  # fmt: skip
    found = answer_of(
        sample,
        "select item, ROINumber, ROIName, ROIGenerationAlgorithm, ROIVolume, RTROIInterpretedType, contour_count, "
        "point_count, contour_types, StructureSetLabel, referenced_series_uids from rt_structures order by item",
    )
    assert found == expected


def content_items(item: Dataset) -> list[str]:
    return [
        found
        for child in item.get("ContentSequence", [])
        for found in [child.get("ValueType", ""), *content_items(child)]
    ]


def test_reports_are_those_that_pydicom_finds(sample: warehouse.Warehouse) -> None:
    for name in ("reportsi.dcm", "test-SR.dcm"):
        read = pydicom.dcmread(str(get_testdata_file(name)), force=True)
        title = read.ConceptNameCodeSequence[0]
        kinds = content_items(read)
        (row,) = answer_of(
            sample,
            "select document_title, document_title_code, CompletionFlag, VerificationFlag, content_item_count, "
            f"measurement_count, image_reference_count from sr_documents where SOPInstanceUID = '{read.SOPInstanceUID}'",
        )
        assert row == (
            title.CodeMeaning, f"{title.CodingSchemeDesignator}:{title.CodeValue}", read.CompletionFlag,
            read.VerificationFlag, len([kind for kind in kinds if kind]), kinds.count("NUM"), kinds.count("IMAGE"),
        )  # fmt: skip


def test_evidence_and_template_of_a_report(tmp_path: Path) -> None:
    evidence = dataset(
        ReferencedSeriesSequence=[dataset(SeriesInstanceUID=uid) for uid in ("2.9", "2.1")]
    )
    content = image(
        "1.1", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.59", Modality="KO", PixelData=None,
        ConceptNameCodeSequence=code("113000", "Of Interest", "DCM"),
        ContentTemplateSequence=[dataset(MappingResource="DCMR", TemplateIdentifier="2010")],
        CurrentRequestedProcedureEvidenceSequence=[evidence], PreliminaryFlag="FINAL",
    )  # fmt: skip
    write(tmp_path / "in" / "a.dcm", content)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert only(
        wh, "sr_documents", "Modality", "document_title", "document_title_code", "template", "PreliminaryFlag",
        "content_item_count", "referenced_series_uids",
    ) == ("KO", "Of Interest", "DCM:113000", "2010", "FINAL", 0, ["2.1", "2.9"])  # fmt: skip


# -- every view agrees with the entities ----------------------------------------------------------


@pytest.mark.parametrize("modality", OF_MODALITIES)
def test_every_series_of_the_modality_has_one_row(
    made: duckdb.DuckDBPyConnection, tables_of_sample: duckdb.DuckDBPyConnection, modality: str
) -> None:
    for asked in (made, tables_of_sample):
        ours, expected = (
            asked.execute(f"select series_key, instance_count from {told} order by 1").fetchall()
            for told in (OF_MODALITIES[modality], f"series where Modality = '{modality}'")
        )
        assert ours == expected != []
