"""What a row of ``frames`` is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import highdicom
import numpy as np
import pydicom
import pytest

import warehouse
from tests.dicom_files import dataset, image, write

if TYPE_CHECKING:
    from tests.small_tables import View

OWN = "PerFrameFunctionalGroupsSequence"
SHARED = "SharedFunctionalGroupsSequence[0]"


def test_the_groups_of_a_frame_come_before_the_shared_ones_and_those_before_the_object(
    view: View,
) -> None:
    view.given(
        "instances",
        """
        instance_id | series_key | NumberOfFrames | pixel_length | SliceThickness | RescaleSlope
        1           | s          | 2              | 100          | 7              | 3
        2           | s          | 3              | 100          | 7              |
        3           | s          | 1              | 100          |                |
        4           | s          |                | 100          |                |
    """,
    )
    view.given(
        "elements",
        f"""
        instance_id | path                                 | tag      | vm | index | integer | real | text
        1           | ''                                   | 52009230 | 1  | 0     | 2       |      |
        1           | {SHARED}.PixelMeasuresSequence[0]    | 00180050 | 1  | 0     |         | 5    | 5
        1           | {SHARED}.PixelMeasuresSequence[0]    | 00280030 | 2  | 1     |         | 0.2  | .2
        1           | {SHARED}.PixelMeasuresSequence[0]    | 00280030 | 2  | 0     |         | 0.1  | .1
        1           | {OWN}[1].PixelMeasuresSequence[0]    | 00180050 | 1  | 0     |         | 6    | 6
        1           | {OWN}[0].FrameContentSequence[0]     | 00209157 | 2  | 0     | 1       |      |
        1           | {OWN}[0].FrameContentSequence[0]     | 00209157 | 2  | 1     | 4       |      |
        1           | {OWN}[0].FrameContentSequence[0]     | 00209056 | 1  | 0     |         |      | S1
        1           | {OWN}[0].2005140F[0]                 | 00180050 | 1  | 0     |         | 99   | 99
        1           | {OWN}[0].XSequence[0].YSequence[0]   | 00180050 | 1  | 0     |         | 98   | 98
    """,
    )
    view.expect(
        "frames",
        """
        instance_id | frame_number | has_own_groups | SliceThickness | PixelSpacing | DimensionIndexValues | StackID | RescaleSlope
        1           | 1            | true           | 5              | [0.1, 0.2]   | [1, 4]               | S1      | 3
        1           | 2            | true           | 6              | [0.1, 0.2]   |                      |         | 3
        2           | 1            | false          | 7              |              |                      |         |
        2           | 2            | false          | 7              |              |                      |         |
        2           | 3            | false          | 7              |              |                      |         |
    """,
    )


def test_a_number_of_frames_that_cannot_be_is_not_believed(tmp_path: Path) -> None:
    made = image(NumberOfFrames=2_000_000_000)
    wh = warehouse.open(tmp_path / "w")
    wh.ingest(write(tmp_path / "a", made), workers=1)
    assert wh.sql("select count(*) from frames").fetchall() == [(4,)], "bytes of pixel data"


def test_the_frames_of_an_enhanced_object_are_those_that_pydicom_finds(tmp_path: Path) -> None:
    frames = [
        dataset(
            FrameContentSequence=[
                dataset(
                    DimensionIndexValues=[1, n + 1], StackID="1", InStackPositionNumber=n + 1,
                    FrameAcquisitionDateTime=f"2024010203040{n}.5", TemporalPositionIndex=1,
                )
            ],
            PlanePositionSequence=[dataset(ImagePositionPatient=[0, 0, 2.5 * n])],
            MREchoSequence=[dataset(EffectiveEchoTime=30.0 + n)],
        )
        for n in range(4)
    ]  # fmt: skip
    shared = dataset(
        PixelMeasuresSequence=[dataset(PixelSpacing=[0.5, 0.6], SliceThickness=2.5)],
        PlaneOrientationSequence=[dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    made = image(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames=4, PixelData=bytes(16),
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames,
    )  # fmt: skip
    wh = warehouse.open(tmp_path / "w")
    wh.ingest(write(tmp_path / "a", made), workers=1)
    answer = wh.table("frames").collect().sort("frame_number")
    assert answer["ImagePositionPatient"].to_list() == [[0, 0, 2.5 * n] for n in range(4)]
    assert answer["ImageOrientationPatient"].to_list() == [[1, 0, 0, 0, 1, 0]] * 4
    assert answer["PixelSpacing"].to_list() == [[0.5, 0.6]] * 4
    assert answer["SliceThickness"].to_list() == [2.5] * 4
    assert answer["DimensionIndexValues"].to_list() == [[1, n + 1] for n in range(4)]
    assert answer["InStackPositionNumber"].to_list() == [1, 2, 3, 4]
    assert answer["EffectiveEchoTime"].to_list() == [30, 31, 32, 33]
    assert [t.second for t in answer["FrameAcquisitionDateTime"]] == [0, 1, 2, 3]


def multi_frame_files() -> list[Path]:
    folders = [Path(pydicom.__file__).parent / "data", Path(highdicom.__file__).parent]
    if corpus := os.environ.get("DICOM_CORPUS"):
        folders.append(Path(corpus))
    found = []
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix == ".dcm"):
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if "PerFrameFunctionalGroupsSequence" in data:
            found.append(path)
    return found


@pytest.mark.parametrize("path", multi_frame_files(), ids=lambda path: "-".join(path.parts[-3:]))
def test_the_frames_of_real_objects_are_those_that_pydicom_finds(
    path: Path, tmp_path: Path
) -> None:
    data = pydicom.dcmread(path, stop_before_pixels=True)
    wh = warehouse.open(tmp_path / "w")
    wh.ingest(path, workers=1)
    answer = wh.table("frames").collect().sort("frame_number")
    groups = data.PerFrameFunctionalGroupsSequence
    assert answer.height == max(len(groups), data.get("NumberOfFrames", 0))
    shared = data.get("SharedFunctionalGroupsSequence", [dataset()])[0]
    for row, own in zip(answer.iter_rows(named=True), groups, strict=False):
        for group, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
            ("PixelMeasuresSequence", "SliceThickness"),
            ("FrameContentSequence", "DimensionIndexValues"),
        ):
            holder = own if group in own else shared
            if group in holder and (wanted := holder[group][0].get(keyword)) is not None:
                assert np.allclose(row[keyword], np.asarray(wanted, float)), keyword
