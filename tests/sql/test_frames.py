"""What a row of ``frames`` is."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import highdicom
import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.data import get_testdata_file

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, image, write
from tests.flat import planned_once

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

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


_SINGLE: dict[str, Callable[[], pydicom.Dataset]] = {}


def single(make: Callable[[], pydicom.Dataset]) -> Callable[[], pydicom.Dataset]:
    """Have an object, of a series of its own, in the archive that the tests below ask."""
    _SINGLE[make.__name__] = make
    return make


def of(
    frames: duckdb.DuckDBPyConnection, make: Callable[[], pydicom.Dataset], columns: str
) -> list[tuple[Any, ...]]:
    """Return columns of the frames of an object."""
    return frames.execute(
        f"select {columns} from frames where series_key = $1 order by frame_number",
        [f"5.{list(_SINGLE).index(make.__name__)}"],
    ).fetchall()


@single
def too_many() -> pydicom.Dataset:
    return image(NumberOfFrames=2_000_000_000)


def test_a_number_of_frames_that_cannot_be_is_not_believed(
    frames: duckdb.DuckDBPyConnection,
) -> None:
    assert of(frames, too_many, "frame_number") == [(1,), (2,), (3,), (4,)], "bytes of pixel data"


@single
def enhanced() -> pydicom.Dataset:
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
    return image(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames=4, PixelData=bytes(16),
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames,
    )  # fmt: skip


def test_the_frames_of_an_enhanced_object_are_those_that_pydicom_finds(
    frames: duckdb.DuckDBPyConnection,
) -> None:
    columns = (
        "ImagePositionPatient, ImageOrientationPatient, PixelSpacing, SliceThickness, "
        "DimensionIndexValues, InStackPositionNumber, EffectiveEchoTime, second(FrameAcquisitionDateTime)"
    )
    assert of(frames, enhanced, columns) == [
        ([0, 0, 2.5 * n], [1, 0, 0, 0, 1, 0], [0.5, 0.6], 2.5, [1, n + 1], n + 1, 30 + n, n)
        for n in range(4)
    ]


def multi_frame_files() -> list[Path]:
    folders = [Path(pydicom.__file__).parent / "data", Path(highdicom.__file__).parent]
    if corpus := os.environ.get("DICOM_CORPUS"):
        folders.append(Path(corpus))
    found = []
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix == ".dcm"):
        # Each process that collects tests comes here; to read all of them takes it a quarter of a second.
        content = path.read_bytes()
        if not any(tag in content for tag in (b"\x00\x52\x30\x92", b"\x52\x00\x92\x30")):
            continue
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if "PerFrameFunctionalGroupsSequence" in data:
            found.append(path)
    return found


MULTI_FRAME = multi_frame_files()


@pytest.fixture(scope="module")
def frames_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """Frames of every file, read at once: but for copies of one instance, of which one is held."""
    copies = defaultdict[str, list[Path]](list)
    for path in MULTI_FRAME:
        uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        copies[uid].append(path)
    found: dict[str, pl.DataFrame] = {}
    for number, paths in enumerate(zip_longest(*copies.values())):
        wh = warehouse.open(tmp_path_factory.mktemp("frames") / str(number), create=True)
        wh.ingest(*filter(None, paths), workers=1)
        held = wh.table("instances").select("instance_id", "file_path").collect()
        frames = wh.table("frames").collect().join(held, on="instance_id")
        for (file,), rows in frames.group_by("file_path"):
            found[str(file)] = rows.sort("frame_number")
    return found


def test_the_frames_of_a_real_object_are_those_that_pydicom_finds(tmp_path: Path) -> None:
    """The short form: one that comes with pydicom."""
    path = Path(get_testdata_file("liver_1frame.dcm"))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(path, workers=1)
    compare_with_pydicom(path, wh.table("frames").collect().sort("frame_number"))


@pytest.mark.long("test_the_frames_of_a_real_object_are_those_that_pydicom_finds")
@pytest.mark.parametrize("path", MULTI_FRAME, ids=lambda path: "-".join(path.parts[-3:]))
def test_the_frames_of_real_objects_are_those_that_pydicom_finds(
    path: Path, frames_of: dict[str, pl.DataFrame]
) -> None:
    compare_with_pydicom(path, frames_of[str(path)])


def compare_with_pydicom(path: Path, answer: pl.DataFrame) -> None:
    data = pydicom.dcmread(path, stop_before_pixels=True)
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


DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"


def test_offsets_of_a_dose_mean_what_the_standard_says_or_nothing(view: View) -> None:
    """PS3.3 C.8.8.3.2; feet first: https://github.com/dicompyler/dicompyler-core/issues/284 and 29."""
    feet_first, head_first, decubitus = "[-1,0,0,0,1,0]", "[1,0,0,0,1,0]", "[0,1,0,-1,0,0]"
    cases = [  # orientation, z of the position, offsets
        (feet_first, 50, (50, 53, 56)), (feet_first, 50, (0, -3, -6)), (head_first, 50, (10, 13, 16)),
        (head_first, 0, (0, 3, 6)), (decubitus, 50, (50, 53, 56)), (head_first, 50, ()), (head_first, 50, (0, 3)),
    ]  # fmt: skip
    view.given(
        "instances",
        "instance_id | series_key | SOPClassUID | NumberOfFrames | pixel_length | ImagePositionPatient | ImageOrientationPatient\n"
        + "\n".join(f"{n} | s | {DOSE} | 3 | 100 | [1, 2, {z}] | {way}" for n, (way, z, _) in enumerate(cases)),
    )  # fmt: skip
    view.given(
        "elements",
        "instance_id | path | tag | vm | index | real\n" + "\n".join(
            f"{n} | '' | 3004000C | 3 | {index} | {offset}"
            for n, (_, _, offsets) in enumerate(cases) for index, offset in enumerate(offsets)
        ),
    )  # fmt: skip
    columns = ["instance_id", "frame_number", "ImagePositionPatient", "position_why_not"]
    rows = sorted(view.rows("frames", columns))
    heights = [[row[2] and row[2][2] for row in rows if row[0] == n] for n in range(len(cases))]
    assert heights == [
        [50, 53, 56], [50, 53, 56], [None] * 3, [0, 3, 6], [None] * 3, [None] * 3, [50, 53, None],
    ]  # fmt: skip
    assert all((row[2] is None) == (row[3] is not None) for row in rows)
    reasons = {row[0]: row[3] for row in rows if row[3]}
    assert reasons == {
        2: "the Grid Frame Offset Vector begins neither with 0 nor with the third coordinate of the position",
        4: "the Grid Frame Offset Vector holds third coordinates, but rows and columns do not lie along x and y",
        5: "no Grid Frame Offset Vector",
        6: "no value in the Grid Frame Offset Vector",
    }  # fmt: skip


def nuclear(path: Path, **attributes: object) -> Path:
    """Write five frames of nuclear medicine that lie where the first detector says."""
    usual: dict[str, object] = {
        "SOPClassUID": NUCLEAR, "Modality": "NM", "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "NumberOfFrames": 5, "PixelData": bytes(20), "PixelSpacing": [4, 4], "SliceThickness": 4,
        "FrameIncrementPointer": 0x00540080, "SliceVector": [1, 2, 3, 4, 5], "SpacingBetweenSlices": 4,
        "DetectorInformationSequence": [detector(30)],
    }  # fmt: skip
    return write(path, image(**{**usual, **attributes}))


def detector(z: float) -> pydicom.Dataset:
    return dataset(ImagePositionPatient=[-10, -20, z], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])


OF_DETECTORS: list[tuple[dict[str, object], list[float] | None, str | None]] = [
    # The sign is the direction along the normal (PS3.3 C.8.4.15):
    # https://github.com/rordenlab/dcm2niix/issues/885
    ({}, [30, 34, 38, 42, 46], None),
    ({"SpacingBetweenSlices": -4}, [30, 26, 22, 18, 14], None),
    ({"SliceVector": [5, 4, 3, 2, 1]}, [46, 42, 38, 34, 30], None),
    ({"SpacingBetweenSlices": None}, None, "no Spacing Between Slices"),
    ({"SliceVector": None}, None, "no Slice Vector"),
    ({"DetectorInformationSequence": [detector(30), detector(30)]}, [30, 34, 38, 42, 46], None),
    ({"DetectorInformationSequence": [detector(30), detector(90)]}, None, "no position"),
    (
        {
            "DetectorInformationSequence": [detector(30), detector(90)], "SliceVector": None,
            "ImageType": ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"], "DetectorVector": [1, 2, 2, 1, 1],
        },
        [30, 90, 90, 30, 30], None,
    ),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}, None, "projections: the detector moves"),
]  # fmt: skip
ELSEWHERE: list[tuple[dict[str, object], dict[str, object], str]] = [
    (  # Enhanced ultrasound: PS3.3 C.7.6.16.2.21 and C.8.24.2
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.2", "Modality": "US"},
        {
            "PlanePositionVolumeSequence": [dataset(ImagePositionVolume=[1, 2, 3])],
            "PlaneOrientationVolumeSequence": [dataset(ImageOrientationVolume=[1, 0, 0, 0, 1, 0])],
        },
        "frames lie in the frame of reference of an ultrasound volume, not of the patient",
    ),
    (  # Whole slides: PS3.3 C.8.12.6.1, the Plane Position (Slide) macro
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "Modality": "SM"},
        {"PlanePositionSlideSequence": [dataset(XOffsetInSlideCoordinateSystem=20)]},
        "tiles lie in the frame of reference of the slide, not of the patient",
    ),
    (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1.1", "Modality": "XA"},
        {"FrameContentSequence": [dataset(FrameAcquisitionNumber=1)]},
        "a projection without a position in the patient",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """All of the objects above: series ``3.N`` has the detectors, ``4.N`` lies elsewhere."""
    folder = tmp_path_factory.mktemp("placed")
    for n, (attributes, *_) in enumerate(OF_DETECTORS):
        uids = {"SOPInstanceUID": f"3.{n}.1", "SeriesInstanceUID": f"3.{n}"}
        nuclear(folder / "in" / f"3.{n}", **attributes, **uids)
    for n, (attributes, groups, _) in enumerate(ELSEWHERE):
        made = image(
            f"4.{n}.1", SeriesInstanceUID=f"4.{n}", NumberOfFrames=2, PixelData=bytes(8), **attributes,
            PerFrameFunctionalGroupsSequence=[dataset(**groups), dataset(**groups)],
        )  # fmt: skip
        write(folder / "in" / f"4.{n}", made)
    for n, make in enumerate(_SINGLE.values()):
        made = make()
        made.SOPInstanceUID, made.SeriesInstanceUID = f"5.{n}.1", f"5.{n}"
        write(folder / "in" / f"5.{n}", made)
    wh = warehouse.open(folder / "w", create=True)
    created = wh.ingest(folder / "in", CINE, RT_DOSE, workers=1).created
    assert created == len(OF_DETECTORS) + len(ELSEWHERE) + len(_SINGLE) + 2
    return wh


CINE, RT_DOSE = (
    Path(str(get_testdata_file(name))) for name in ("examples_ybr_color.dcm", "rtdose.dcm")
)


@pytest.fixture(scope="module")
def frames(placed: warehouse.Warehouse) -> duckdb.DuckDBPyConnection:
    """Those of all objects, asked once."""
    return planned_once(placed, "frames")


@pytest.fixture(scope="module")
def places(frames: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    """Return position, orientation, reason and position in a volume of each frame of each series."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for key, *row in frames.execute(
        "select series_key, ImagePositionPatient, ImageOrientationPatient, position_why_not, ImagePositionVolume"
        " from frames order by series_key, frame_number"
    ).fetchall():
        found.setdefault(key, []).append(tuple(row))
    return found


@pytest.mark.parametrize("number", range(len(OF_DETECTORS)))
def test_frames_of_nuclear_medicine_lie_where_the_detector_says(
    places: dict[str, list[tuple[Any, ...]]], number: int
) -> None:
    _, heights, why = OF_DETECTORS[number]
    rows = places[f"3.{number}"]
    assert [row[0] for row in rows] == [[-10, -20, z] for z in heights or ()] + [None] * (
        0 if heights else 5
    )
    assert {row[2] for row in rows} == {why}
    if heights:
        assert [row[1] for row in rows] == [[1, 0, 0, 0, 1, 0]] * 5


def test_frames_that_do_not_lie_in_the_patient_say_so(
    placed: warehouse.Warehouse, places: dict[str, list[tuple[Any, ...]]]
) -> None:
    asked = "select series_key, why_not from stack_geometry where series_key like '4.%'"
    refused = dict(answer_of(placed, asked))
    assert len(refused) == len(ELSEWHERE)
    for number, (_, groups, why) in enumerate(ELSEWHERE):
        volume = [1, 2, 3] if "PlanePositionVolumeSequence" in groups else None
        for position, _, said, in_volume in places[f"4.{number}"]:
            assert (position, said, in_volume) == (None, why, volume)
        assert refused[f"4.{number}"] == (
            f"slices without position, orientation, spacing or size: {why}"
        )


@single
def angiography() -> pydicom.Dataset:
    positions = [
        dataset(PlanePositionSequence=[dataset(ImagePositionPatient=[0, 0, z])]) for z in (0, 5)
    ]
    return image(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.13.1.1", Modality="XA", NumberOfFrames=2, PixelData=bytes(8),
        PerFrameFunctionalGroupsSequence=positions,
    )  # fmt: skip


def test_a_three_dimensional_angiography_lies_where_its_groups_say(
    frames: duckdb.DuckDBPyConnection,
) -> None:
    """X-Ray 3D: frames of a reconstruction have positions as those of CT (PS3.3 A.53)."""
    found = of(frames, angiography, "ImagePositionPatient, position_why_not")
    assert found == [([0, 0, 0], None), ([0, 0, 5], None)]


@single
def acquired() -> pydicom.Dataset:
    own = [
        dataset(
            MRTimingAndRelatedParametersSequence=[dataset(RepetitionTime=2000 + n, FlipAngle=10.0 * n)],
            MRModifierSequence=[dataset(InversionTimes=[100.0 * n, 5])],
            MRImageFrameTypeSequence=[dataset(ComplexImageComponent=kind)],
            CardiacSynchronizationSequence=[dataset(NominalPercentageOfCardiacPhase=5.0 * n)],
            RespiratorySynchronizationSequence=[
                dataset(NominalPercentageOfRespiratoryPhase=7.0 * n, NominalRespiratoryTriggerDelayTime=9.0 * n)
            ],
        )
        for n, kind in ((1, "MAGNITUDE"), (2, "PHASE"))
    ]  # fmt: skip
    return image(NumberOfFrames=2, PixelData=bytes(8), PerFrameFunctionalGroupsSequence=own)


def test_groups_say_how_a_frame_was_acquired(frames: duckdb.DuckDBPyConnection) -> None:
    columns = (
        "RepetitionTime, FlipAngle, InversionTimes, ComplexImageComponent, NominalPercentageOfCardiacPhase, "
        "NominalPercentageOfRespiratoryPhase, NominalRespiratoryTriggerDelayTime"
    )
    assert of(frames, acquired, columns) == [
        (2001, 10, [100, 5], "MAGNITUDE", 5, 7, 9), (2002, 20, [200, 5], "PHASE", 10, 14, 18),
    ]  # fmt: skip


def test_packaged_multi_frame_objects_have_the_times_and_offsets_that_pydicom_finds(
    frames: duckdb.DuckDBPyConnection,
) -> None:
    of_object = (
        "select {} from frames join instances using (instance_id)"
        " where SOPInstanceUID = '{}' order by frame_number"
    )
    data = pydicom.dcmread(CINE, stop_before_pixels=True)
    times = frames.execute(of_object.format("frame_time_ms", data.SOPInstanceUID)).fetchall()
    assert times == [(n * float(data.FrameTime),) for n in range(data.NumberOfFrames)]
    data = pydicom.dcmread(RT_DOSE, stop_before_pixels=True)
    columns = "grid_frame_offset_mm, frames.ImagePositionPatient"
    x, y, z = map(float, data.ImagePositionPatient)
    assert data.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    offsets = [float(offset) for offset in data.GridFrameOffsetVector]
    assert offsets[0] == 0
    found = frames.execute(of_object.format(columns, data.SOPInstanceUID)).fetchall()
    assert found == [(offset, [x, y, z + offset]) for offset in offsets]


VECTORS = {
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


@single
def numbered() -> pydicom.Dataset:
    return image(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.20", Modality="NM", NumberOfFrames=4,
        PixelData=bytes(16), FrameIncrementPointer=[0x00540010, 0x00540020], FrameTime="7",
        NumberOfEnergyWindows=2, NumberOfDetectors=2,
        **dict(VECTORS.values()),
    )  # fmt: skip


def test_nuclear_medicine_numbers_its_frames_in_vectors(
    frames: duckdb.DuckDBPyConnection,
) -> None:
    rows = of(frames, numbered, f"frame_time_ms, {', '.join(VECTORS)}")
    times, *columns = zip(*rows, strict=True)
    for column, (_, values) in zip(columns, VECTORS.values(), strict=True):
        assert list(column) == values
    assert times == (None,) * 4, "these frames are no row of times"


def test_frame_times_are_in_the_clock_of_the_object(view: View) -> None:
    """PS3.3 C.12.1.1.8; an offset without the clock of the object is a reason, no time."""
    view.given("instances", """
        instance_id | series_key | NumberOfFrames | pixel_length
        1           | s          | 2              | 100
        2           | s          | 2              | 100
    """)  # fmt: skip
    view.given("utc_offsets", "instance_id | utc_offset_minutes\n1 | 540")
    at = "PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0]"
    view.given("elements", f"""
        instance_id | path | tag      | vr | vm | index | integer | text                | timestamp
        1           | ''   | 52009230 | SQ | 1  | 0     | 2       |                     |
        2           | ''   | 52009230 | SQ | 1  | 0     | 2       |                     |
        1           | {at} | 00189074 | DT | 1  | 0     |         | 20240102091600+0900 | 2024-01-02 00:16:00
        2           | {at} | 00189074 | DT | 1  | 0     |         | 20240102091600+0900 | 2024-01-02 00:16:00
    """)  # fmt: skip
    view.expect("frames", """
        instance_id | frame_number | FrameAcquisitionDateTime | date_time_why_not
        1           | 1            | 2024-01-02 09:16:00      |
        1           | 2            |                          |
        2           | 1            |                          | it has an offset from UTC, and the object no TimezoneOffsetFromUTC
        2           | 2            |                          |
    """)  # fmt: skip
