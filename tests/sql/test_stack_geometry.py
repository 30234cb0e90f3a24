"""Which stacks of frames are volumes: small tables, and real multi-frame objects against NumPy."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import highdicom
import numpy as np
import pydicom

import warehouse
from tests.asking import answer_of

if TYPE_CHECKING:
    from tests.small_tables import View

FRAMES = """
    instance_id | frame_number | StackID | ImagePositionPatient | ImageOrientationPatient | PixelSpacing | DiffusionBValue | DiffusionGradientOrientation
"""
AXIAL = "[1, 0, 0, 0, 1, 0]"


def given_frames(view: View, *rows: str) -> None:
    view.given("frames", FRAMES + "\n".join(rows))
    view.given(
        "instances",
        "instance_id | series_key | Rows | Columns | SamplesPerPixel | pixel_offset\n"
        "1           | s          | 4    | 8       | 1               | 100\n"
        "2           | s          | 4    | 8       | 1               | 100\n",
    )
    view.make("frame_slices")


def test_each_stack_of_an_instance_is_judged_alone(view: View) -> None:
    coronal = "[1, 0, 0, 0, 0, -1]"
    given_frames(
        view,
        f"1 | 1 | A | [0, 0, 0] | {AXIAL}   | [2, 1] | | ",
        f"1 | 2 | B | [0, 0, 0] | {coronal} | [2, 1] | | ",
        f"1 | 3 | A | [0, 0, 5] | {AXIAL}   | [2, 1] | | ",
        f"1 | 4 | B | [0, 7, 0] | {coronal} | [2, 1] | | ",
        f"2 | 1 |   | [0, 0, 5] | {AXIAL}   | [2, 1] | | ",
    )
    view.expect(
        "stack_geometry",
        """
        instance_id | series_key | stack | frame_count | slice_spacing_mm | extent_mm   | is_volume | why_not
        1           | s          | A     | 2           | 5                | [8, 8, 10]  | true      |
        1           | s          | B     | 2           | 7                | [8, 8, 14]  | true      |
        2           | s          | ''    | 1           |                  |             | false     | a single slice
    """.replace("|             | false", "| [8, 8, null] | false"),
    )


def test_frames_at_one_position_differ_in_the_direction_of_the_gradient(view: View) -> None:
    given_frames(
        view,
        f"1 | 1 | 1 | [0, 0, 0] | {AXIAL} | [1, 1] | 1000 | [1, 0, 0]",
        f"1 | 2 | 1 | [0, 0, 2] | {AXIAL} | [1, 1] | 1000 | [1, 0, 0]",
        f"1 | 3 | 1 | [0, 0, 0] | {AXIAL} | [1, 1] | 1000 | [0, 1, 0]",
        f"1 | 4 | 1 | [0, 0, 2] | {AXIAL} | [1, 1] | 1000 | [0, 1, 0]",
    )
    view.expect(
        "stack_geometry",
        """
        instance_id | position_count | volume_count | complete_volume_count | volumes_differ_in | is_volume | is_volume_stack
        1           | 2              | 2            | 2                     | [diffusion]       | false     | true
    """,
    )


def test_a_frame_without_place_is_against_its_stack(view: View) -> None:
    given_frames(
        view,
        f"1 | 1 | 1 | [0, 0, 0] | {AXIAL} | [1, 1] | | ",
        f"1 | 2 | 1 |           | {AXIAL} | [1, 1] | | ",
    )
    view.expect(
        "stack_geometry",
        """
        instance_id | has_geometry | is_volume | affine | why_not
        1           | false        | false     |        | slices without position, orientation, spacing or size
    """,
    )


def multiframe_files() -> list[Path]:
    folders = [Path(highdicom.__file__).parent / "_data", Path(pydicom.__file__).parent / "data"]
    if corpus := os.environ.get("DICOM_CORPUS"):
        folders += [Path(corpus) / "small_series", Path(corpus) / "derived_objects"]
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        try:
            made = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, AttributeError):
            continue
        if "PerFrameFunctionalGroupsSequence" in made:
            found.append(path)
    return found


def places(made: pydicom.Dataset) -> dict[str, list[tuple[np.ndarray, ...]]]:
    """Return position, orientation and spacing of the frames of each stack, read with pydicom."""
    shared = made.get("SharedFunctionalGroupsSequence", [pydicom.Dataset()])[0]
    stacks = defaultdict(list)
    for own in made.PerFrameFunctionalGroupsSequence:

        def group(name: str, keyword: str, own: pydicom.Dataset = own) -> np.ndarray:
            item = own.get(name) or shared[name].value
            return np.array(item[0][keyword].value, dtype=float)

        stack = (
            own.FrameContentSequence[0].get("StackID", "") if "FrameContentSequence" in own else ""
        )
        stacks[stack].append((
            group("PlanePositionSequence", "ImagePositionPatient"),
            group("PlaneOrientationSequence", "ImageOrientationPatient"),
            group("PixelMeasuresSequence", "PixelSpacing"),
        ))  # fmt: skip
    return stacks


def test_volumes_of_real_objects_are_where_pydicom_and_numpy_say(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    files = multiframe_files()
    wh.ingest(*files, mode="full", workers=1)
    read = {made.SOPInstanceUID: made for made in map(pydicom.dcmread, files)}
    compared = 0
    for uid, stack, count, volumes, affine in answer_of(
        wh,
        "select SOPInstanceUID, stack, position_count, volume_count, affine from stack_geometry "
        "join instances using (instance_id) where is_volume or is_volume_stack",
    ):
        made = read[uid]
        frames = places(made)[stack]
        orientation = frames[0][1]
        normal = np.cross(orientation[:3], orientation[3:])
        heights = np.array([normal @ position for position, _, _ in frames])
        levels = np.unique(np.round(heights, 2))
        assert len(levels) == count
        assert len(frames) == count * volumes
        first, last = frames[int(np.argmin(heights))][0], frames[int(np.argmax(heights))][0]
        expected = np.eye(4)
        expected[:3, 0] = orientation[:3] * frames[0][2][1]
        expected[:3, 1] = orientation[3:] * frames[0][2][0]
        expected[:3, 2] = (last - first) / (count - 1)
        expected[:3, 3] = first
        assert np.allclose(np.reshape(affine, (4, 4)), expected, atol=1e-9)
        compared += 1
    assert compared >= 1
