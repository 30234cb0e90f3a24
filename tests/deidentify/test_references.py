"""References of derived objects lead after an export where they led before: our view, and highdicom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

import warehouse
from tests.asking import cohort_of
from tests.derived.test_structured_reports import made_by_highdicom
from tests.dicom_files import dataset, image, write
from warehouse.deidentify.key import Key
from warehouse.deidentify.options import Deidentify

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

pytest.importorskip("highdicom")
KEY = Key(b"k" * 32)
ROWS, COLUMNS, DEPTH = 4, 6, 5
REFERENCES = (
    "select purpose, referenced_instance_uid, referenced_series_uid, SOPInstanceUID, is_dangling, "
    "reference_count from object_references"
)


@dataclass(frozen=True)
class Archive:
    """Images with a segmentation and a report, before and after."""

    before: warehouse.Warehouse
    after: warehouse.Warehouse
    folder: Path
    labels: np.ndarray

    def exported(self, old: str) -> Path:
        (path,) = self.folder.rglob(f"{KEY.uid(old)}.dcm")
        return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    from highdicom import seg
    from pydicom.sr.codedict import codes

    root = tmp_path_factory.mktemp("references")
    sources = [
        image(
            f"1.1.{n}", Rows=ROWS, Columns=COLUMNS, PixelData=bytes(ROWS * COLUMNS),
            FrameOfReferenceUID="1.3", ImagePositionPatient=[0, 3.5, 2.0 * n], PixelSpacing=[1, 1],
            SliceThickness=2, StudyID="1", ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            InstanceNumber=n + 1, StudyDate="20240101", StudyTime="101500", AccessionNumber="",
            PatientBirthDate="", PatientSex="", PositionReferenceIndicator="",
            ReferringPhysicianName="",
        )
        for n in range(DEPTH)
    ]  # fmt: skip
    labels = np.zeros((DEPTH, ROWS, COLUMNS), "u1")
    labels[1, 1:3, 2], labels[4, 0, :4] = 1, 2
    described = [
        seg.SegmentDescription(
            n, f"s{n}", codes.SCT.Organ, codes.SCT.Liver, seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=f"1.6.{n}", tracking_id=f"t{n}",
        )
        for n in (1, 2)
    ]  # fmt: skip
    (label_map,) = [kind for kind in seg.SegmentationTypeValues if kind.value == "LABELMAP"]
    kinds = {"1.66.7": seg.SegmentationTypeValues.BINARY, "1.66.8": label_map}
    made: list[Any] = [
        seg.Segmentation(
            sources, labels, kind, described, f"{uid}.0", 1, uid, 1, "M", "N", "1", "D"
        )
        for uid, kind in kinds.items()
    ]
    made.append(made_by_highdicom([sources[0], made[0]]))
    for source in sources:
        write(root / "in" / f"{source.SOPInstanceUID}.dcm", source)
    for one in made:
        one.save_as(root / "in" / f"{one.SOPInstanceUID}.dcm")
    before = warehouse.open(root / "w", create=True)
    before.ingest(root / "in", workers=1)
    cohort_of(before, "all_of_it", "select series_key from instances")
    how = Deidentify(clean=("structured", "descriptors"), key=KEY, workers=1)
    facts = before.export("all_of_it", root / "out", "copy", deidentify=how)
    assert facts["counts"]["instances"] == DEPTH + len(made)
    after = warehouse.open(root / "w2", create=True)
    after.ingest(root / "out", workers=1)
    return Archive(before, after, root / "out", labels)


@pytest.mark.acceptance("D80")
def test_a_reference_leads_to_the_new_uid(tmp_path: Path) -> None:
    """As of a presentation state, and of an image that was derived from another one."""
    series = dataset(
        SeriesInstanceUID="1.2.1.1", ReferencedSOPSequence=[referring("1.1.0")],
        ReferencedInstanceSequence=[referring("1.1.0"), referring("9.9")],
    )  # fmt: skip
    write(tmp_path / "in" / "a", image("1.1.0", SeriesInstanceUID="1.2.1.1"))
    write(tmp_path / "in" / "b", image(
        "1.1.1", SeriesInstanceUID="1.2.2.1", ReferencedSeriesSequence=[series],
        SourceImageSequence=[referring("1.1.0")],
    ))  # fmt: skip
    before = warehouse.open(tmp_path / "w", create=True)
    before.ingest(tmp_path / "in", workers=1)
    cohort_of(before, "all_of_it", "select series_key from instances")
    before.export("all_of_it", tmp_path / "out", "copy", deidentify=Deidentify(key=KEY, workers=1))
    after = warehouse.open(tmp_path / "w2", create=True)
    after.ingest(tmp_path / "out", workers=1)
    old = renamed(before.sql(REFERENCES).fetchall())
    assert {(row[1], row[4]) for row in old} == {(KEY.uid("1.1.0"), False), (KEY.uid("9.9"), True)}
    assert set(after.sql(REFERENCES).fetchall()) == old


def referring(uid: str) -> Dataset:
    return dataset(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.7", ReferencedSOPInstanceUID=uid)


def renamed(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    return {
        (purpose, *(uid and KEY.uid(uid) for uid in uids), dangling, count)
        for purpose, *uids, dangling, count in rows
    }


@pytest.mark.long("test_a_reference_leads_to_the_new_uid")
@pytest.mark.acceptance("D80")
def test_no_reference_dangles_that_did_not(archive: Archive) -> None:
    old = renamed(archive.before.sql(REFERENCES).fetchall())
    assert old == set(archive.after.sql(REFERENCES).fetchall())
    assert len(old) > 10
    assert archive.after.sql("from dangling_references").fetchall() == []


@pytest.mark.long("test_a_reference_leads_to_the_new_uid")
def test_highdicom_lays_segments_over_the_new_source(archive: Archive) -> None:
    from highdicom import seg

    uids = [KEY.uid(f"1.1.{n}") for n in range(DEPTH)]
    for uid in ("1.66.7", "1.66.8"):
        read = seg.segread(archive.exported(uid))
        masks = read.get_pixels_by_source_instance(uids, segment_numbers=[1, 2])
        ours = archive.after.segmentation(KEY.uid(f"{uid}.0"))
        for number in (1, 2):
            assert np.array_equal(masks[..., number - 1], archive.labels == number)
            assert np.array_equal(ours.fractions(number), archive.labels == number)
            segment = read.get_segment_description(number)
            assert segment.tracking_uid == KEY.uid(f"1.6.{number}")
            assert segment.segmented_property_type.meaning == "Liver"
        source = pydicom.dcmread(archive.exported("1.1.0"))
        assert read.FrameOfReferenceUID == source.FrameOfReferenceUID == KEY.uid("1.3")
        geometry = read.get_volume_geometry()
        assert geometry is not None
        np.testing.assert_allclose(
            geometry.map_indices_to_reference(np.array([[0, 0, 0]]))[0][:2], [0, 3.5]
        )


@pytest.mark.long("test_a_reference_leads_to_the_new_uid")
def test_highdicom_reads_the_report_and_its_references_resolve(archive: Archive) -> None:
    from highdicom import sr

    read = sr.srread(archive.exported("1.88.8"))
    volumetric = read.content.get_volumetric_roi_measurement_groups()
    planar = read.content.get_planar_roi_measurement_groups()
    values = [[m.value for m in group.get_measurements()] for group in (*planar, *volumetric)]
    assert values == [[2.5, 3.75], [4.0]]
    (group,) = volumetric
    assert group.tracking_uid == KEY.uid("1.5.3")
    referenced = group.referenced_segment
    assert referenced.referenced_sop_instance_uid == KEY.uid("1.66.7")
    assert archive.exported("1.66.7").exists()
    people = [item for item in read.iterall() if item.keyword == "PersonName"]
    assert [str(item.value) for item in people] == ["REMOVED"]
