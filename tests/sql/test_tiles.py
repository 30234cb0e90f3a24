"""Where tiles of slides lie: by their number, as highdicom computes it, or as their frames state it."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from highdicom.spatial import iter_tiled_full_frame_data

import warehouse
from tests.asking import answer_of
from tests.derived_objects import SEG, segment, slide
from tests.dicom_files import dataset, write

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

COLUMNS = (
    "frame_number", "focal_plane", "ColumnPositionInTotalImagePixelMatrix", "RowPositionInTotalImagePixelMatrix",
    "XOffsetInSlideCoordinateSystem", "YOffsetInSlideCoordinateSystem", "focal_plane_mm", "OpticalPathIdentifier",
    "ReferencedSegmentNumber", "tile_why_not",
)  # fmt: skip
Placed = dict[str, list[tuple[Any, ...]]]


def placed_in(wh: warehouse.Warehouse) -> Placed:
    """Return these columns of the frames of each instance; to plan the view takes longer than to read it."""
    columns = ", ".join(f"frames.{name}" for name in COLUMNS)
    rows = wh.catalog.connection.execute(
        f"select instances.SOPInstanceUID, {columns} from frames join instances using (instance_id) order by 1, 2"
    ).fetchall()
    return {uid: [row[1:] for row in of_one] for uid, of_one in groupby(rows, lambda row: row[0])}


def of_segments(uid: str) -> Dataset:
    """Return the same tiles, of two segments instead of optical paths, in one focal plane."""
    return slide(
        uid, 12, SOPClassUID=SEG, Modality="SEG", SegmentationType="BINARY", OpticalPathSequence=None,
        NumberOfOpticalPaths=None, TotalPixelMatrixFocalPlanes=None, SegmentSequence=[segment(1), segment(2)],
    )  # fmt: skip


def sparse(uid: str) -> Dataset:
    """Return two tiles that state where they are, and one that does not."""
    groups = [
        dataset(
            PlanePositionSlideSequence=[dataset(
                ColumnPositionInTotalImagePixelMatrix=column, RowPositionInTotalImagePixelMatrix=1,
                XOffsetInSlideCoordinateSystem=column / 8, YOffsetInSlideCoordinateSystem=2,
                ZOffsetInSlideCoordinateSystem=1.5,
            )],
            OpticalPathIdentificationSequence=[dataset(OpticalPathIdentifier="B")],
        )
        for column in (5, 1)
    ]  # fmt: skip
    return slide(
        uid, 3, DimensionOrganizationType="TILED_SPARSE", PerFrameFunctionalGroupsSequence=[*groups, dataset()]
    )  # fmt: skip


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "1.77.10": ({"frames": 35}, "number of frames is not that of tiles"),
    "1.77.11": ({"TotalPixelMatrixRows": None}, "no size of the total pixel matrix"),
    "1.77.12": ({"frames": 12, "ConcatenationUID": "1.9"}, "without Concatenation Frame Offset Number"),
    "1.77.13": ({"frames": 12, "ConcatenationUID": "1.9", "ConcatenationFrameOffsetNumber": 30}, "number of frames"),
    "1.77.14": ({"DimensionOrganizationType": None}, "no Dimension Organization Type"),
}  # fmt: skip
NOWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "1.77.20": ({"TotalPixelMatrixOriginSequence": None}, "no Total Pixel Matrix Origin"),
    "1.77.21": ({"ImageOrientationSlide": None}, "no Image Orientation (Slide)"),
    "1.77.22": ({"ImageOrientationSlide": [1, 0, 0, 0, 0.8, 0.6]}, "do not lie in the plane of the slide"),
    "1.77.23": ({"SharedFunctionalGroupsSequence": None}, "no Pixel Spacing"),
}  # fmt: skip


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("tiles")
    parts = [(0, 10), (10, 15), (25, 11)]
    objects = [
        slide("1.77.1"), of_segments("1.77.2"), sparse("1.77.3"),
        *(
            slide(
                f"1.77.4.{n}", frames, ConcatenationUID="1.9", InConcatenationNumber=n + 1,
                ConcatenationFrameOffsetNumber=first,
            )
            for n, (first, frames) in enumerate(parts)
        ),
        *(slide(uid, **given) for uid, (given, _) in {**WRONG, **NOWHERE}.items()),
    ]  # fmt: skip
    for one in objects:
        write(folder / "in" / one.SOPInstanceUID, one)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return made


@pytest.fixture(scope="module")
def placed(wh: warehouse.Warehouse) -> Placed:
    return placed_in(wh)


def compare(rows: list[tuple[Any, ...]], read: Dataset) -> None:
    """Hold frames to highdicom's: channel, focal plane, column, row, x, y and z, which it counts from 0."""
    theirs = list(iter_tiled_full_frame_data(read))
    assert [(n, *row[:3]) for n, row in enumerate((row[1:] for row in rows), 1)] == [
        (n, *one[1:4]) for n, one in enumerate(theirs, 1)
    ]
    assert np.allclose([row[4:7] for row in rows], [one[4:7] for one in theirs], atol=1e-9)
    channels: list[Any] = [one[0] for one in theirs]
    if "OpticalPathSequence" in read:
        names = [str(one.OpticalPathIdentifier) for one in read.OpticalPathSequence]
        assert [row[7] for row in rows] == [[names[channel - 1]] for channel in channels]
    elif read.get("SegmentationType") != "LABELMAP":
        assert [row[8] for row in rows] == [[channel] for channel in channels]
    assert {row[9] for row in rows} == {None}


@pytest.mark.acceptance("R15")
@pytest.mark.parametrize(
    "made", [slide("1.77.1"), of_segments("1.77.2")], ids=["slide", "segments"]
)
def test_tiles_lie_where_highdicom_has_them(placed: Placed, made: Dataset) -> None:
    rows = placed[made.SOPInstanceUID]
    assert len(rows) == made.NumberOfFrames
    compare(rows, made)


def test_tiles_of_a_concatenation_lie_where_those_of_the_whole_do(placed: Placed) -> None:
    whole = placed["1.77.1"]
    parts = [row[1:] for n in range(3) for row in placed[f"1.77.4.{n}"]]
    assert parts == [row[1:] for row in whole]


def test_tiles_that_state_their_place_keep_it(wh: warehouse.Warehouse, placed: Placed) -> None:
    rows = placed["1.77.3"]
    assert [row[1:] for row in rows] == [
        (None, 5, 1, 0.625, 2, None, ["B"], None, None), (None, 1, 1, 0.125, 2, None, ["B"], None, None),
        (*[None] * 8, "the frame states no place in the total pixel matrix"),
    ]  # fmt: skip
    found = wh.sql("select distinct ZOffsetInSlideCoordinateSystem from frames order by all")
    assert found.fetchall() == [(1.5,), (None,)]


@pytest.mark.parametrize("uid", WRONG)
def test_an_order_that_cannot_be_gives_no_place(placed: Placed, uid: str) -> None:
    rows = placed[uid]
    assert len(rows) == WRONG[uid][0].get("frames", 36)
    assert {row[1:7] for row in rows} == {(None,) * 6}
    assert all(WRONG[uid][1] in row[9] for row in rows)


@pytest.mark.parametrize("uid", NOWHERE)
def test_a_matrix_that_lies_nowhere_has_no_place_on_the_slide(placed: Placed, uid: str) -> None:
    rows, whole = placed[uid], placed["1.77.1"]
    assert [row[:4] for row in rows] == [row[:4] for row in whole]
    assert {row[4:6] for row in rows} == {(None, None)}
    assert all(NOWHERE[uid][1] in row[9] for row in rows)


def test_tiles_have_no_place_in_the_patient(wh: warehouse.Warehouse) -> None:
    found = answer_of(wh, "select distinct ImagePositionPatient, position_why_not from frames")
    assert found == [(None, "tiles lie in the frame of reference of the slide, not of the patient")]


def real_slides() -> list[Path]:
    """Return the tiled files of $DICOM_CORPUS."""
    folder = Path(os.environ.get("DICOM_CORPUS", "/nowhere")) / "derived_objects"
    return sorted(folder.glob("*sm_*.dcm"))


@pytest.mark.skipif(not real_slides(), reason="DICOM_CORPUS names no folder with slides")
def test_tiles_of_real_slides_lie_where_highdicom_has_them(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*real_slides(), workers=1)
    placed = placed_in(wh)
    full = 0
    for path in real_slides():
        read = pydicom.dcmread(path, stop_before_pixels=True)
        rows = placed.get(read.SOPInstanceUID, [])
        if read.get("DimensionOrganizationType") == "TILED_FULL":
            full += 1
            compare(rows, read)
        elif "PerFrameFunctionalGroupsSequence" in read:
            positions = [
                own.PlanePositionSlideSequence[0] for own in read.PerFrameFunctionalGroupsSequence
            ]
            assert [row[2:6] for row in rows] == [
                (
                    one.ColumnPositionInTotalImagePixelMatrix, one.RowPositionInTotalImagePixelMatrix,
                    one.XOffsetInSlideCoordinateSystem, one.YOffsetInSlideCoordinateSystem,
                )
                for one in positions
            ]  # fmt: skip
    assert full >= 8
