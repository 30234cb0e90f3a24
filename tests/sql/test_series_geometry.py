"""Which series are volumes, against NumPy and against cases drawn by hand."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.asking import answer_of
from tests.small_tables import View
from warehouse.sqlfiles import by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    import warehouse

AXIAL = (1.0, 0, 0, 0, 1.0, 0)


def stack(heights: Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """Return axial slices at these heights."""
    usual = {
        "series_key": "s", "ImageOrientationPatient": AXIAL, "PixelSpacing": (0.5, 0.25),
        "Rows": 4, "Columns": 8, "SamplesPerPixel": 1, "pixel_offset": 0,
    }  # fmt: skip
    return [
        {**usual, "instance_key": f"{n:04}", "instance_id": n, "ImagePositionPatient": (10.0, 20.0, z), **changes}
        for n, z in enumerate(heights)
    ]  # fmt: skip


def drawn(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"[{', '.join('null' if part is None else repr(part) for part in value)}]"
    return str(value)


def geometry(slices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of the view over these images of one series."""
    (row,) = geometries(slices)
    return row


def geometries(slices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the view over these images."""
    view = View()
    names = list(dict.fromkeys(name for row in slices for name in row))
    lines = [" | ".join(names)]
    lines += [" | ".join(drawn(row.get(name)) for name in names) for row in slices]
    view.given("instances", "\n".join(lines))
    # What `instances` does not have is stated elsewhere; nothing is, here.
    view.given("elements", "instance_id")
    view.make("image_slices")
    columns = [column.name for column in by_name("series_geometry").columns]
    return [dict(zip(columns, row, strict=True)) for row in view.rows("series_geometry", columns)]


CONDITIONS = (
    "has_geometry", "has_one_frame_each", "has_single_shape", "has_single_spacing",
    "has_single_orientation", "is_orthonormal", "has_unique_positions", "is_complete",
    "is_evenly_spaced", "is_aligned",
)  # fmt: skip


def test_slices_in_any_order_of_numbers_make_a_volume() -> None:
    found = geometry(stack([6.0, 0.0, 3.0]))
    assert found["is_volume"]
    assert found["why_not"] is None
    assert all(found[name] for name in CONDITIONS)
    assert (found["slice_count"], found["slice_spacing_mm"]) == (3, 3.0)
    assert found["extent_mm"] == [2.0, 2.0, 9.0]
    assert np.array_equal(
        np.reshape(found["affine"], (4, 4)),
        [[0.25, 0, 0, 10], [0, 0.5, 0, 20], [0, 0, 3, 0], [0, 0, 0, 1]],
    )


def bent(slices: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """Change the second of the slices."""
    slices[1] |= changes
    return slices


AGAINST: list[tuple[list[dict[str, Any]], str, str]] = [
    (stack([0, 1, 2, 5, 6]), "is_complete", "2 missing slices"),
    (stack([0, 1, 2, 4, 5]), "is_complete", "1 missing slice"),
    (stack([0, 1, 1.7, 3]), "is_evenly_spaced", "uneven spacing: distances of 0.7, 1.0, 1.3 mm"),
    (stack([0, 1, 2.75, 3.75, 5.5]), "is_evenly_spaced", "uneven spacing: distances of 1.0, 1.75 mm"),
    (stack([0, 0, 1, 2]), "has_unique_positions", "1 repeated positions"),
    (stack([0, 0, 1, 1, 2.5, 2.5]), "is_evenly_spaced", "each position occurs 2 times"),
    (stack([1, 1, 1]), "has_unique_positions", "a single position"),
    (bent(stack([0, 1, 2]), Rows=5), "has_single_shape", "several shapes: 4 x 8 (2), 5 x 8 (1)"),
    (bent(stack([0, 1, 2]), PixelSpacing=(0.5, 0.26)), "has_single_spacing", "several pixel spacings"),
    (
        bent(stack([0, 1, 2]), ImageOrientationPatient=(1.0, 0, 0, 0, 0.999, 0.0447)),
        "has_single_orientation", "several orientations",
    ),
    (
        stack([0, 1, 2], ImageOrientationPatient=(1.0, 0, 0, 0.1, 0.995, 0)),
        "is_orthonormal", "directions not at right angles",
    ),
    (bent(stack([0, 1, 2]), ImagePositionPatient=None), "has_geometry", "slices without position, orientation, spacing or size"),
    (bent(stack([0, 1, 2]), ImagePositionPatient=(1.0, None, 1.0)), "has_geometry", "slices without position, orientation, spacing or size"),
    (bent(stack([0, 1, 2]), PixelSpacing=(0.5, 0.0)), "has_geometry", "slices without position, orientation, spacing or size"),
    (bent(stack([0, 1, 2]), NumberOfFrames=2), "has_one_frame_each", "images of several frames or mosaics"),
    (stack([0, 1], ImageType=("ORIGINAL", "MOSAIC")), "has_one_frame_each", "images of several frames or mosaics"),
]  # fmt: skip


def judged(cases: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the row of each of several series, which are asked at once."""
    named = [
        {**row, "series_key": f"{n:03}", "instance_id": 1000 * n + row["instance_id"]}
        for n, rows in enumerate(cases)
        for row in rows
    ]
    found = sorted(geometries(named), key=lambda row: row["series_key"])
    assert len(found) == len(cases)
    return found


@pytest.fixture(scope="module")
def against() -> list[dict[str, Any]]:
    return judged([slices for slices, _, _ in AGAINST])


@pytest.mark.parametrize("number", range(len(AGAINST)))
def test_each_condition_alone_is_against_it(against: list[dict[str, Any]], number: int) -> None:
    found, (_, condition, why) = against[number], AGAINST[number]
    assert not found["is_volume"]
    assert found["affine"] is None
    assert not found[condition]
    assert why in found["why_not"]


def test_a_tilted_gantry_is_told_from_its_drift() -> None:
    slices = [
        {**row, "ImagePositionPatient": (10.0, 20.0 + 0.3 * n, 1.0 * n)}
        for n, row in enumerate(stack([0] * 4))
    ]
    found = geometry(slices)
    assert [name for name in CONDITIONS if not found[name]] == ["is_aligned"]
    assert found["why_not"] == "slices shifted by 0.9 mm: gantry tilt of 16.7 degrees"
    assert found["tilt_degrees"] == pytest.approx(np.degrees(np.arctan(0.3)))


def test_volumes_at_the_same_positions_are_a_stack_of_volumes() -> None:
    found = geometry(stack([0, 3, 6, 0, 3, 6]))
    assert (found["is_volume"], found["is_volume_stack"]) == (False, True)
    assert [name for name in CONDITIONS if not found[name]] == ["has_unique_positions"]
    assert found["why_not"] == "2 volumes of 3 slices at the same positions"
    assert (found["position_count"], found["volume_count"], found["complete_volume_count"]) == (
        3,
        2,
        2,
    )
    assert found["volumes_differ_in"] == []
    assert np.array_equal(
        np.reshape(found["affine"], (4, 4)),
        [[0.25, 0, 0, 10], [0, 0.5, 0, 20], [0, 0, 3, 0], [0, 0, 0, 1]],
    )  # fmt: skip


DIFFERENT: list[tuple[str, object, object, str]] = [
    ("TemporalPositionIdentifier", 1, 2, "time"),
    ("AcquisitionTime", "10:00:00", "10:00:02.5", "time"),
    ("DiffusionBValue", 0, 1000, "diffusion"),
    ("EchoTime", 4.9, 7.4, "echo"),
    ("InversionTime", 700, 2500, "inversion"),
    ("FlipAngle", 4, 5, "flip angle"),
    ("RepetitionTime", 500, 2000, "repetition time"),
    ("KVP", 80, 140, "tube voltage"),
    ("ConvolutionKernel", ("B30f",), ("B70f",), "kernel"),
    ("ImageType", ("ORIGINAL", "PRIMARY", "M"), ("ORIGINAL", "PRIMARY", "P"), "image type"),
]


@pytest.fixture(scope="module")
def different() -> list[dict[str, Any]]:
    cases = []
    for keyword, first, second, _ in DIFFERENT:
        slices = stack([0, 1, 2, 0, 1])
        for n, row in enumerate(slices):
            row[keyword] = second if n > 2 else first
        cases.append(slices)
    return judged(cases)


@pytest.mark.parametrize("number", range(len(DIFFERENT)))
def test_what_differs_at_one_position_names_the_stack_which_may_be_cut_off(
    different: list[dict[str, Any]], number: int
) -> None:
    found = different[number]
    assert found["is_volume_stack"]
    assert found["volumes_differ_in"] == [DIFFERENT[number][3]]
    assert found["why_not"] == "2 volumes of 3 slices at the same positions, 1 of them complete"


def test_slices_that_differ_otherwise_from_position_to_position_are_no_stack() -> None:
    """A volume has one echo time: of 5 and 7 here and 5 and 9 there none can be made."""
    slices = stack([0, 1, 0, 1])
    for row, echo in zip(slices, (5, 5, 7, 9), strict=True):
        row["EchoTime"] = echo
    found = geometry(slices)
    assert (found["is_volume"], found["is_volume_stack"], found["affine"]) == (False, False, None)
    assert found["why_not"] == "each position occurs 2 times, not everywhere with the same echo"


def test_the_spacing_of_slices_with_gaps_is_that_of_most() -> None:
    found = geometry(stack([0, 2, 4, 10, 12]))
    assert (found["missing_count"], found["slice_spacing_mm"]) == (2, 2.0), "not the mean, 3.0"
    assert found["extent_mm"] == [2.0, 2.0, 14.0], "from edge to edge"
    assert not found["is_volume"]


def test_many_images_at_each_position_are_counted_whatever_their_order() -> None:
    """Heights that are just the same may be sorted in any way."""
    found = geometry(stack([3.5 * (n * 7 % 11) for n in range(220)]))
    assert (found["position_count"], found["volume_count"], found["complete_volume_count"]) == (
        11, 20, 20,
    )  # fmt: skip


def test_a_single_slice_is_no_volume() -> None:
    assert geometry(stack([0]))["why_not"] == "a single slice"


def test_positions_rounded_to_two_decimals_are_even() -> None:
    found = geometry(stack([round(0.333 * n, 2) for n in range(200)]))
    assert found["is_volume"]


def test_one_damaged_number_refuses_its_series_and_leaves_the_others_standing() -> None:
    usual = {
        "ImagePositionPatient": (10.0, 20.0), "ImageOrientationPatient": AXIAL[:5],
        "PixelSpacing": (0.5,),
    }  # fmt: skip
    slices = stack([0, 1, 2, 3], series_key="sound")
    for keyword, kept in usual.items():
        for number in (1e30, -1e308, 1e6, float("inf"), float("nan")):
            damaged = stack([0, 1, 2, 3], series_key=f"{keyword} {number}")
            damaged[3][keyword] = (*kept, number)
            slices += damaged
    sound, *others = sorted(geometries(slices), key=lambda row: row["series_key"] != "sound")
    assert sound["is_volume"]
    assert len(others) == 15
    for found in others:
        assert found["why_not"] == "slices without position, orientation, spacing or size"
        assert found["affine"] is None


def test_slices_closer_than_most_scanners_round_are_slices_where_pixels_are_as_small() -> None:
    found = geometry(stack([0.005 * n for n in range(9)], PixelSpacing=(0.005, 0.005)))
    assert found["is_volume"], found["why_not"]
    assert (found["position_count"], found["slice_spacing_mm"]) == (9, pytest.approx(0.005))
    uneven = [0.015 * n + 0.007 * (n % 2) for n in range(9)]
    found = geometry(stack(uneven, PixelSpacing=(0.015, 0.015)))
    assert found["has_unique_positions"]
    assert not found["is_evenly_spaced"]


def test_oblique_positions_of_two_decimals_are_even_and_aligned() -> None:
    """Of 150 stacks: each coordinate is off by up to 0.005 mm, whatever the size of a pixel."""
    drawing = np.random.default_rng(0)
    cases = []
    for number in range(150):
        turned = rotation(drawing.uniform(-3, 3, 3))
        pixel, step = (0.1, 0.2, 0.8)[number % 3], (0.3, 0.9, 1.25, 3)[number % 4]
        cases += [
            {
                "series_key": f"s{number}", "instance_key": f"{n:04}", "instance_id": n,
                "Rows": 4, "Columns": 8, "SamplesPerPixel": 1, "pixel_offset": 0,
                "ImagePositionPatient": tuple(np.round(n * step * turned[:, 2], 2).tolist()),
                "ImageOrientationPatient": tuple(np.round(turned.T[:2].ravel(), 6).tolist()),
                "PixelSpacing": (pixel, pixel),
            }
            for n in range(9)
        ]  # fmt: skip
    assert [row["why_not"] for row in geometries(cases) if not row["is_volume"]] == []


def rotation(angles: Sequence[float]) -> NDArray[np.float64]:
    (a, b, c) = angles
    around_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    around_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    around_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return around_x @ around_y @ around_z


stacks = st.fixed_dictionaries({
    "angles": st.tuples(*[st.floats(-3, 3)] * 3), "spacing": st.floats(0.5, 9),
    "pixel": st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)), "count": st.integers(2, 30),
    "origin": st.tuples(*[st.floats(-500, 500)] * 3), "seed": st.integers(0, 9), "hole": st.integers(0, 40),
})  # fmt: skip


def oblique(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the slices of a stack in any order."""
    turned = rotation(drawn["angles"])
    row, column, normal = turned.T
    slices = []
    for n in range(drawn["count"]):
        position = np.array(drawn["origin"]) + n * drawn["spacing"] * normal
        if 0 < drawn["hole"] < drawn["count"] - 1 and n >= drawn["hole"]:
            position += drawn["spacing"] * normal
        slices.append({
            "Rows": 16, "Columns": 12, "SamplesPerPixel": 1,
            "ImagePositionPatient": tuple(np.round(position, 4).tolist()),
            "ImageOrientationPatient": tuple(np.round([*row, *column], 6).tolist()),
            "PixelSpacing": drawn["pixel"], "pixel_offset": 0,
        })  # fmt: skip
    random.Random(drawn["seed"]).shuffle(slices)
    return [{**one, "instance_key": f"{n:04}", "instance_id": n} for n, one in enumerate(slices)]


# To ask takes as long for one as for eight; to make a failing list shorter would take minutes.
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)  # fmt: skip
@given(several=st.lists(stacks, min_size=8, max_size=8))
def test_any_oblique_stack_has_the_affine_of_numpy(several: list[dict[str, Any]]) -> None:
    cases = [oblique(drawn) for drawn in several]
    for drawn, found in zip(several, judged(cases), strict=True):
        hold_to_numpy(drawn, found)


def hold_to_numpy(drawn: dict[str, Any], found: dict[str, Any]) -> None:
    row, column, normal = rotation(drawn["angles"]).T
    spacing, pixel, slices, hole = (drawn[name] for name in ("spacing", "pixel", "count", "hole"))
    if 0 < hole < slices - 1 and slices > 3:
        assert not found["is_volume"]
        return
    if 0 < hole < slices - 1:
        return  # three slices with two gaps have no usual gap
    assert found["is_volume"], found["why_not"]
    expected = np.eye(4)
    expected[:3, 0], expected[:3, 1] = row * pixel[1], column * pixel[0]
    expected[:3, 2], expected[:3, 3] = normal * spacing, drawn["origin"]
    assert np.allclose(np.reshape(found["affine"], (4, 4)), expected, atol=1e-3)
    assert found["slice_spacing_mm"] == pytest.approx(spacing, abs=1e-3)


def test_every_series_with_images_is_judged(sample: warehouse.Warehouse) -> None:
    unjudged = answer_of(
        sample,
        "select series_key from images where series_key is not null except from (select series_key from series_geometry)",
    )
    assert unjudged == []
    contradictory = answer_of(
        sample,
        "select * from series_geometry where is_volume != (why_not is null) or is_volume is null",
    )
    assert contradictory == []
