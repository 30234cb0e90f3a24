"""What segmentations say: segments, frames, masks on the grid of the images, volumes."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file

import warehouse
from tests.asking import answer_of
from tests.derived_objects import code, segment, segment_frame, segmentation
from tests.dicom_files import dataset, image, write
from tests.pixels.conftest import answered_once
from warehouse.errors import (
    NotInGeometry,
    SegmentsOverlap,
    UnknownPart,
    UsageError,
    WrongObject,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydicom.dataset import Dataset

    from warehouse.derived.segmentation import Segmentation

DEPTH, ROWS, COLUMNS = 5, 4, 6


def ct(folder: Path, **more: Any) -> None:
    """Write five slices, 2 mm apart, pixels of 1 mm."""
    for n in range(DEPTH):
        write(folder / f"ct{n}", image(
            f"1.1.{n}", Rows=ROWS, Columns=COLUMNS, PixelData=bytes(ROWS * COLUMNS),
            FrameOfReferenceUID="1.3", ImagePositionPatient=[0, 0, 2 * n], PixelSpacing=[1, 1],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], InstanceNumber=n + 1, **more,
        ))  # fmt: skip


def masks() -> np.ndarray:
    """Return masks of three frames: two of segment 1, one of segment 2, apart from each other."""
    made = np.zeros((3, ROWS, COLUMNS), "u1")
    made[0, 1, 2:5] = 1
    made[1, 0, 0] = 1
    made[2, 3, :] = 1
    return made


def frames(*zs: float) -> list[Dataset]:
    return [
        segment_frame(number, z, f"1.1.{int(z / 2)}")
        for number, z in zip((1, 1, 2), zs or (8, 2, 2), strict=True)
    ]


def tile(x: float, z: float) -> Dataset:
    made = segment_frame(1, z)
    made.PlanePositionSequence[0].ImagePositionPatient = [x, 0, z]
    return made


def side_by_side() -> np.ndarray:
    """Return masks of two slices in two tiles each."""
    made = np.ones((4, 4, 4), "u1")
    made[1, 0, 3] = made[2, 3, 0] = 0
    return made


def put_tiles(folder: Path) -> None:
    """Write two slices, masks in tiles beside each other, two tiles at one position, and two that overlap."""
    for n in range(2):
        write(folder / f"tiled{n}", image(
            f"1.5.{n}", SeriesInstanceUID="1.2.5", Rows=4, Columns=8, FrameOfReferenceUID="1.5",
            PixelData=bytes(32), PixelSpacing=[1, 1], InstanceNumber=n + 1,
            ImagePositionPatient=[0, 0, 2.0 * n], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ))  # fmt: skip
    masks = side_by_side()
    tiles = [tile(x + 0.3, z) for z in (0, 2) for x in (0, 4)]
    twice = [tile(x, 0) for x in (0.3, 0.3)]
    overlapping = [tile(x, 0) for x in (0, 3)]
    for uid, stored, frames in (
        ("1.66.31", masks, tiles), ("1.66.32", masks[:2], twice), ("1.66.33", masks[:2], overlapping),
    ):  # fmt: skip
        write(folder / uid, segmentation(
            uid, stored, frames, [segment(1)], FrameOfReferenceUID="1.5",
            ReferencedSeriesSequence=[dataset(SeriesInstanceUID="1.2.5")],
        ))  # fmt: skip


@pytest.fixture(scope="module")
def opened(wh: warehouse.Warehouse) -> Callable[[str], Segmentation]:
    """Open a segmentation on the grid of its images once for all tests, which only read it."""
    return functools.cache(wh.segmentation)


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    folder = tmp_path_factory.mktemp("segmentations")
    ct(folder / "in")
    two = [segment(1), segment(2, "Spleen")]
    regions = [
        code("1", "SCT", "Left lobe"), code("2", "SCT", "Right lobe"),
    ]  # fmt: skip
    regions[0].AnatomicRegionModifierSequence = [code("7771000", "SCT", "Left")]
    two[0].AnatomicRegionSequence = regions
    two[0].SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
        code("24028007", "SCT", "Right"), code("3", "SCT", "Upper"),
    ]  # fmt: skip
    overlapping = masks()
    overlapping[2, 0, 0] = 1
    labels = np.zeros((2, ROWS, COLUMNS), "u1")
    labels[0, 0, 0], labels[1, 2, 2:4], labels[1, 3, 3] = 1, 2, 9
    fractions = masks() * np.array([255, 51, 102], "u1")[:, None, None]
    objects = {
        "1.66.1": segmentation("1.66.1", masks(), frames(), two, ReferencedSeriesSequence=[
            dataset(SeriesInstanceUID="1.2.1.1")
        ]),
        "1.66.2": segmentation("1.66.2", fractions, frames(), [segment(1), segment(2)], "FRACTIONAL"),
        "1.66.3": segmentation("1.66.3", labels, [
            segment_frame(None, z, f"1.1.{z // 2}") for z in (4, 0)
        ], [segment(0), segment(1), segment(2)], "LABELMAP"),
        "1.66.4": segmentation("1.66.4", overlapping, frames(), [segment(1), segment(2)]),
        # Between the slices, and named after them.
        "1.66.5": segmentation("1.66.5", masks(), frames(8.8, 2.8, 2.8), [segment(1), segment(2)]),
        # A frame of no segment, two segments of one number, groups for two of three frames.
        "1.66.6": segmentation(
            "1.66.6", masks(), [segment_frame(1, 0, "1.1.0"), segment_frame(7, 2)],
            [segment(1), segment(2), segment(2)],
        ),
        # Groups of three frames for one that is there.
        "1.66.9": segmentation("1.66.9", masks()[:1], frames(), [segment(1), segment(2)]),
        "1.66.10": segmentation("1.66.10", labels[1:], [
            segment_frame(None, 2 * n, f"1.1.{n}") for n in range(3)
        ], [segment(1), segment(2)], "LABELMAP"),
        # A background of 255, and a binary mask of whole bytes.
        "1.66.11": segmentation("1.66.11", np.where(labels, labels, 255)[1:], [
            segment_frame(None, 0, "1.1.0")
        ], [segment(1), segment(2)], "LABELMAP", PixelPaddingValue=255),
        "1.66.12": segmentation(
            "1.66.12", masks() * 255, frames(), [segment(1), segment(2)], "FRACTIONAL", SegmentationType="BINARY",
        ),
        "1.66.13": segmentation(
            "1.66.13", fractions, frames(), [segment(1), segment(2)], "FRACTIONAL", MaximumFractionalValue=100,
        ),
        "1.66.15": segmentation("1.66.15", labels[:1], [
            segment_frame(None, 4, "1.1.2")
        ], [segment(1), segment(1)], "LABELMAP"),
        # Named by frames alone: the third, then the eleventh of two series.
        "1.66.14": segmentation("1.66.14", np.zeros((11, ROWS, COLUMNS), "u1"), [
            segment_frame(1, 2 * n, {2: "1.1.0", 10: "1.66.1"}.get(n, "1.1.99")) for n in range(11)
        ], [segment(1)]),
        "1.66.7": segmentation("1.66.7", masks(), frames(), [segment(1)], FrameOfReferenceUID="1.4"),
        "1.66.8": segmentation("1.66.8", masks(), [
            segment_frame(1, z) for z in (0, 2, 2)
        ], [segment(1)]),
    }  # fmt: skip
    for uid, made in objects.items():
        write(folder / "in" / uid, made)
    put_tiles(folder / "in")
    opened = warehouse.open(folder / "w", create=True)
    opened.ingest(folder / "in", workers=1)
    # What opens a segmentation asks these views, of that one object.
    with answered_once(opened, "segmentations"), answered_once(opened, "segment_frames"):
        yield opened


def test_segments_have_the_columns_of_idc(wh: warehouse.Warehouse) -> None:
    """Names of ImagingDataCommons/etl_flow, derived_data_views; label maps, which it leaves out, too."""
    assert {
        "PatientID", "SOPInstanceUID", "FrameOfReferenceUID", "AnatomicRegion", "AnatomicRegionModifier",
        "SegmentedPropertyCategory", "SegmentedPropertyType", "SegmentAlgorithmType", "SegmentAlgorithmName",
        "SegmentNumber", "TrackingUID", "TrackingID", "SeriesInstanceUID", "StudyInstanceUID",
        "segmented_SeriesInstanceUID",
    } <= set(wh.describe("segmentations")["column"])  # fmt: skip
    rows = answer_of(
        wh,
        "select SOPInstanceUID, SegmentationType, SegmentNumber, SegmentedPropertyType.CodeMeaning, "
        "AnatomicRegion.CodeMeaning, AnatomicRegionModifier.CodeMeaning, len(anatomic_regions), "
        "list_transform(property_type_modifiers, lambda one: one.CodeMeaning), TrackingID, "
        "segmented_SeriesInstanceUID from segmentations where SOPInstanceUID in ('1.66.1', '1.66.3') order by all",
    )
    assert rows == [
        ("1.66.1", "BINARY", 1, "Liver", "Left lobe", "Left", 2, ["Right", "Upper"], "id 1", "1.2.1.1"),
        ("1.66.1", "BINARY", 2, "Spleen", None, None, None, None, "id 2", "1.2.1.1"),
        *(
            ("1.66.3", "LABELMAP", n, "Liver", None, None, None, None, f"id {n}", "1.2.1.1")
            for n in range(3)
        ),
    ]  # fmt: skip


def test_a_segment_of_the_shared_groups_is_that_of_all_frames(tmp_path: Path) -> None:
    made = segmentation(
        "1.66.9", np.ones((2, 4, 4), "u1"), [segment_frame(None, z) for z in (0.0, 2.0)],
        [segment(1), segment(2)],
    )  # fmt: skip
    (shared,) = made.SharedFunctionalGroupsSequence
    shared.SegmentIdentificationSequence = [dataset(ReferencedSegmentNumber=1)]
    write(tmp_path / "in" / "a", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    found = answer_of(wh, "select SegmentNumber, frame_count from segments order by 1")
    assert found == [(1, 2), (2, 0)]


def test_frames_name_segment_source_and_position(wh: warehouse.Warehouse) -> None:
    rows = answer_of(wh,
        "select frame_number, segment_number, segment_why_not, source_instance_uid, ImagePositionPatient[3] "
        "from segment_frames where SOPInstanceUID = $uid order by 1", {"uid": "1.66.1"}
    )  # fmt: skip
    assert rows == [(1, 1, None, "1.1.4", 8), (2, 1, None, "1.1.1", 2), (3, 2, None, "1.1.1", 2)]


def test_frames_of_no_segment_and_without_groups_say_so(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select frame_number, segment_number, segment_why_not from segment_frames "
        "where SOPInstanceUID = '1.66.6' order by 1",
    )
    assert rows == [
        (1, 1, None), (2, 7, "the object has no segment of that number"),
        (3, None, "no functional groups describe the frame"),
    ]  # fmt: skip
    assert answer_of(
        wh,
        "select SegmentNumber, segment_why_not from segmentations where SOPInstanceUID = '1.66.6' order by item",
    ) == [
        (1, None),
        (2, "another segment has its number"),
        (2, "another segment has its number"),
    ]
    found = wh.segmentation("1.66.6.0")
    assert sorted(found.warnings) == [
        "1 frames are left out: no functional groups describe the frame",
        "1 frames are left out: the object has no segment of that number",
        "2 segments are left out: another segment has its number",
    ]
    assert found.numbers == [1]
    assert found.mask(1).sum() == 3


def test_groups_of_frames_that_are_not_there_say_so(wh: warehouse.Warehouse) -> None:
    """As in the file of one frame that comes with pydicom."""
    why = "functional groups of a frame that the object does not have"
    rows = answer_of(wh,
        "select SOPInstanceUID, frame_number, segment_number from segment_frames "
        "where segment_why_not = $1 order by all", [why]
    )  # fmt: skip
    assert rows == [("1.66.10", 2, None), ("1.66.10", 3, None), ("1.66.9", 2, 1), ("1.66.9", 3, 2)]
    binary, labels = (wh.segmentation(f"{uid}.0") for uid in ("1.66.9", "1.66.10"))
    for found in (binary, labels):
        assert found.warnings == [f"2 frames are left out: {why}"]
    assert [binary.mask(n).sum() for n in (1, 2)] == [3, 0]
    assert binary.volumes()["voxel_count"].to_list() == [3, 0]
    assert np.unique(labels.label_map()).tolist() == [0, 2, 9]


def test_masks_lie_on_the_grid_of_the_images(
    wh: warehouse.Warehouse, opened: Callable[[str], Segmentation]
) -> None:
    found = opened("1.66.1.0")
    assert (found.source_uid, found.own_grid_why, found.warnings) == ("1.2.1.1", None, [])
    assert found.shape == wh.volume("1.2.1.1").shape
    assert np.array_equal(found.affine, wh.volume("1.2.1.1").affine)
    expected = np.zeros((2, DEPTH, ROWS, COLUMNS), bool)
    expected[0, 4], expected[0, 1], expected[1, 1] = masks().astype(bool)
    assert np.array_equal(found.mask(1), expected[0])
    assert np.array_equal(found.mask(2), expected[1])
    assert np.array_equal(found.label_map(), expected[0] + 2 * expected[1])
    with pytest.raises(UnknownPart, match="no segment 3; there are: 1, 2"):
        found.mask(3)


def test_volumes_are_in_ml(opened: Callable[[str], Segmentation]) -> None:
    """4 and 6 voxels of 1 x 1 x 2 mm; of fractions 3 + 0.2 and 6 * 0.4 voxels."""
    columns = ["SegmentNumber", "voxel_count", "volume_ml", "why_not"]

    def rows(uid: str) -> list[tuple[Any, ...]]:
        return opened(uid).volumes().select(columns).rows()

    assert rows("1.66.1.0") == [
        (1, 4, pytest.approx(0.008), None),
        (2, 6, pytest.approx(0.012), None),
    ]
    assert rows("1.66.2.0") == [
        (1, pytest.approx(3.2), pytest.approx(0.0064), None),
        (2, pytest.approx(2.4), pytest.approx(0.0048), None),
    ]
    # Frames 4 mm apart, on a grid of slices that are 2 mm apart.
    assert rows("1.66.3.0") == [
        (0, 44, pytest.approx(0.088), None), (1, 1, pytest.approx(0.002), None),
        (2, 2, pytest.approx(0.004), None), (9, 1, pytest.approx(0.002), "no segment describes this value"),
    ]  # fmt: skip


def test_pixel_padding_of_a_label_map_is_no_segment(wh: warehouse.Warehouse) -> None:
    """Supplement 243: Pixel Padding Value states the background; dcmqi 1.5.5 writes it."""
    found = wh.segmentation("1.66.11.0")
    assert np.unique(found.label_map()).tolist() == [0, 2, 9]
    assert found.volumes().select("SegmentNumber", "voxel_count").rows() == [(1, 0), (2, 2), (9, 1)]


def test_a_label_of_two_segments_says_so(wh: warehouse.Warehouse) -> None:
    rows = wh.segmentation("1.66.15.0").volumes().select("SegmentNumber", "why_not").rows()
    assert rows == [(1, "another segment has its number")]


def test_voxels_of_a_binary_segmentation_count_once(wh: warehouse.Warehouse) -> None:
    found = wh.segmentation("1.66.12.0")
    assert found.volumes()["voxel_count"].to_list() == [4, 6]
    assert [int(found.mask(number).sum()) for number in (1, 2)] == [4, 6]


@pytest.mark.parametrize("threshold", [50, float("nan"), 0, -3])
def test_a_threshold_is_a_fraction(wh: warehouse.Warehouse, threshold: float) -> None:
    with pytest.raises(UsageError, match="more than 0 and up to 1"):
        wh.segmentation("1.66.2.0").mask(1, threshold=threshold)


def test_fractions_need_a_threshold_to_be_a_mask(opened: Callable[[str], Segmentation]) -> None:
    found = opened("1.66.2.0")
    assert found.fractions(1)[1, 0, 0] == pytest.approx(0.2)
    assert found.fractions(2).max() == pytest.approx(0.4)
    assert found.mask(1, threshold=0.5).sum() == 3
    with pytest.raises(UsageError, match="needs a threshold"):
        found.mask(1)
    with pytest.raises(UsageError, match="no labels"):
        found.label_map()


def test_fractions_beyond_the_maximum_are_refused(wh: warehouse.Warehouse) -> None:
    """PS3.3 C.8.20.2.3.1: Maximum Fractional Value is 100 % of the probability or occupancy."""
    found = wh.segmentation("1.66.13.0")
    for read in (lambda: found.fractions(1), lambda: found.mask(1, threshold=0.5), found.volumes):
        with pytest.raises(WrongObject, match="exceed its Maximum Fractional Value"):
            read()


def test_the_segmented_series_is_that_of_the_first_frame(wh: warehouse.Warehouse) -> None:
    query = "select segmented_SeriesInstanceUID from segmentations where SOPInstanceUID = '1.66.14'"
    assert answer_of(wh, query) == [("1.2.1.1",)]


def test_a_label_map_is_one(opened: Callable[[str], Segmentation]) -> None:
    found = opened("1.66.3.0")
    labels = found.label_map()
    assert labels.shape == (DEPTH, ROWS, COLUMNS)
    assert (labels[2, 0, 0], labels[0, 2, 2], labels[0, 3, 3]) == (1, 2, 9)
    assert found.mask(2).sum() == 2


def test_segments_that_overlap_are_no_label_map(wh: warehouse.Warehouse) -> None:
    found = wh.segmentation("1.66.4.0")
    with pytest.raises(SegmentsOverlap, match=r"\(1 and 2\)"):
        found.label_map()
    assert (found.mask(1) & found.mask(2)).sum() == 1


@pytest.mark.acceptance("R8")
def test_another_grid_is_refused_unless_asked_for(
    wh: warehouse.Warehouse, opened: Callable[[str], Segmentation]
) -> None:
    with pytest.raises(NotInGeometry, match="between those of the grid"):
        wh.segmentation("1.66.5.0")
    nearest = wh.segmentation("1.66.5.0", resample=True)
    assert nearest.shape == (DEPTH, ROWS, COLUMNS)
    # 8.8 mm is nearest to 8, 2.8 to 2.
    assert np.array_equal(nearest.mask(1), opened("1.66.1.0").mask(1))
    own = wh.segmentation("1.66.5.0", own_grid=True)
    assert (own.source_uid, own.own_grid_why) == (None, "own_grid was requested")
    assert np.allclose(own.affine[:3, 3], [0, 0, 2.8])
    # Frames 6 mm apart, 2 mm stated: two slices between them are empty, or 2 mm is wrong.
    assert own.shape == (4, ROWS, COLUMNS)
    assert own.volumes()["volume_ml"].to_list() == [None, None]
    assert own.volumes()["why_not"][0].startswith("no two frames are neighbors")


def test_objects_that_cannot_be_read_are_refused_by_name(wh: warehouse.Warehouse) -> None:
    with pytest.raises(NotInGeometry, match="frame of reference is not that of the images"):
        wh.segmentation("1.66.7.0")
    with pytest.raises(WrongObject, match="several frames of one segment have the same position"):
        wh.segmentation("1.66.8.0")
    with pytest.raises(WrongObject, match="5 objects"):
        wh.segmentation("1.2.1.1")
    with pytest.raises(WrongObject, match="describes no segment"):
        wh.segmentation("1.2.1.1", sop_instance_uid="1.1.0")


@pytest.mark.acceptance("R7")
@pytest.mark.parametrize("count", [
    300,
    pytest.param(1200, marks=pytest.mark.long("test_frames_are_told_without_pixels")),
    pytest.param(12_000, marks=pytest.mark.slow),
])  # fmt: skip
def test_frames_are_told_without_pixels(tmp_path: Path, count: int) -> None:
    """In less than 5 s of processor; the file may be gone."""
    path = write(tmp_path / "in" / "a", segmentation(
        "1.66.9", np.zeros((count, 1, 8), "u1"),
        [segment_frame(n % 30 + 1, n // 30, f"1.1.{n // 30}") for n in range(count)],
        [segment(n + 1) for n in range(30)],
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    path.unlink()
    began = time.process_time()
    rows = answer_of(
        wh,
        "select segment_number, source_instance_uid, ImagePositionPatient[3] from segment_frames order by frame_number",
    )
    spent = time.process_time() - began
    assert spent < 5
    assert rows == [(n % 30 + 1, f"1.1.{n // 30}", n // 30) for n in range(count)]


@pytest.mark.acceptance("R6")
@pytest.mark.long("test_rows_of_two_real_segmentations_equal_the_reading_of_highdicom")
def test_masks_equal_the_reading_of_highdicom(tmp_path: Path) -> None:
    """Binary, fractional and label map, made and read by highdicom."""
    hd = pytest.importorskip("highdicom")
    from highdicom import seg
    from pydicom.sr.codedict import codes

    sources = [
        image(
            f"1.1.{n}", Rows=ROWS, Columns=COLUMNS, PixelData=bytes(ROWS * COLUMNS), FrameOfReferenceUID="1.3",
            ImagePositionPatient=[0, 0, 2.0 * n], PixelSpacing=[1, 1], SliceThickness=5, StudyID="1",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], InstanceNumber=n + 1, StudyDate="20240101",
            StudyTime="101500", AccessionNumber="", PatientBirthDate="", PatientSex="", PositionReferenceIndicator="",
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
    for n, source in enumerate(sources):
        write(tmp_path / "in" / f"ct{n}", source)
    kinds = [seg.SegmentationTypeValues.BINARY, seg.SegmentationTypeValues.FRACTIONAL]
    kinds += [kind for kind in seg.SegmentationTypeValues if kind.value == "LABELMAP"]
    for n, kind in enumerate(kinds):
        made = seg.Segmentation(
            sources, labels, kind, described, f"1.66.{n}.0", 1, f"1.66.{n}", 1, "M", "N", "1", "D",
        )  # fmt: skip
        made.save_as(tmp_path / "in" / f"seg{n}")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    for n, kind in enumerate(kinds):
        read = seg.segread(tmp_path / "in" / f"seg{n}")
        theirs = read.get_pixels_by_source_instance(
            [source.SOPInstanceUID for source in sources], segment_numbers=[1, 2]
        )
        ours = wh.segmentation(f"1.66.{n}.0")
        for k in (1, 2):
            assert np.array_equal(ours.fractions(k), theirs[..., k - 1]), kind
        assert ours.source_uid == "1.2.1.1"
        rows = answer_of(wh,
            "select SegmentNumber, SegmentLabel, TrackingID, TrackingUID, SegmentedPropertyType.CodeValue, "
            "SegmentAlgorithmType, SegmentationType from segmentations where SOPInstanceUID = $uid and SegmentNumber > 0 "
            "order by 1", {"uid": f"1.66.{n}"},
        )  # fmt: skip
        assert rows == [
            (
                one.segment_number, one.segment_label, one.tracking_id, one.tracking_uid,
                one.segmented_property_type.value, one.algorithm_type.value, kind.value,
            )
            for one in (read.get_segment_description(k) for k in (1, 2))
        ]  # fmt: skip
    assert len(kinds) == 3, hd.__version__


def real_segmentations() -> list[Path]:
    """Return the segmentations that come with pydicom, and those of $DICOM_CORPUS."""
    found = [Path(str(get_testdata_file("liver_1frame.dcm")))]
    if corpus := os.environ.get("DICOM_CORPUS"):
        found += sorted((Path(corpus) / "derived_objects").glob("seg_image_*.dcm"))
    return found


FEW = {"seg_image_ct_binary_overlap", "seg_image_sm_control_labelmap"}


@pytest.mark.long("test_rows_of_two_real_segmentations_equal_the_reading_of_highdicom")
def test_rows_of_real_segmentations_equal_the_reading_of_highdicom(tmp_path: Path) -> None:
    compare_with_highdicom(real_segmentations(), tmp_path)


def test_rows_of_two_real_segmentations_equal_the_reading_of_highdicom(tmp_path: Path) -> None:
    paths = [path for path in real_segmentations() if path.stem in FEW]
    if not paths:
        pytest.skip("DICOM_CORPUS is not set")
    assert len(paths) == len(FEW)
    compare_with_highdicom(paths, tmp_path)


def compare_with_highdicom(paths: list[Path], folder: Path) -> None:
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(*paths, workers=1)
    with answered_once(wh, "segmentations"), answered_once(wh, "segment_frames"):
        compare_with_readings(wh, paths)


def compare_with_readings(wh: warehouse.Warehouse, paths: list[Path]) -> None:
    """Segments, and of those in the patient their source images and sums of voxels."""
    from highdicom import seg

    told: dict[str, list[tuple[Any, ...]]] = {}
    for uid, *row in answer_of(wh,
        "select SOPInstanceUID, SegmentNumber, SegmentLabel, SegmentAlgorithmType, TrackingID, TrackingUID, "
        "SegmentedPropertyCategory.CodeValue, SegmentedPropertyType.CodeValue, SegmentationType "
        "from segmentations where SegmentNumber > 0 order by 1, 2"
    ):  # fmt: skip
        told.setdefault(uid, []).append(tuple(row))
    sources: dict[str, set[str]] = {}
    for uid, source in answer_of(
        wh, "select distinct SOPInstanceUID, unnest(source_instance_uids) from segment_frames"
    ):
        sources.setdefault(uid, set()).add(source)
    for path in paths:
        read = seg.segread(path)
        uid = read.SOPInstanceUID
        rows = told[uid]
        described = [read.get_segment_description(number) for number in read.segment_numbers]
        assert rows == [
            (
                one.segment_number, one.segment_label, one.algorithm_type.value, one.tracking_id, one.tracking_uid,
                one.segmented_property_category.value, one.segmented_property_type.value, read.segmentation_type.value,
            )
            for one in described
        ]  # fmt: skip
        if "seg_image_ct" not in path.name:
            continue
        named = [sop_uid for _, _, sop_uid in read.get_source_image_uids()]
        assert sources.get(uid, set()) <= set(named)
        theirs = read.get_pixels_by_source_instance(
            named, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
        )
        ours = wh.segmentation(
            read.SeriesInstanceUID, sop_instance_uid=uid, own_grid=True
        ).volumes()
        assert ours["voxel_count"].to_list() == pytest.approx(theirs.sum(axis=(0, 1, 2)).tolist())


def test_frames_side_by_side_are_resampled_together(wh: warehouse.Warehouse) -> None:
    """PS3.3 C.7.6.17.3: frames of TILED_SPARSE may have one slice in several tiles."""
    found = wh.segmentation("1.66.31.0", resample=True).mask(1)
    masks = side_by_side()
    assert np.array_equal(found, masks.reshape(2, 2, 4, 4).transpose(0, 2, 1, 3).reshape(2, 4, 8))
    with pytest.raises(WrongObject, match="several frames of one segment have the same position"):
        wh.segmentation("1.66.32.0", resample=True)
    with pytest.raises(WrongObject, match="or overlap"):  # a mask and a count would differ
        wh.segmentation("1.66.33.0")
