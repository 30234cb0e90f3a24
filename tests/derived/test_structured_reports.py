"""What structured reports say: their tree, TID 1500 as tables, and irradiation events."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

import warehouse
from tests.asking import answer_of
from tests.derived_objects import (
    DOSE_SR,
    code,
    dose_report,
    item,
    measured,
    number,
    report,
)
from tests.dicom_files import dataset, image, write
from tests.pixels.conftest import answered_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset


def chain(depth: int) -> Dataset:
    made = item("TEXT", "1", TextValue="bottom")
    for _ in range(depth):
        made = item("CONTAINER", "1", made)
    return made


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    folder = tmp_path_factory.mktemp("reports")
    loops = report(
        "1.88.3",
        item(
            "CONTAINER", "1",
            dataset(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 1]),
            dataset(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 2]),
            dataset(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 9, 9]),
        ),
        item("NUM", "2", MeasuredValueSequence=[dataset(NumericValue="1.5")]),
        dataset(RelationshipType="CONTAINS", ConceptNameCodeSequence=[code("1")]),
        template="2000",
    )  # fmt: skip
    no_number = write(folder / "in" / "no_number", report("1.88.4", item(
        "CONTAINER", "125007", number("1", "12345", "mm")
    ), template=None))  # fmt: skip
    no_number.write_bytes(no_number.read_bytes().replace(b"12345", b"12,45"))
    other = report("1.88.5", item("CONTAINER", "125007", number("1", "1", "mm")))
    other.ContentTemplateSequence[0].MappingResource = "99MINE"
    key_objects = report(
        "1.88.6", item("IMAGE", "1", ReferencedSOPSequence=[
            dataset(ReferencedSOPInstanceUID="1.1", ReferencedFrameNumber=[2, 5]),
        ]), template="2010", sop_class="1.2.840.10008.5.1.4.1.1.88.59", title="113000",
    )  # fmt: skip
    key_objects.Modality = "KO"
    objects = [measured(), dose_report(), loops, other, key_objects, report("1.88.7", chain(30))]
    for n, made in enumerate(objects):
        write(folder / "in" / f"{n}", made)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    with answered_once(made, "sr_content"):
        yield made


@pytest.mark.acceptance("R1")
def test_the_tree_is_that_of_the_file(sample: warehouse.Warehouse) -> None:
    """Every item of pydicom's two reports, walked through by pydicom."""

    def walked(place: Dataset, position: list[int]) -> list[tuple[Any, ...]]:
        name = place.get("ConceptNameCodeSequence") or []
        found: list[tuple[Any, ...]] = [(
            position, place.get("RelationshipType"), place.get("ValueType"),
            name[0].CodeValue if name else None,
        )]  # fmt: skip
        for n, child in enumerate(place.get("ContentSequence") or [], 1):
            found += walked(child, [*position, n])
        return found

    for name in ("reportsi.dcm", "test-SR.dcm"):
        read = pydicom.dcmread(str(get_testdata_file(name)), force=True)
        found = answer_of(
            sample,
            "select position, RelationshipType, ValueType, concept.CodeValue from sr_content "
            f"where SOPInstanceUID = '{read.SOPInstanceUID}' order by position",
        )
        assert found == walked(read, [1])


def test_items_have_their_values(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select value, NumericValue, unit.CodeValue, len(concept_codes), parent_path from sr_content "
        "where SOPInstanceUID = '1.88.1' and position[1:3] = [1, 1, 3] order by position",
    )
    group = "ContentSequence[0].ContentSequence[2]"
    assert rows[:4] == [
        (None, None, None, None, "ContentSequence[0]"),
        ("lesion 1", None, None, None, group), ("1.5.1", None, None, None, group),
        ("Mass", None, None, 2, group),
    ]  # fmt: skip
    assert ("200", 200.0, "mm3", None, group) in rows


@pytest.mark.acceptance("R5")
def test_references_by_position_are_judged_and_not_followed(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select position, ReferencedContentItemIdentifier, warning from sr_content "
        "where SOPInstanceUID = '1.88.3' and warning is not null order by position",
    )
    assert rows == [
        ([1, 1, 1], [1, 1], "it refers to an item that holds it: a loop"),
        ([1, 1, 3], [1, 9, 9], "it refers to an item that is not there"),
        ([1, 3], None, "it has no value type"),
    ]


def test_a_number_that_is_none_has_no_value_and_a_reason(wh: warehouse.Warehouse) -> None:
    ((value, number_, warning),) = answer_of(
        wh,
        "select value, NumericValue, warning from sr_content where SOPInstanceUID = '1.88.4' and ValueType = 'NUM'",
    )
    assert (value, number_) == ("12,45", None)
    assert warning.startswith("its number cannot be read: ")


def test_key_objects_refer_to_frames(wh: warehouse.Warehouse) -> None:
    found = answer_of(
        wh,
        "select instance_references from sr_content where SOPInstanceUID = '1.88.6' and depth = 1",
    )
    assert found == [([{
        "ReferencedSOPClassUID": None, "ReferencedSOPInstanceUID": "1.1",
        "ReferencedFrameNumber": [2, 5], "ReferencedSegmentNumber": None,
    }],)]  # fmt: skip


def test_items_lie_as_deep_as_the_file_says(wh: warehouse.Warehouse) -> None:
    found = answer_of(
        wh,
        "select max(depth), count(*), arg_max(value, depth) from sr_content where SOPInstanceUID = '1.88.7'",
    )
    assert found == [(31, 32, "bottom")]


def test_groups_have_the_columns_of_idc(wh: warehouse.Warehouse) -> None:
    """Names of ImagingDataCommons/etl_flow, derived_data_views; all findings beside the first."""
    rows = answer_of(
        wh,
        "select measurementGroup_number, trackingIdentifier, trackingUniqueIdentifier, finding.CodeMeaning, "
        "findingSite.CodeMeaning, lateralityModifier.CodeMeaning, sourceSegmentedSeriesUID, "
        "segmentationInstanceUID, segmentationSeriesUID, segmentationSegmentNumber, segment_numbers, "
        "list_transform(findings, lambda one: one.CodeMeaning), PatientID, SeriesInstanceUID "
        "from measurement_groups order by measurementGroup_number",
    )
    assert rows == [
        (0, *[None] * 11, "P1", "1.88.1.0"),
        (
            2, "lesion 1", "1.5.1", "Mass", "Lung", "Left", "1.7.1", "1.66.1", "1.66.0", 3, [3, 4],
            ["Mass", "Also", "Lesion"], "P1", "1.88.1.0",
        ),
    ]  # fmt: skip
    literal = {
        "measurement_groups": "SOPInstanceUID SeriesInstanceUID measurementGroup_number trackingUniqueIdentifier "
        "trackingIdentifier PatientID SeriesDescription finding findingSite sourceSegmentedSeriesUID "
        "segmentationInstanceUID segmentationSegmentNumber contentSequence",
        "quantitative_measurements": "PatientID SOPInstanceUID SeriesInstanceUID SeriesDescription "
        "measurementGroup_number segmentationInstanceUID segmentationSeriesUID segmentationSegmentNumber "
        "sourceSegmentedSeriesUID trackingIdentifier trackingUniqueIdentifier Quantity derivationModifier "
        "Value Units finding findingSite lateralityModifier",
        "qualitative_measurements": "PatientID SOPInstanceUID SeriesInstanceUID SeriesDescription "
        "measurementGroup_number segmentationInstanceUID segmentationSeriesUID segmentationSegmentNumber "
        "sourceSegmentedSeriesUID trackingIdentifier trackingUniqueIdentifier Quantity Value finding findingSite",
    }
    for name, names in literal.items():
        assert set(names.split()) <= set(wh.describe(name)["column"])


def test_numbers_of_groups(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select measurementGroup_number, Quantity.CodeValue, derivationModifier.CodeMeaning, Value, "
        "Units.CodeValue, own_finding_site.CodeMeaning, value_why_not from quantitative_measurements order by path",
    )
    assert rows == [
        (0, "81827009", None, 12.5, "mm", None, None),
        (2, "118565006", "Mean", 200.0, "mm3", "Left lung", None),
        (2, "118565006", None, None, None, None, "Measurement failure"),
    ]


def test_answers_of_groups(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select Quantity.CodeValue, Value.CodeMeaning, list_transform(answers, lambda one: one.CodeMeaning), "
        "finding.CodeMeaning from qualitative_measurements",
    )
    assert rows == [("111037", "a", ["a", "b"], "Mass")]


def test_a_number_of_more_digits_than_text_holds_counts(tmp_path: Path) -> None:
    """Floating Point Value is the same number; where it is another one, neither is."""
    numbers = [
        number("1", "-119.07385253906", "mm"),
        number("1", "2", "mm"),
        number("1", "0", "mm"),
    ]
    for one, value in zip(numbers, (-119.0738525390625, 3.0, 0.0), strict=True):
        one.MeasuredValueSequence[0].FloatingPointValue = value
    write(tmp_path / "in" / "a", report("1.88.9", item("CONTAINER", "125007", *numbers)))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    why = "its Floating Point Value contradicts its Numeric Value"
    found = wh.sql("select Value, value_why_not from quantitative_measurements order by path")
    assert found.fetchall() == [(-119.0738525390625, None), (None, why), (0, None)]


@pytest.mark.acceptance("R3")
def test_reports_without_groups_say_why(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select SOPInstanceUID, measurement_group_count, measurements_why_not from sr_documents order by all",
    )
    assert rows == [
        ("1.88.1", 2, None), ("1.88.2", 0, "its template is not TID 1500 of DCMR"),
        ("1.88.3", 0, "its template is not TID 1500 of DCMR"),
        ("1.88.4", 1, "the document names no template"),
        ("1.88.5", 1, "its template is not TID 1500 of DCMR"),
        ("1.88.6", 0, "its template is not TID 1500 of DCMR"),
        ("1.88.7", 0, "it has no measurement group (125007, DCM)"),
    ]  # fmt: skip


@pytest.mark.acceptance("R4")
def test_irradiation_events_are_in_one_unit(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select kind, IrradiationEventUID, acquisition_protocol, target_region.CodeMeaning, "
        "acquisition_type.CodeMeaning, ctdi_vol_mgy, dlp_mgycm, dap_gym2, dose_rp_gy, kvp_kv, tube_current_ma, "
        "why_not from irradiation_events order by path",
    )
    assert rows == [
        ("CT", "1.5.7", "Head", "Head", "Spiral", 53.1, 900.0, None, None, 120.0, 250.0, None),
        (
            "X-ray", "1.5.8", None, None, None, None, None, pytest.approx(250e-6), None, None, None,
            "words that nobody reads: unit rad",
        ),
    ]  # fmt: skip


def test_only_numbers_that_are_null_have_a_reason(tmp_path: Path) -> None:
    """The kV of one source is known, that of the other is not; no current is known."""
    sources = [
        item("CONTAINER", "113831", number("113733", *kv), number("113734", "1", "rad"))
        for kv in (("120", "kV"), ("140", "kVp"))
    ]
    write(tmp_path / "in" / "a", report(
        "1.88.9", item("CONTAINER", "113819", *sources), template="10011", sop_class=DOSE_SR
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    ((kvp, current, why),) = answer_of(
        wh, "select kvp_kv, tube_current_ma, why_not from irradiation_events"
    )
    assert (kvp, current) == (120, None)
    assert why == "; ".join(["words that nobody reads: unit rad"] * 2)


def test_doses_and_measurements_read_a_number_alike(tmp_path: Path) -> None:
    """PS3.3 C.18.1: Floating Point Value is the same number as Numeric Value, with all digits."""
    doses = [number("113830", "12.5", "mGy"), number("113838", "3.3333333333333", "mGy.cm")]
    for one, value in zip(doses, (99.0, 10 / 3), strict=True):
        one.MeasuredValueSequence[0].FloatingPointValue = value
    write(tmp_path / "in" / "a", report(
        "1.88.9", item("CONTAINER", "113819", *doses), template="10011", sop_class=DOSE_SR
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    ((ctdi, dlp, why),) = answer_of(
        wh, "select ctdi_vol_mgy, dlp_mgycm, why_not from irradiation_events"
    )
    assert (ctdi, dlp) == (None, 10 / 3)
    assert why.endswith("its Floating Point Value contradicts its Numeric Value")


@pytest.mark.parametrize(
    "count",
    [
        100,
        pytest.param(1000, marks=pytest.mark.long("test_a_tree_of_many_nodes_is_quick")),
        pytest.param(33_333, marks=pytest.mark.slow),
    ],
)
def test_a_tree_of_many_nodes_is_quick(tmp_path: Path, count: int) -> None:
    """Events of two items each: an event is joined with what it holds, not with all."""
    events = [
        item("CONTAINER", "113819", number("113830", str(n), "mGy"), item("UIDREF", "113769", UID=f"1.{n}"))
        for n in range(count)
    ]  # fmt: skip
    write(tmp_path / "in" / "a", report("1.88.9", *events, template="10011", sop_class=DOSE_SR))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    began = time.process_time()
    nodes = answer_of(wh, "select count(*), max(position[2]) from sr_content")
    assert nodes == [(3 * count + 1, count)]
    found = wh.sql(
        "select count(distinct IrradiationEventUID), sum(ctdi_vol_mgy) from irradiation_events"
    )
    assert found.fetchall() == [(count, sum(range(count)))]
    spent = time.process_time() - began
    assert spent < 2 + count / 5000


# -- highdicom as the oracle ----------------------------------------------------------------------


def made_by_highdicom(sources: list[Dataset]) -> Dataset:
    """Return a report of image, planar and volumetric measurements."""
    pytest.importorskip("highdicom")
    from highdicom import sr
    from pydicom.sr.codedict import codes

    def tracking(n: int) -> Any:
        return sr.TrackingIdentifier(uid=f"1.5.{n}", identifier=f"lesion {n}")

    def length(value: float) -> Any:
        return sr.Measurement(
            name=codes.SCT.Length,
            value=value,
            unit=codes.UCUM.Millimeter,
            derivation=codes.SCT.Mean,
        )

    referenced = sr.SourceImageForSegmentation(sources[0].SOPClassUID, sources[0].SOPInstanceUID)
    evaluation = sr.QualitativeEvaluation(codes.DCM.LevelOfSignificance, codes.SCT.NotSignificant)
    groups = [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(1), measurements=[length(1.25)],
            finding_type=codes.SCT.Mass, qualitative_evaluations=[evaluation],
        ),
        sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(2), measurements=[length(2.5), length(3.75)],
            finding_type=codes.SCT.Neoplasm, finding_sites=[sr.FindingSite(
                codes.SCT.Lung, laterality=codes.SCT.Right
            )],
            referenced_region=sr.ImageRegion(
                sr.GraphicTypeValues.CIRCLE, np.array([[1, 1], [2, 2]]),
                sr.SourceImageForRegion(sources[0].SOPClassUID, sources[0].SOPInstanceUID),
            ),
        ),
        sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(3), measurements=[length(4.0)],
            finding_type=codes.SCT.Lesion, referenced_segment=sr.ReferencedSegment(
                "1.2.840.10008.5.1.4.1.1.66.4", "1.66.7", 5, [1, 2], source_images=[referenced]
            ),
        ),
    ]  # fmt: skip
    context = sr.ObservationContext(
        observer_person_context=sr.ObserverContext(
            codes.DCM.Person, sr.PersonObserverIdentifyingAttributes("Doe^John")
        )
    )
    made = sr.MeasurementReport(
        context, procedure_reported=codes.LN.CTUnspecifiedBodyRegion, imaging_measurements=groups
    )
    return sr.Comprehensive3DSR(
        evidence=sources, content=made, series_instance_uid="1.88.0", series_number=1,
        sop_instance_uid="1.88.8", instance_number=1, manufacturer="M",
    )  # fmt: skip


Rows = list[tuple[Any, ...]]


def read_by_highdicom(read: Any) -> tuple[Rows, Rows]:
    """Return numbers and answers of all groups, sorted."""
    numbers: Rows = []
    answers: Rows = []
    for group in (
        *read.get_image_measurement_groups(), *read.get_planar_roi_measurement_groups(),
        *read.get_volumetric_roi_measurement_groups(),
    ):  # fmt: skip
        finding, sites = group.finding_type, group.finding_sites
        key = (group.tracking_identifier, group.tracking_uid, finding and finding.value)
        side = sites[0].laterality if sites else None
        numbers += [
            (
                *key, sites[0].value.value if sites else None, side and side.value,
                one.name.value, float(one.value), one.unit.value,
                one.derivation.value if one.derivation else None,
            )
            for one in group.get_measurements()
        ]  # fmt: skip
        answers += [
            (*key, one.name.value, one.value.value) for one in group.get_qualitative_evaluations()
        ]
    return sorted(numbers, key=str), sorted(answers, key=str)


def rows_of(wh: warehouse.Warehouse, uid: str) -> tuple[Rows, Rows]:
    """Return the same from the views."""
    keys = "trackingIdentifier, trackingUniqueIdentifier, finding.CodeValue"
    numbers = answer_of(wh,
        f"select {keys}, findingSite.CodeValue, lateralityModifier.CodeValue, Quantity.CodeValue, Value, "
        "Units.CodeValue, derivationModifier.CodeValue from quantitative_measurements where SOPInstanceUID = $1",
        [uid],
    )  # fmt: skip
    answers = answer_of(wh,
        f"select {keys}, Quantity.CodeValue, Value.CodeValue from qualitative_measurements "
        "where SOPInstanceUID = $1", [uid],
    )  # fmt: skip
    return sorted(numbers, key=str), sorted(answers, key=str)


@pytest.mark.acceptance("R2")
def test_rows_equal_the_reading_of_highdicom(tmp_path: Path) -> None:
    """Groups, numbers with units, answers, in each of the three kinds of groups of TID 1500."""
    source = image(
        "1.1", StudyDate="20240101", StudyTime="101500", FrameOfReferenceUID="1.3", StudyID="1",
        AccessionNumber="", PatientBirthDate="", PatientSex="", ReferringPhysicianName="",
    )  # fmt: skip
    segmentation = image(
        "1.66.7",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4",
        SeriesInstanceUID="1.66.0",
        Modality="SEG",
    )
    document = made_by_highdicom([source, segmentation])
    path = write(tmp_path / "in" / "report", document)
    from highdicom import sr

    expected, answers = read_by_highdicom(sr.srread(path).content)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert rows_of(wh, "1.88.8") == (expected, answers)
    assert len(expected) == 4
    assert answer_of(
        wh,
        "select segmentationInstanceUID, segmentationSeriesUID, segmentationSegmentNumber from measurement_groups "
        "where segmentationInstanceUID is not null",
    ) == [("1.66.7", "1.66.0", 5)]


def real_reports() -> list[Path]:
    """Return the reports of TID 1500 in $DICOM_CORPUS."""
    folder = Path(os.environ.get("DICOM_CORPUS", "/nowhere")) / "derived_objects"
    return sorted(folder.glob("sr_document*.dcm"))


@pytest.mark.skipif(not real_reports(), reason="DICOM_CORPUS names no folder with reports")
def test_rows_of_real_reports_equal_the_reading_of_highdicom(tmp_path: Path) -> None:
    from highdicom import sr

    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*real_reports(), workers=1)
    count = 0
    for path in real_reports():
        read = sr.srread(path)
        expected = read_by_highdicom(read.content)
        assert rows_of(wh, read.SOPInstanceUID) == expected
        count += len(expected[0]) + len(expected[1])
    assert count >= 9
