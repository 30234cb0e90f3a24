"""A lazy volume keeps its contract for every kind of series, and what is no volume is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import warehouse
from tests.asking import answer_of
from tests.made_once import made_once
from tests.pixels.conftest import UID, answered_once, put_series, voxels
from warehouse.errors import NotAVolume, SourceChanged
from warehouse.pixels.index import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BASIC = hnp.basic_indices((2, 5, 7), allow_newaxis=True, max_dims=6)


@given(BASIC)
def test_an_index_becomes_parts_that_numpy_agrees_with(index: Any) -> None:
    array = np.arange(70).reshape(2, 5, 7)
    parts, new_axes = expand(index, array.shape)
    answer = array[tuple(parts)]
    assert np.array_equal(np.expand_dims(answer, new_axes), array[index])


@pytest.mark.parametrize(
    "index", [[0, 1], True, np.array([1]), 1.0, "1", (0, 0, 0, 0), 9, -4, (..., ...)]
)
def test_what_is_not_basic_or_out_of_range_is_refused(index: Any) -> None:
    with pytest.raises(IndexError):
        expand(index, (3, 4, 5))


# -- classic series ---------------------------------------------------------------------------------

ORDER = [2, 0, 3, 1]  # of positions; numbers and names have others
REFUSED: dict[str, tuple[list[float], dict[str, Any], str]] = {
    "a gap": ([0, 1, 2, 4, 5], {}, "1 missing slice"),
    "a slice off the grid": ([0, 1, 2.1, 3], {}, r"uneven spacing: distances of 1\.8, 2\.0, 2\.2 mm"),
    "one slice": ([0], {}, "a single slice"),
    "a position twice": ([0, 1, 2, 2], {}, "1 repeated positions"),
    "no orientation": ([0, 1], {"ImageOrientationPatient": None}, "slices without position"),
    "no spacing": ([0, 1], {"PixelSpacing": None}, "slices without position"),
    "no right angle": ([0, 1], {"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}, "directions not at right angles"),
}  # fmt: skip
SERIES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "in no order": (
        [{"ImagePositionPatient": [-10, -20, 19.5 * n], "InstanceNumber": None} for n in ORDER],
        {"SliceThickness": 6},
    ),
    "each position twice": ([{"ImagePositionPatient": [0, 0, -3.0 * (n % 3)]} for n in range(6)], {}),
    "each position twice, no numbers": (
        [{"ImagePositionPatient": [0, 0, n % 2], "InstanceNumber": None} for n in range(4)], {},
    ),
    "echoes mixed": (
        [{"ImagePositionPatient": [0, 0, n % 2], "EchoTime": 10 * n} for n in range(4)], {},
    ),
    **{
        name: ([{"ImagePositionPatient": [0, 0, 2.0 * height]} for height in heights], attributes)
        for name, (heights, attributes, _) in REFUSED.items()
    },
}  # fmt: skip
UIDS = {name: f"1.4.{number}" for number, name in enumerate(SERIES)}


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """All series. Not to write to."""

    def make(folder: Path) -> None:
        for name, (each, shared) in SERIES.items():
            put_series(
                folder / "in" / UIDS[name], voxels(len(each)), *each, uid=UIDS[name], **shared
            )
        warehouse.open(folder / "w", create=True).ingest(folder / "in", mode="full", workers=1)

    return warehouse.open(made_once(tmp_path_factory, "volumes", make) / "w")


@pytest.fixture(scope="module")
def said(wh: warehouse.Warehouse) -> dict[str, tuple[str | None, bool]]:
    """What the view says against each series, and whether it is whole volumes."""
    rows = answer_of(wh, "select series_key, why_not, is_volume_stack from series_geometry")
    names = {uid: name for name, uid in UIDS.items()}
    return {names[uid]: tuple(row) for uid, *row in rows}


@pytest.mark.acceptance("D53")
@pytest.mark.acceptance("D58")
def test_slices_come_by_position_and_the_affine_from_positions(wh: warehouse.Warehouse) -> None:
    uid = UIDS["in no order"]
    volume = wh.volume(uid)
    assert (volume.shape, volume.dtype, volume.dims) == (
        (4, 4, 6),
        np.int16,
        ("slice", "row", "column"),
    )
    assert np.array_equal(np.asarray(volume), voxels(4)[np.argsort(ORDER)])
    assert volume.spacing == (19.5, 0.5, 0.75)
    assert volume.affine is not None
    assert volume.affine_ras is not None
    assert np.allclose(volume.affine @ [3, 2, 1, 1], [-10 + 0.75, -20 + 1.0, 58.5, 1])
    assert np.allclose(volume.affine_ras @ [3, 2, 1, 1], [10 - 0.75, 20 - 1.0, 58.5, 1])
    assert volume.orientation is not None
    assert np.allclose(volume.orientation, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert volume.frames["SOPInstanceUID"].to_list() == [
        f"{uid}.{4 - n}" for n in np.argsort(ORDER)
    ]
    assert (
        repr(volume)
        == "<LazyVolume (slice: 4, row: 4, column: 6) int16 spacing 19.5 x 0.5 x 0.75 mm>"
    )


@pytest.mark.acceptance("D52")
@pytest.mark.acceptance("D59")
def test_only_files_of_the_slices_asked_for_are_opened(
    series: Callable[..., warehouse.Warehouse], tmp_path: Path
) -> None:
    pixels = voxels(5)
    wh = series(pixels)
    for number in (0, 1, 3, 4):
        (tmp_path / "in" / f"{5 - number}.dcm").unlink()
    volume = wh.volume(UID)
    assert volume.shape == (5, 4, 6)
    assert volume.nbytes == pixels.nbytes
    assert np.array_equal(volume[2], pixels[2])
    assert np.array_equal(volume[2:3, 1, ::-2], pixels[2:3, 1, ::-2])
    assert volume[2, 3, 5] == pixels[2, 3, 5]
    assert volume[:0].shape == (0, 4, 6)
    with pytest.raises(
        SourceChanged, match="is not what was ingested: there is no such file any more"
    ):
        volume[1:3]


def test_images_at_equal_positions_are_volumes_in_the_order_of_numbers(
    wh: warehouse.Warehouse,
) -> None:
    volume = wh.volume(UIDS["each position twice"])
    assert volume.dims == ("volume", "slice", "row", "column")
    assert np.array_equal(volume[:], voxels(6).reshape(2, 3, 4, 6)[:, ::-1])
    assert volume.frames["InstanceNumber"].to_list() == [3, 2, 1, 6, 5, 4]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_volume_is_refused_with_the_reason_of_the_view(
    name: str, wh: warehouse.Warehouse, said: dict[str, tuple[str | None, bool]]
) -> None:
    heights, _, reason = REFUSED[name]
    with pytest.raises(NotAVolume, match=reason) as refused:
        wh.volume(UIDS[name])
    assert refused.value.why == said[name][0]
    assert len(wh.stack(UIDS[name])) == len(heights)


def test_no_frames_count_as_one(series: Callable[..., warehouse.Warehouse]) -> None:
    """Number of Frames 0 is invalid and occurs; pydicom assumes 1. The views said several frames, and none."""
    wh = series(voxels(3), NumberOfFrames=0)
    assert np.array_equal(wh.volume(UID)[:], voxels(3))
    assert answer_of(wh, "select is_volume, why_not from series_geometry") == [(True, None)]
    assert answer_of(wh, "select frame_count from series") == [(3,)]


def test_equal_positions_that_nothing_orders_are_refused(wh: warehouse.Warehouse) -> None:
    with pytest.raises(NotAVolume, match="no number or time says in which order"):
        wh.volume(UIDS["each position twice, no numbers"])


def test_volumes_that_mix_echoes_are_refused(
    wh: warehouse.Warehouse, said: dict[str, tuple[str | None, bool]]
) -> None:
    # In the words of the view, which calls what differs as `volumes_differ_in` does.
    with pytest.raises(NotAVolume, match="not everywhere with the same echo") as refused:
        wh.volume(UIDS["echoes mixed"])
    assert said["echoes mixed"] == (refused.value.why, False)


def tilt(wh: warehouse.Warehouse) -> Iterator[tuple[str, str | None, np.ndarray | None]]:
    """Yield every series with what the view says of it."""
    for uid, why, affine in answer_of(
        wh, "select series_key, why_not, affine from series_geometry"
    ):
        # The view has (column, row, slice).
        yield uid, why, None if affine is None else np.array(affine).reshape(4, 4)[:, [2, 1, 0, 3]]


def check_against_the_view(wh: warehouse.Warehouse) -> int:
    """Compare verdicts, reasons and affines; return how many series are judged."""
    judged = 0
    # In place of the view, whose rows it has: to plan it for each series would take most of the time.
    with answered_once(wh, "series_geometry"):
        for uid, why, affine in tilt(wh):
            judged += agrees(wh, uid, why, affine)
    return judged


def agrees(wh: warehouse.Warehouse, uid: str, why: str | None, affine: np.ndarray | None) -> bool:
    unjudged = ("several frames", "at the same positions", "functional groups")
    if why is not None and any(reason in why for reason in unjudged):
        return False  # the view does not go into these
    if why is not None:
        with pytest.raises(NotAVolume) as refused:
            wh.volume(uid)
        assert refused.value.why == why
    else:
        found = wh.volume(uid).affine
        assert found is not None
        assert affine is not None
        # Directions are brought to length one here; they are written with six digits.
        assert np.allclose(found, affine, rtol=2e-6, atol=1e-4)
    return True


def test_view_and_arrays_agree_on_every_series(sample: warehouse.Warehouse) -> None:
    assert check_against_the_view(sample) > 20


def test_view_and_arrays_agree_on_real_scanners(corpus: warehouse.Warehouse) -> None:
    assert check_against_the_view(corpus) >= 10
