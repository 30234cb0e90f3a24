"""What a row of ``frames`` is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

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
    wh = warehouse.open(tmp_path / "w", create=True)
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
    wh = warehouse.open(tmp_path / "w", create=True)
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
    wh = warehouse.open(tmp_path / "w", create=True)
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


def test_times_follow_the_pointer(view: View) -> None:
    view.given(
        "instances",
        "instance_id | series_key | NumberOfFrames | pixel_length\n"
        + "\n".join(f"{n} | s | 3 | 100" for n in range(1, 8)),
    )
    view.given(
        "elements",
        """
        instance_id | path | tag      | vm | index | real | text
        1           | ''   | 00280009 | 1  | 0     |      | 00181063
        1           | ''   | 00181063 | 1  | 0     | 40   |
        1           | ''   | 00181066 | 1  | 0     | 5    |
        2           | ''   | 00280009 | 1  | 0     |      | 00181065
        2           | ''   | 00181063 | 1  | 0     | 99   |
        2           | ''   | 00181065 | 3  | 0     | 0    |
        2           | ''   | 00181065 | 3  | 1     | 10   |
        2           | ''   | 00181065 | 3  | 2     | 30   |
        3           | ''   | 00280009 | 1  | 0     |      | 00181065
        3           | ''   | 00181065 | 3  | 0     | 0    |
        3           | ''   | 00181065 | 3  | 1     |      | x
        3           | ''   | 00181065 | 3  | 2     | 30   |
        4           | ''   | 00181063 | 1  | 0     | 20   |
        5           | ''   | 00280009 | 1  | 0     |      | 3004000C
        5           | ''   | 00181063 | 1  | 0     | 20   |
        6           | ''   | 00181063 | 1  | 0     | 20   |
        6           | ''   | 00181065 | 2  | 0     | 1    |
        6           | ''   | 00181065 | 2  | 1     | 1    |
        7           | ''   | 00181063 | 1  | 0     | 20   |
        7           | ''   | 00181066 | 1  | 0     |      | x
    """,
    )
    rows = sorted(view.rows("frames", ["instance_id", "frame_number", "frame_time_ms"]))
    assert [[row[2] for row in rows if row[0] == n] for n in range(1, 8)] == [
        [5, 45, 85], [0, 10, 40], [0, None, None], [0, 20, 40], [None] * 3, [None] * 3, [None] * 3,
    ]  # fmt: skip


def test_a_frame_of_a_dose_lies_where_the_offsets_say(view: View) -> None:
    view.given(
        "instances",
        """
        instance_id | series_key | NumberOfFrames | pixel_length | ImagePositionPatient | ImageOrientationPatient
        1           | s          | 2              | 100          | [1, 2, 3]            | [1, 0, 0, 0, -1, 0]
        2           | s          | 2              | 100          | [1, 2, 3]            | [1, 0, 0, 0, 1, 0]
        3           | s          | 2              | 100          | [1, 2, 3]            | [0, 1, 0, 0, 0, -1]
        4           | s          | 2              | 100          | [1, 2, 3]            | [1, 0, 0, 0, 1, 0]
        5           | s          | 2              | 100          | [1, 2, 3]            | [1, 0, 0, 0, 1, 0]
    """,
    )
    view.given(
        "elements",
        """
        instance_id | path | tag      | vm | index | real
        1           | ''   | 3004000C | 2  | 0     | 0
        1           | ''   | 3004000C | 2  | 1     | 5
        2           | ''   | 3004000C | 2  | 0     | 3
        2           | ''   | 3004000C | 2  | 1     | 8
        3           | ''   | 3004000C | 2  | 0     | 3
        3           | ''   | 3004000C | 2  | 1     | 8
        5           | ''   | 3004000C | 1  | 0     | 0
    """,
    )
    view.expect(
        "frames",
        """
        instance_id | frame_number | ImagePositionPatient | grid_frame_offset_mm
        1           | 1            | [1, 2, 3]            | 0
        1           | 2            | [1, 2, -2]           | 5
        2           | 1            | [1, 2, 3]            | 3
        2           | 2            | [1, 2, 8]            | 8
        3           | 1            |                      | 3
        3           | 2            |                      | 8
        4           | 1            | [1, 2, 3]            |
        4           | 2            | [1, 2, 3]            |
        5           | 1            | [1, 2, 3]            | 0
        5           | 2            |                      |
    """,
    )


def test_packaged_multi_frame_objects_have_the_times_and_offsets_that_pydicom_finds(
    tmp_path: Path,
) -> None:
    cine, dose = (
        Path(str(get_testdata_file(name))) for name in ("examples_ybr_color.dcm", "rtdose.dcm")
    )
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(cine, dose, workers=1)
    of_frames = (
        "select {} from frames join instances using (instance_id)"
        " where Modality = '{}' order by frame_number"
    )
    data = pydicom.dcmread(cine, stop_before_pixels=True)
    times = wh.sql(of_frames.format("frame_time_ms", "US")).fetchall()
    assert times == [(n * float(data.FrameTime),) for n in range(data.NumberOfFrames)]
    data = pydicom.dcmread(dose, stop_before_pixels=True)
    columns = "grid_frame_offset_mm, frames.ImagePositionPatient"
    x, y, z = map(float, data.ImagePositionPatient)
    assert data.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    offsets = [float(offset) for offset in data.GridFrameOffsetVector]
    assert offsets[0] == 0
    assert wh.sql(of_frames.format(columns, "RTDOSE")).fetchall() == [
        (offset, [x, y, z + offset]) for offset in offsets
    ]


def test_nuclear_medicine_numbers_its_frames_in_vectors(tmp_path: Path) -> None:
    vectors = {
        "energy_window_number": ("EnergyWindowVector", [1, 1, 2, 2]),
        "detector_number": ("DetectorVector", [1, 2, 1, 2]),
        "phase_number": ("PhaseVector", [1, 1, 1, 1]),
        "rotation_number": ("RotationVector", [2, 1, 2, 1]),
        "rr_interval_number": ("RRIntervalVector", [1, 1, 1, 3]),
        "time_slot_number": ("TimeSlotVector", [4, 3, 2, 1]),
        "slice_number": ("SliceVector", [1, 2, 3, 4]),
        "angular_view_number": ("AngularViewVector", [1, 2, 1, 2]),
        "time_slice_number": ("TimeSliceVector", [5, 6, 7, 8]),
    }
    made = image(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.20", Modality="NM", NumberOfFrames=4,
        PixelData=bytes(16), FrameIncrementPointer=[0x00540010, 0x00540020], FrameTime="7",
        NumberOfEnergyWindows=2, NumberOfDetectors=2,
        **dict(vectors.values()),
    )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "a", made), workers=1)
    answer = wh.table("frames").collect().sort("frame_number")
    for column, (_, values) in vectors.items():
        assert answer[column].to_list() == values
    assert answer["frame_time_ms"].to_list() == [None] * 4, "these frames are no row of times"
