"""What structure sets, plans and doses say: contours, masks, beams, dose in Gy, histograms."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

import warehouse
from tests.asking import answer_of
from tests.derived_objects import box, closed, dose, structure_set
from tests.dicom_files import dataset, image, write
from tests.pixels.conftest import answered_once
from warehouse.derived.dose import DoseVolume
from warehouse.derived.raster import filled
from warehouse.elements import distinct, values
from warehouse.errors import (
    NoSingleUnit,
    NotAVolume,
    NotInGeometry,
    UnknownPart,
    UsageError,
    WrongObject,
)
from warehouse.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

DEPTH, ROWS, COLUMNS = 6, 10, 12
CONTOUR_DATA = 0x30060050
OBLIQUE = [0.8, 0.0, 0.6, 0.0, 1.0, 0.0]
"""Rows run to the left and to the head; slices along (-0.6, 0, 0.8)."""


def series(folder: Path, uid: str = "1.2.1.1", zs: Any = None, **more: Any) -> None:
    """Write slices 2 mm apart, pixels of 1 mm, first center at the origin."""
    for n, z in enumerate(zs or [2.0 * n for n in range(DEPTH)]):
        usual = {
            "ImagePositionPatient": [0, 0, z], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        } | more  # fmt: skip
        if "along" in usual:
            usual["ImagePositionPatient"] = [float(one) * z for one in usual.pop("along")]
        write(folder / f"{uid}.{n}", image(
            f"{uid}.{n}", SeriesInstanceUID=uid, Rows=ROWS, Columns=COLUMNS, FrameOfReferenceUID="1.3",
            PixelData=bytes(ROWS * COLUMNS), PixelSpacing=[1, 1], InstanceNumber=n + 1, **usual,
        ))  # fmt: skip


def oblique_box(level: float) -> list[list[float]]:
    """Return columns 2 to 4 and rows 1 to 3 of an oblique slice, as a contour around their centers."""
    row, column, normal = np.array(OBLIQUE[:3]), np.array(OBLIQUE[3:]), np.array([-0.6, 0, 0.8])
    corners = [(1.5, 0.5), (4.5, 0.5), (4.5, 3.5), (1.5, 3.5)]
    return [(row * x + column * y + normal * 2 * level).tolist() for x, y in corners]


HOLE = closed(box(0.5, 8.5, 0.5, 8.5, 4), box(2.5, 4.5, 2.5, 4.5, 4))
KEYHOLE = closed([
    [0.5, 0.5, 4], [8.5, 0.5, 4], [8.5, 8.5, 4], [0.5, 8.5, 4], [0.5, 3.2, 4], [2.5, 3.2, 4],
    [2.5, 4.5, 4], [4.5, 4.5, 4], [4.5, 2.5, 4], [2.5, 2.5, 4], [2.5, 3.2, 4], [0.5, 3.2, 4],
])  # fmt: skip
ROIS: dict[str, Any] = {
    "box": closed(box(1.5, 3.5, 2.5, 4.5, 2), box(1.5, 3.5, 2.5, 4.5, 4)),
    "hole": HOLE,
    "keyhole": KEYHOLE,
    "two points": [*closed([[1, 1, 2], [3, 3, 2]]), *closed(box(1.5, 3.5, 2.5, 4.5, 2))],
    "point": [("POINT", [[1, 1, 2]])],
    "open": [("OPEN_PLANAR", box(1, 3, 1, 3, 2)), ("OPEN_NONPLANAR", box(1, 3, 1, 3, 2))],
    "nothing": None,
    "cut off": [("CLOSED_PLANAR", [1, 1, 2, 3, 1, 2, 3, 3])],
    "every second": closed(*(box(1.5, 3.5, 2.5, 4.5, z) for z in (0, 4, 8))),
    "beyond": closed(box(-3.5, 1.5, -3.5, 1.5, 2), box(-3.5, 1.5, -3.5, 1.5, 40)),
    "bent": closed([[1, 1, 2], [3, 1, 2], [3, 3, 8], [1, 3, 2]]),
    "between": closed(box(1.5, 3.5, 2.5, 4.5, 4.8)),
}  # fmt: skip


def put_points(contour: Dataset, points: np.ndarray) -> None:
    """Put (x, y, z) into a contour as bytes: of many, pydicom takes seconds to look at each."""
    contour.NumberOfContourPoints = len(points)
    raw = "\\".join([f"{one:.6f}" for one in points.ravel().tolist()]).encode()
    raw += b" " * (len(raw) % 2)
    contour[CONTOUR_DATA] = RawDataElement(
        Tag(CONTOUR_DATA), "DS", len(raw), raw, 0, is_implicit_VR=False, is_little_endian=True
    )


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    folder = tmp_path_factory.mktemp("radiotherapy")
    series(folder / "in")
    series(folder / "in", "1.2.2", zs=[0.0, 2.0, 5.0, 6.0])
    series(folder / "in", "1.2.3", ImageOrientationPatient=OBLIQUE, along=[-0.6, 0.0, 0.8])
    gradient = np.broadcast_to(1000 * np.arange(8)[None, None], (5, 7, 8))
    lies = structure_set("1.7.5", {"lies": closed(box(0, 2, 0, 2, 2))})
    lies.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 9
    no_number = write(folder / "in" / "no_number", structure_set("1.7.6", {
        "x": [("CLOSED_PLANAR", [1, 1, 2, 12345, 1, 2, 3, 3, 2])]
    }))  # fmt: skip
    no_number.write_bytes(no_number.read_bytes().replace(b"12345", b"12,45"))
    objects = {
        "rois": structure_set("1.7.1", ROIS),
        "oblique": structure_set(
            "1.7.2", {"slanted": closed(oblique_box(1), oblique_box(2))}, series_uid="1.2.3"
        ),
        "elsewhere": structure_set("1.7.3", {"a": closed(box(0, 2, 0, 2, 2))}, space="1.4"),
        "of no series": structure_set("1.7.4", {"a": closed(box(0, 2, 0, 2, 2))}, series_uid=None),
        "lies": lies,
        # 2 mm apart from x = -1 on, planes 3 mm apart: dose is (x + 1) / 2 Gy.
        "dose": dose("1.8.1", gradient, position=[-1, -1, 0], spacing=2, step=3),
        "relative": dose("1.8.2", gradient, position=[-1, -1, 0], spacing=2, step=3, DoseUnits="RELATIVE"),
        "no scaling": dose("1.8.3", gradient, position=[-1, -1, 0], spacing=2, step=3, DoseGridScaling=None),
        "offsets": dose(
            "1.8.4", gradient, position=[-1, -1, 7], spacing=2, step=3, GridFrameOffsetVector=[2, 5, 8, 11, 14]
        ),
        "difference": dose("1.8.6", gradient, position=[-1, -1, 0], spacing=2, step=3, DoseType="ERROR"),
        "space": dose("1.8.5", gradient, position=[-1, -1, 0], spacing=2, step=3, FrameOfReferenceUID="1.4"),
    }  # fmt: skip
    for name, made in objects.items():
        write(folder / "in" / name, made)
    opened = warehouse.open(folder / "w", create=True)
    opened.ingest(folder / "in", workers=1)
    with answered_once(opened, "frames"), answered_once(opened, "rt_contours"):
        yield opened


def number_of(name: str) -> int:
    return list(ROIS).index(name) + 1


# -- tables ---------------------------------------------------------------------------------------


@pytest.mark.acceptance("R9")
def test_contours_are_those_that_pydicom_finds(sample: warehouse.Warehouse) -> None:
    """Points of every contour, and areas by the shoelace formula."""
    read = pydicom.dcmread(str(get_testdata_file("rtstruct.dcm")), force=True)
    expected = []
    for region in read.ROIContourSequence:
        for contour in region.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            x, y = points[:, 0], points[:, 1]
            area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
            is_closed = contour.ContourGeometricType == "CLOSED_PLANAR"
            expected.append((
                int(region.ReferencedROINumber), points.tolist(), area if is_closed else None,
                points[0, 2] if is_closed else None,
            ))  # fmt: skip
    found = answer_of(
        sample,
        "select ROINumber, points, area_mm2, plane_mm from rt_contours "
        f"where SOPInstanceUID = '{read.SOPInstanceUID}' order by roi_item, contour_item",
    )
    assert found == expected


def test_contours_that_enclose_nothing_say_why(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select ROINumber, point_count, area_mm2, why_not from rt_contours "
        "where SOPInstanceUID = '1.7.1' and why_not is not null order by roi_item, contour_item",
    )
    assert rows == [
        (number_of("two points"), 2, None, "it has fewer than 3 points"),
        (number_of("point"), 1, None, "it is not closed: POINT"),
        (number_of("open"), 4, None, "it is not closed: OPEN_PLANAR"),
        (number_of("open"), 4, None, "it is not closed: OPEN_NONPLANAR"),
        (number_of("cut off"), None, None, "the number of its coordinates is no multiple of 3"),
        (number_of("bent"), 4, None, "its points lie in no plane"),
    ]
    assert answer_of(wh,
        "select why_not, warning from rt_contours where SOPInstanceUID in ('1.7.5', '1.7.6') order by 1"
    ) == [
        ("a coordinate is no number", None),
        (None, "Number of Contour Points is not the number of its points"),
    ]  # fmt: skip


def test_areas_and_planes(wh: warehouse.Warehouse) -> None:
    """A keyhole takes its hole away; an oblique plane has an oblique normal."""
    assert answer_of(
        wh,
        f"select area_mm2 from rt_contours where SOPInstanceUID = '1.7.1' and ROINumber = {number_of('keyhole')}",
    ) == [(pytest.approx(60),)]
    ((area, normal, plane), _) = answer_of(
        wh,
        "select area_mm2, normal, plane_mm from rt_contours where SOPInstanceUID = '1.7.2' order by contour_item",
    )
    assert area == pytest.approx(9)
    assert normal == pytest.approx([-0.6, 0, 0.8])
    assert plane == pytest.approx(2)


def test_normals_do_not_depend_on_the_way_round(tmp_path: Path) -> None:
    """A sagittal, a coronal and an axial square, each both ways round."""
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    planes = [np.insert(square, axis, -10, axis=1) for axis in range(3)]
    rois = {f"{axis}": closed(points, points[::-1]) for axis, points in enumerate(planes)}
    write(tmp_path / "in" / "rt", structure_set("1.7.1", rois))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    found = answer_of(
        wh, "select normal, plane_mm from rt_contours order by ROINumber, contour_item"
    )
    assert found == [(row, -10) for row in np.eye(3).tolist() for _ in range(2)]


def test_regions_say_whether_they_enclose_a_volume(wh: warehouse.Warehouse) -> None:
    rows = dict(answer_of(wh,
        "select ROIName, roi_why_not from rt_rois where SOPInstanceUID = '1.7.1' and roi_why_not is not null"
    ))  # fmt: skip
    assert rows == {
        "point": "it has no closed contour: POINT",
        "open": "it has no closed contour: OPEN_NONPLANAR, OPEN_PLANAR",
        "nothing": "it has no contour",
    }


def test_the_first_observation_of_a_region_counts(tmp_path: Path) -> None:
    made = structure_set("1.7.1", {"one": None})
    made.RTROIObservationsSequence = [
        dataset(ReferencedROINumber={2: 1, 10: 1}.get(n, 9), RTROIInterpretedType=f"TYPE_{n}")
        for n in range(11)
    ]
    write(tmp_path / "in" / "a", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert answer_of(wh, "select RTROIInterpretedType from rt_rois") == [("TYPE_2",)]


def test_beams_and_fractions_are_those_that_pydicom_finds(sample: warehouse.Warehouse) -> None:
    read = pydicom.dcmread(str(get_testdata_file("rtplan.dcm")))
    (beam,), (group,) = read.BeamSequence, read.FractionGroupSequence
    point, given_ = beam.ControlPointSequence[0], group.ReferencedBeamSequence[0]
    found = answer_of(
        sample,
        "select RTPlanLabel, BeamNumber, BeamName, BeamType, RadiationType, NumberOfControlPoints, "
        "NominalBeamEnergy, GantryAngle, IsocenterPosition, SourceAxisDistance from rt_beams "
        f"where SOPInstanceUID = '{read.SOPInstanceUID}'",
    )
    assert found == [(
        read.RTPlanLabel, beam.BeamNumber, beam.BeamName, beam.BeamType, beam.RadiationType,
        beam.NumberOfControlPoints, point.NominalBeamEnergy, point.GantryAngle,
        list(point.IsocenterPosition), beam.SourceAxisDistance,
    )]  # fmt: skip
    found = answer_of(
        sample,
        "select NumberOfFractionsPlanned, ReferencedBeamNumber, BeamDose, BeamMeterset, planned_dose_gy "
        f"from rt_fraction_groups where SOPInstanceUID = '{read.SOPInstanceUID}'",
    )
    assert found == [(
        30, 1, given_.BeamDose, given_.BeamMeterset, pytest.approx(30 * float(given_.BeamDose)),
    )]  # fmt: skip


def test_ion_beams_and_groups_without_a_beam(tmp_path: Path) -> None:
    plan = image(
        "1.9.1", Modality="RTPLAN", SOPClassUID="1.2.840.10008.5.1.4.1.1.481.8", PixelData=None,
        IonBeamSequence=[dataset(
            BeamNumber=4, RadiationType="PROTON",
            IonControlPointSequence=[dataset(NominalBeamEnergy="150.5", GantryAngle="90")],
        )], FractionGroupSequence=[
            dataset(FractionGroupNumber=1, NumberOfFractionsPlanned=5),
            dataset(ReferencedBeamSequence=[dataset(ReferencedBeamNumber=4, BeamDose=2)]),
        ],
    )  # fmt: skip
    write(tmp_path / "in" / "a", plan)
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(tmp_path / "in", workers=1)
    assert answer_of(made, "select BeamNumber, RadiationType, NominalBeamEnergy from rt_beams") == [
        (4, "PROTON", 150.5)
    ]
    assert answer_of(
        made,
        "select item, beam_item, NumberOfFractionsPlanned, BeamDose, planned_dose_gy "
        "from rt_fraction_groups order by item",
    ) == [(0, None, 5, None, None), (1, 0, None, 2, None)]


def test_doses_say_whether_they_are_in_gy(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh, "select SOPInstanceUID, plane_count, dose_why_not from rt_doses order by 1"
    )
    assert [row[:2] for row in rows] == [(f"1.8.{n}", 5) for n in range(1, 7)]
    assert rows[0][2] is None
    assert rows[1][2] == "Dose Units are not GY"
    assert rows[2][2] == "Dose Grid Scaling is missing"
    assert "offset" in rows[3][2].lower()


# -- masks ----------------------------------------------------------------------------------------


def expected_box(*levels: int) -> np.ndarray:
    made = np.zeros((DEPTH, ROWS, COLUMNS), bool)
    made[list(levels), 3:5, 2:4] = True
    return made


def test_a_region_lies_on_the_grid_of_its_images(wh: warehouse.Warehouse) -> None:
    mask = wh.structures("1.7.1.0").mask(number_of("box"))
    assert np.array_equal(mask.voxels, expected_box(1, 2))
    assert mask.volume_ml == pytest.approx(8 * 2 / 1000)
    assert (mask.series_uid, mask.warnings) == ("1.2.1.1", ())
    assert np.array_equal(mask.grid.affine, wh.volume("1.2.1.1").affine)


@pytest.mark.acceptance("R10")
def test_holes_by_xor_and_by_keyhole_are_one(wh: warehouse.Warehouse) -> None:
    structures = wh.structures("1.7.1.0")
    hole, keyhole = (structures.mask(number_of(name)) for name in ("hole", "keyhole"))
    expected = np.zeros((DEPTH, ROWS, COLUMNS), bool)
    expected[2, 1:9, 1:9] = True
    expected[2, 3:5, 3:5] = False
    assert np.array_equal(hole.voxels, expected)
    assert np.array_equal(keyhole.voxels, expected)


def test_contours_that_enclose_nothing_are_left_out_and_counted(wh: warehouse.Warehouse) -> None:
    structures = wh.structures("1.7.1.0")
    mask = structures.mask(number_of("two points"))
    assert np.array_equal(mask.voxels, expected_box(1))
    assert mask.warnings == ("1 contours are left out: it has fewer than 3 points",)
    refused = {
        "point": "no closed contour: POINT", "open": "no closed contour", "nothing": "it has no contour",
        "cut off": "no multiple of 3", "bent": "lie in no plane",
    }  # fmt: skip
    for name, why in refused.items():
        with pytest.raises(WrongObject, match=why):
            structures.mask(number_of(name))
    with pytest.raises(UnknownPart, match="no region 99; there are: 1, 2"):
        structures.mask(99)


def test_slices_between_contours_are_filled_by_the_nearer_one(wh: warehouse.Warehouse) -> None:
    """Contours at 0, 4 and 8 mm are slabs of 4 mm: -2 to 10 mm, of slices from 0 to 10 mm."""
    mask = wh.structures("1.7.1.0").mask(number_of("every second"))
    assert np.array_equal(mask.voxels, expected_box(0, 1, 2, 3, 4, 5))


def test_one_contour_between_slices_fills_the_nearest(wh: warehouse.Warehouse) -> None:
    mask = wh.structures("1.7.1.0").mask(number_of("between"))
    assert np.array_equal(mask.voxels, expected_box(2))


def test_what_lies_beyond_the_images_is_told(wh: warehouse.Warehouse) -> None:
    mask = wh.structures("1.7.1.0").mask(number_of("beyond"))
    assert mask.voxels[1, :2, :2].all()
    assert "contours extend outside of rows or columns, and are clipped" in mask.warnings
    assert "1 contour planes are outside of the slices" in mask.warnings


def test_oblique_slices_hold_contours_that_were_drawn_on_them(wh: warehouse.Warehouse) -> None:
    mask = wh.structures("1.7.2.0").mask(1)
    expected = np.zeros((DEPTH, ROWS, COLUMNS), bool)
    expected[1:3, 1:4, 2:5] = True
    assert np.array_equal(mask.voxels, expected)
    with pytest.raises(NotInGeometry, match="no planes|not in planes"):
        wh.structures("1.7.2.0").mask(1, on="1.2.1.1")


def test_the_grid_of_a_region_is_that_of_the_images_it_was_drawn_on(tmp_path: Path) -> None:
    """Contour Image Sequence (3006,0016), else the frame of reference; never which UID is smaller."""
    series(tmp_path / "in", "1.2.9")
    series(tmp_path / "in", "1.2.2")
    for number, (drawn, space) in enumerate([(True, "1.3"), (False, "1.3"), (False, "1.4")]):
        made = structure_set(f"1.7.{number}", {"box": ROIS["box"]}, series_uid="1.2.2")
        (frame,) = made.ReferencedFrameOfReferenceSequence
        frame.FrameOfReferenceUID = space
        (study,) = frame.RTReferencedStudySequence
        if drawn:
            study.RTReferencedSeriesSequence.append(dataset(SeriesInstanceUID="1.2.9"))
            for n, contour in enumerate(made.ROIContourSequence[0].ContourSequence):
                contour.ContourImageSequence = [dataset(ReferencedSOPInstanceUID=f"1.2.9.{n + 1}")]
        else:
            other = dataset(RTReferencedSeriesSequence=[dataset(SeriesInstanceUID="1.2.9")])
            made.ReferencedFrameOfReferenceSequence.append(dataset(
                FrameOfReferenceUID="1.4", RTReferencedStudySequence=[other]
            ))  # fmt: skip
        write(tmp_path / "in" / f"rt{number}", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    found = answer_of(
        wh, "select SOPInstanceUID, referenced_SeriesInstanceUID from rt_rois order by 1"
    )
    assert found == [("1.7.0", "1.2.9"), ("1.7.1", "1.2.2"), ("1.7.2", None)]
    mask = wh.structures("1.7.0.0").mask(1)
    assert (mask.series_uid, mask.volume_ml) == ("1.2.9", pytest.approx(0.016))
    with pytest.raises(WrongObject, match=r"references no series of images, or several; choose"):
        wh.structures("1.7.2.0").mask(1)


def test_a_dose_of_one_plane_has_a_grid(tmp_path: Path) -> None:
    for n, missing in enumerate([None, "NumberOfFrames", "ImagePositionPatient", "PixelData"], 1):
        made = dose(f"1.8.{n}", np.ones((1, 4, 4)), position=[0, 0, 0], spacing=1, step=1)
        if missing:
            delattr(made, missing)
        write(tmp_path / "in" / f"{n}", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    found = answer_of(
        wh, "select SOPInstanceUID, plane_count, dose_why_not from rt_doses order by 1"
    )
    assert found == [
        ("1.8.1", 1, None), ("1.8.2", 1, None), ("1.8.3", 1, "no position"), ("1.8.4", 0, "it has no grid"),
    ]  # fmt: skip


def test_grids_that_do_not_fit_are_refused_by_name(wh: warehouse.Warehouse) -> None:
    with pytest.raises(NotAVolume):  # uneven slices
        wh.structures("1.7.1.0").mask(1, on="1.2.2")
    with pytest.raises(NotInGeometry, match="another frame of reference"):
        wh.structures("1.7.3.0").mask(1)
    with pytest.raises(WrongObject, match="references no series"):
        wh.structures("1.7.4.0").mask(1)
    with pytest.raises(WrongObject, match="no region"):
        wh.structures("1.8.1.0")


def test_a_contour_of_values_in_bytes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer points, where a lower number of values is kept as bytes."""
    for module in (distinct, values):
        monkeypatch.setattr(module, "MAX_VALUES", 1_000)
    read_circle(tmp_path, 5_000)


@pytest.mark.long("test_a_contour_of_values_in_bytes_is_read")
def test_a_contour_of_more_values_than_rows_is_read_from_its_bytes(tmp_path: Path) -> None:
    """270,000 values."""
    read_circle(tmp_path, 90_000)


def read_circle(tmp_path: Path, count: int) -> None:
    """Read a circle of 4 mm around (5, 5) of so many points."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.stack(
        [5 + 4 * np.cos(angles), 5 + 4 * np.sin(angles), np.full_like(angles, 4)], axis=1
    )
    made = structure_set("1.7.9", {"circle": [("CLOSED_PLANAR", [])]})
    contour = made.ROIContourSequence[0].ContourSequence[0]
    put_points(contour, points)
    write(tmp_path / "in" / "a", made)
    series(tmp_path / "in")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    told = "select vm, sha256 is not null from elements where keyword = 'ContourData'"
    assert answer_of(wh, told) == [(1, True)]
    found = answer_of(
        wh, "select point_count, area_mm2, plane_mm, why_not, warning from rt_contours"
    )
    assert found == [(count, pytest.approx(np.pi * 16, rel=1e-6), 4, None, None)]
    row, column = np.indices((ROWS, COLUMNS))
    mask = wh.structures("1.7.9.0").mask(1).voxels
    # Centres on the circle itself may fall to either side.
    distance = np.hypot(row - 5, column - 5)
    assert mask[2][distance < 3.99].all()
    assert not mask[2][distance > 4.01].any()
    assert mask.sum() == mask[2].sum()


@settings(max_examples=40)
@given(st.lists(st.lists(
    st.tuples(st.integers(-2, 9), st.integers(-2, 9)), min_size=3, max_size=7
), min_size=1, max_size=3))  # fmt: skip
def test_pixels_are_those_of_the_crossing_number(outlines: list[list[tuple[int, int]]]) -> None:
    """Another algorithm, pixel by pixel: a ray to the left crosses the outlines an odd number of times."""
    made = filled([np.array(one, float) for one in outlines], (8, 7))
    for y in range(8):
        for x in range(7):
            left = 0
            for points in outlines:
                for (y1, x1), (y2, x2) in zip(points, points[1:] + points[:1], strict=True):
                    if (y1 > y) != (y2 > y):
                        # Exact: a center on an outline is the one on its right.
                        left += Fraction(x2 - x1) * (y - y1) / (y2 - y1) + x1 <= x
            assert made[y, x] == left % 2


# -- dose -----------------------------------------------------------------------------------------


def test_dose_is_in_gy(wh: warehouse.Warehouse) -> None:
    volume = wh.volume("1.8.1.0", rescale=True)
    assert volume.unit == "Gy"
    assert volume[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_histogram_equals_the_analytic_one(wh: warehouse.Warehouse) -> None:
    """Dose is (x + 1) / 2 Gy at each center: of columns 2 and 3 that is 1.5 and 2 Gy."""
    found = wh.dose_volume("1.7.1.0", number_of("box"), "1.8.1.0")
    assert found.dose_gy.tolist() == pytest.approx([1.5] * 4 + [2.0] * 4)
    assert (found.mean_gy, found.volume_ml, found.uncovered_ml) == pytest.approx((1.75, 0.016, 0))
    assert [found.volume_at_least(dose_) for dose_ in (1.5, 1.6, 2.1)] == [1, 0.5, 0]
    assert (found.dose_at_least(0.95), found.dose_at_least(0.02)) == pytest.approx((1.5, 2.0))
    histogram = found.histogram(0.5)
    assert histogram["dose_gy"].to_list() == [0, 0.5, 1, 1.5, 2]
    assert histogram["volume_ml"].to_list() == pytest.approx([0.016] * 4 + [0.008])


@pytest.mark.parametrize(
    ("fraction", "dose_gy"), [(0, 20), (0.02, 20), (0.5, 11), (0.8, 5), (0.9, 3), (0.95, 2), (1, 1)]
)
def test_a_fraction_of_the_volume_has_its_dose(fraction: float, dose_gy: float) -> None:
    """D is the largest dose that at least this fraction has, of 1, 2, … 20 Gy."""
    found = DoseVolume(np.arange(1.0, 21.0), 1.0, 0.0)
    assert found.dose_at_least(fraction) == dose_gy
    assert found.volume_at_least(dose_gy) >= fraction - 1e-9


@pytest.mark.parametrize("bad", [-1, float("nan"), 1.5, "half"])
def test_what_is_no_fraction_or_width_is_refused(bad: Any) -> None:
    found = DoseVolume(np.array([1.0, 3.0]), 1.0, 0.0)
    with pytest.raises(UsageError):
        found.dose_at_least(bad)
    for width in {0, bad} - {1.5}:
        with pytest.raises(UsageError):
            found.histogram(width)


@pytest.mark.acceptance("R11")
def test_a_histogram_equals_one_by_simpleitk(tmp_path: Path) -> None:
    """A ball in a dose that no grid follows: resampled by SimpleITK, cut out by the ball's formula."""
    sitk = pytest.importorskip("SimpleITK")
    series(tmp_path / "in")
    z, y, x = np.meshgrid(np.arange(7), np.arange(9), np.arange(10), indexing="ij")
    stored = (3000 * np.exp(-((x - 4) ** 2 + (y - 3.5) ** 2 + (z - 3) ** 2) / 9)).astype("u4")
    write(
        tmp_path / "in" / "dose",
        dose("1.8.9", stored, position=[-2, -1.5, -1], spacing=1.6, step=2.3),
    )
    levels = [2 * n for n in range(DEPTH) if abs(2 * n - 5) < 4]
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circles = [
        [
            [5.2 + radius * np.cos(a), 4.7 + radius * np.sin(a), level]
            for a in angles
        ]
        for level in levels
        for radius in [np.sqrt(16 - (level - 5) ** 2)]
    ]  # fmt: skip
    rounded = [[[round(v, 6) for v in point] for point in circle] for circle in circles]
    write(tmp_path / "in" / "rt", structure_set("1.7.9", {"ball": closed(*rounded)}))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    found = wh.dose_volume("1.7.9.0", 1, "1.8.9.0")

    picture = sitk.GetImageFromArray(stored * 0.001)
    picture.SetOrigin((-2, -1.5, -1))
    picture.SetSpacing((1.6, 1.6, 2.3))
    onto = sitk.Image(COLUMNS, ROWS, DEPTH, sitk.sitkFloat64)
    onto.SetSpacing((1, 1, 2))
    resampled = sitk.GetArrayFromImage(
        sitk.Resample(picture, onto, sitk.Transform(), sitk.sitkLinear, -1.0, sitk.sitkFloat64)
    )
    zs, ys, xs = np.meshgrid(
        2 * np.arange(DEPTH), np.arange(ROWS), np.arange(COLUMNS), indexing="ij"
    )
    inside = (xs - 5.2) ** 2 + (ys - 4.7) ** 2 + (zs - 5) ** 2 < 16
    expected = np.sort(resampled[inside])
    assert expected.min() >= 0
    assert found.dose_gy.size == expected.size
    assert np.allclose(found.dose_gy, expected, rtol=1e-6)
    assert found.mean_gy == pytest.approx(expected.mean(), rel=5e-3)
    for limit in (0.5, 1.0, 2.0):
        assert found.volume_at_least(limit) == pytest.approx((expected >= limit).mean(), abs=5e-3)


@pytest.mark.acceptance("R19")
def test_a_histogram_equals_the_closed_form_of_a_cylinder(tmp_path: Path) -> None:
    """A circle of 60 mm in a dose that rises by 0.5 Gy a mm: V(d) is the part of a circle right of a chord.

    The part beyond x = c of a circle of radius r is (arccos(c / r) - c / r * sqrt(1 - (c / r)²)) / pi.
    """
    size, radius, center = 140, 60.0, (70.3, 68.6)
    for n in range(3):
        write(tmp_path / "in" / f"ct{n}", image(
            f"1.1.{n}", Rows=size, Columns=size, FrameOfReferenceUID="1.3", PixelData=bytes(size * size),
            PixelSpacing=[1, 1], InstanceNumber=n + 1, ImagePositionPatient=[0, 0, 2 * n],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ))  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    circle = [
        [[round(center[0] + radius * np.cos(a), 6), round(center[1] + radius * np.sin(a), 6), 2.0 * n] for a in angles]
        for n in range(3)
    ]  # fmt: skip
    write(tmp_path / "in" / "rt", structure_set("1.7.9", {"cylinder": closed(*circle)}))
    # Planes of voxels 7 mm apart: x = 7 n, 3.5 n Gy, or 3,500 n times 0.001.
    stored = np.broadcast_to(3500 * np.arange(22)[None, None], (3, 22, 22))
    write(tmp_path / "in" / "dose", dose("1.8.9", stored, position=[0, 0, 0], spacing=7, step=2))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    found = wh.dose_volume("1.7.9.0", 1, "1.8.9.0")
    assert found.uncovered_ml == 0
    assert found.volume_ml == pytest.approx(np.pi * radius**2 * 6 / 1000, rel=5e-3)
    assert found.mean_gy == pytest.approx(center[0] / 2, rel=5e-3)
    for x in (20.0, 40.0, 60.0, 70.0, 90.0, 110.0, 125.0):
        part = (x - center[0]) / radius
        share = (np.arccos(part) - part * np.sqrt(1 - part**2)) / np.pi
        # A step of dose is a column of voxels: its middle is the dose that it has.
        assert found.volume_at_least(x / 2 + 0.25) == pytest.approx(
            _share(x + 0.5, center[0], radius), abs=5e-3
        )
        assert found.dose_at_least(float(share)) == pytest.approx(x / 2, rel=2e-2)


def _share(x: float, center: float, radius: float) -> float:
    part = (x - center) / radius
    return float((np.arccos(part) - part * np.sqrt(1 - part**2)) / np.pi)


# A process of its own: VmHWM is its peak.
MEASURED = """
import sys
from pathlib import Path
import warehouse
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
wh = warehouse.open(sys.argv[1])
wh.sql("select count(*) from rt_rois").fetchall()
before = peak()
count, area = wh.sql("select sum(point_count), sum(area_mm2) from rt_contours").fetchall()[0]
mask = wh.structures("1.7.9.0").mask(1)
print(count, area, mask.voxels.sum(), (peak() - before) << 10)
"""


@pytest.mark.acceptance("R20")
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(40_000, marks=pytest.mark.long("test_a_contour_of_values_in_bytes_is_read")),
        pytest.param(1_000_000, marks=pytest.mark.slow),
    ],
)
def test_many_points_are_measured_in_bounded_memory(tmp_path: Path, count: int) -> None:
    """Rings in six slices; 3,000,000 coordinates and the rest are more than a file may have unasked."""
    contours = count // 5000
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    made = structure_set("1.7.9", {"circles": [("CLOSED_PLANAR", [])] * contours})
    for n, contour in enumerate(made.ROIContourSequence[0].ContourSequence):
        # Of one plane, each within the one before: XOR makes rings.
        radius = 4 - 3 * (n // DEPTH) / contours
        points = np.stack(
            [
                5 + radius * np.cos(angles),
                5 + radius * np.sin(angles),
                np.full(5000, 2.0 * (n % DEPTH)),
            ],
            axis=1,
        )
        put_points(contour, points)
    write(tmp_path / "in" / "a", made)
    series(tmp_path / "in")
    wh = warehouse.open(tmp_path / "w", create=True)
    report = wh.ingest(tmp_path / "in", workers=1, limits=Limits(rows=4_000_000))
    assert report.rejected == 0
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "w")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    points_found, area, voxels, over_idle = done.stdout.split()
    assert int(points_found) == count
    radii = [4 - 3 * (n // DEPTH) / contours for n in range(contours)]
    assert float(area) == pytest.approx(sum(np.pi * radius**2 for radius in radii), rel=1e-5)
    assert int(voxels) > 0
    assert int(over_idle) < (150 << 20) + 700 * count


def test_a_region_beyond_the_dose_has_no_dose_there(wh: warehouse.Warehouse) -> None:
    """Rows 1 to 8 lie within y = -1 to 11 mm, slices beyond 12 mm do not; planes reach from 0 to 12."""
    found = wh.dose_volume("1.7.1.0", number_of("every second"), "1.8.1.0")
    assert found.uncovered_ml == 0
    beyond = wh.dose_volume("1.7.1.0", number_of("beyond"), "1.8.1.0")
    assert beyond.volume_ml + beyond.uncovered_ml == pytest.approx(
        wh.structures("1.7.1.0").mask(number_of("beyond")).volume_ml
    )
    assert "1 contour planes are outside of the slices" in beyond.warnings


def test_doses_that_are_no_gy_are_refused_by_name(wh: warehouse.Warehouse) -> None:
    with pytest.raises(NoSingleUnit, match="they are RELATIVE, not Gy"):
        wh.dose_volume("1.7.1.0", 1, "1.8.2.0")
    with pytest.raises(NotAVolume):
        wh.dose_volume("1.7.1.0", 1, "1.8.4.0")
    with pytest.raises(NotInGeometry, match="different frames of reference"):
        wh.dose_volume("1.7.1.0", 1, "1.8.5.0")
    # PS3.3 C.8.8.3: ERROR is the difference between desired and planned dose.
    with pytest.raises(WrongObject, match="Dose Type is ERROR"):
        wh.dose_volume("1.7.1.0", 1, "1.8.6.0")


ORIENTATIONS = (
    ([1, 0, 0], [0, 1, 0], [0, 3, 6, 9]),
    ([1, 0, 0], [0, 1, 0], [0, -3, -6, -9]),
    ([-1, 0, 0], [0, -1, 0], [0, 3, 6, 9]),  # head first, prone
    ([-1, 0, 0], [0, 1, 0], [0, 3, 6, 9]),  # feet first, supine: the normal leads to the feet
    ([0, 1, 0], [-1, 0, 0], [0, 3, 6, 9]),  # decubitus
    ([1, 0, 0], [0, 1, 0], [0, 2, 4, 6, 8, 10]),
)


@pytest.mark.parametrize(
    "orientations",
    [
        ORIENTATIONS[3:4],
        pytest.param(
            ORIENTATIONS,
            marks=pytest.mark.long("test_a_dose_of_any_orientation_lies_where_it_says"),
        ),
    ],
    ids=len,
)
def test_a_dose_of_any_orientation_lies_where_it_says(
    tmp_path: Path, orientations: tuple[tuple[list[int], list[int], list[int]], ...]
) -> None:
    """A dose of 50 + x + 2 y + 3 z Gy is interpolated without error: expected is the formula itself.

    Planes lie along the normal of rows and columns (PS3.3 C.8.8.3.2, offsets that begin with 0).
    """
    series(tmp_path / "in")
    write(tmp_path / "in" / "rt", structure_set("1.7.9", {
        "box": closed(*(box(1.5, 4.5, 2.5, 5.5, z) for z in (2, 4, 6)))
    }))  # fmt: skip
    for number, (across, down, offsets) in enumerate(orientations):
        row, column = np.array(across), np.array(down)
        steps = np.array([n * np.cross(row, column) for n in offsets])
        corner = np.array([7.0, 7.0, 5.0]) - 9 * row - 9 * column - steps[-1] / 2
        rows, columns = np.meshgrid(np.arange(19), np.arange(19), indexing="ij")
        points = corner + steps[:, None, None] + columns[..., None] * row + rows[..., None] * column
        write(tmp_path / "in" / f"dose{number}", dose(
            f"1.8.{number}", np.rint(1000 * (50 + points @ [1, 2, 3])), position=corner.tolist(),
            spacing=1, step=1, ImageOrientationPatient=[*across, *down], GridFrameOffsetVector=offsets,
        ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    expected = [50 + x + 2 * y + 3 * z for z in (2, 4, 6) for y in (3, 4, 5) for x in (2, 3, 4)]
    with answered_once(wh, "frames"):
        for number in range(len(orientations)):
            found = wh.dose_volume("1.7.9.0", 1, f"1.8.{number}.0")
            assert found.uncovered_ml == 0
            assert found.dose_gy.tolist() == pytest.approx(sorted(expected))


def test_coordinates_that_are_no_text_are_a_row_with_a_reason(tmp_path: Path) -> None:
    # More values than an element has rows for are one row of bytes, which may be in no encoding.
    broken, whole = (
        structure_set(f"1.7.{n}", {"a": closed(box(0, 4, 0, 4, 0))}, series_uid="1.2.9")
        for n in (1, 2)
    )
    raw = b"\\".join([b"1.5"] * 270_000)[:-1] + b"\xff"
    raw += b" " * (len(raw) % 2)
    broken.ROIContourSequence[0].ContourSequence[0][CONTOUR_DATA] = RawDataElement(
        Tag(CONTOUR_DATA), "UN", len(raw), raw, 0, is_implicit_VR=False, is_little_endian=True
    )
    for n, one in enumerate((broken, whole)):
        write(tmp_path / "in" / str(n), one)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    query = "select SOPInstanceUID, area_mm2, why_not from rt_contours order by 1"
    assert answer_of(wh, query) == [
        ("1.7.1", None, "a coordinate is no number"), ("1.7.2", 16.0, None),
    ]  # fmt: skip
