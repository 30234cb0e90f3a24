"""Overlays are read when asked for: their bits, their place in the frame, their frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

import warehouse
from tests.asking import answer_of
from tests.conftest import PACKAGED
from tests.pixels.conftest import UID, voxels
from warehouse.errors import PixelsUnreadable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ingest = Callable[..., warehouse.Warehouse]

DRAWN = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)


def overlay(drawn: np.ndarray, origin: list[int] | None, group: int = 0x6000, **more: Any) -> Any:
    """Return the elements of an overlay: a function that puts them into a data set."""
    packed = np.packbits(drawn.ravel(), bitorder="little").tobytes()

    def put(made: pydicom.Dataset) -> None:
        rows, columns = drawn.shape[-2:]
        elements = [
            (0x10, "US", rows), (0x11, "US", columns), (0x100, "US", 1), (0x102, "US", 0),
            (0x3000, "OW", packed + b"\0" * (len(packed) % 2)), (0x50, "SS", origin),
            (0x15, "IS", more.get("frames")), (0x51, "US", more.get("first")),
        ]  # fmt: skip
        for element, vr, value in elements:
            if value is not None and element not in more.get("without", ()):
                made.add_new((group, element), vr, value)

    return put


def with_overlays(path: Path, *puts: Any) -> None:
    dataset = pydicom.dcmread(path)
    for put in puts:
        put(dataset)
    dataset.save_as(path)


def test_a_mask_has_the_shape_of_the_frames(series: Ingest, tmp_path: Path) -> None:
    """At its origin, cut off where it sticks out, zero where an image has none."""
    series(voxels(3))
    with_overlays(tmp_path / "in" / "3.dcm", overlay(DRAWN, [2, 3]))
    with_overlays(
        tmp_path / "in" / "2.dcm", overlay(DRAWN, [0, 5]), overlay(DRAWN[:1], None, 0x6004)
    )
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    wanted = np.zeros((3, 4, 6), np.uint8)
    wanted[0, 1:3, 2:5] = DRAWN
    wanted[1, 0, 4:6] = DRAWN[1, :2]
    masks = wh.volume(UID, overlay=0)
    assert (masks.shape, masks.dtype, masks.dims) == (
        (3, 4, 6),
        np.uint8,
        ("slice", "row", "column"),
    )
    assert np.array_equal(masks[:], wanted)
    assert np.array_equal(masks[0, 1:, ::-1], wanted[0, 1:, ::-1])
    assert np.array_equal(wh.stack(UID, overlay=0)[:2], wanted[:2])
    assert wh.volume(UID, overlay=2)[:].sum() == 2


def test_frames_of_an_overlay_belong_to_frames_of_the_image(tmp_path: Path, ingest: Ingest) -> None:
    from tests.pixels.test_multiframe import IN_STACK, frame, write_frames

    frames = [frame([0, 0, 2.0 * z], z + 1) for z in range(3)]
    write_frames(tmp_path / "in" / "1.dcm", voxels(3), frames, [IN_STACK])
    drawn = np.random.default_rng(2).integers(0, 2, (2, 4, 6), np.uint8)
    with_overlays(tmp_path / "in" / "1.dcm", overlay(drawn, [1, 1], frames=2, first=2))
    ingest(mode="full")
    masks = ingest.warehouse.volume(UID, overlay=0)[:]  # type: ignore[attr-defined]
    assert np.array_equal(masks, np.concatenate([np.zeros((1, 4, 6)), drawn]))


def test_a_single_plane_belongs_to_all_frames(tmp_path: Path, ingest: Ingest) -> None:
    """Without Number of Frames in Overlay and Image Frame Origin (PS3.3 C.9.2, C.9.3)."""
    from tests.pixels.test_multiframe import IN_STACK, frame, write_frames

    frames = [frame([0, 0, 2.0 * z], z + 1) for z in range(3)]
    write_frames(tmp_path / "in" / "1.dcm", voxels(3), frames, [IN_STACK])
    drawn = np.random.default_rng(2).integers(0, 2, (4, 6), np.uint8)
    with_overlays(
        tmp_path / "in" / "1.dcm", overlay(drawn, [1, 1]), overlay(drawn, [1, 1], 0x6002, first=2)
    )
    ingest(mode="full")
    wh = ingest.warehouse  # type: ignore[attr-defined]
    assert np.array_equal(wh.volume(UID, overlay=0)[:], np.stack([drawn] * 3))
    assert wh.volume(UID, overlay=1)[:].any(axis=(1, 2)).tolist() == [False, True, False]


def test_overlays_of_real_files_equal_pydicom(tmp_path: Path) -> None:
    path = PACKAGED["pydicom"] / "test_files" / "examples_overlay.dcm"
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(path, workers=1)
    (uid,) = answer_of(wh, "select series_key from series")[0]
    wanted = pydicom.dcmread(path).overlay_array(0x6000)
    assert wanted.any()
    assert np.array_equal(wh.stack(uid, overlay=0)[0], wanted)


def test_what_is_no_overlay_is_refused(series: Ingest, tmp_path: Path) -> None:
    wh = series(voxels(2))
    for options, why in (
        ({"overlay": 16}, "from 0 to 15"),
        ({"overlay": 0, "rescale": True}, "mask"),
    ):
        with pytest.raises(UsageError, match=why):
            wh.volume(UID, **options)
    with_overlays(tmp_path / "in" / "1.dcm", overlay(DRAWN, [1, 1], without={0x3000}))
    with_overlays(tmp_path / "in" / "2.dcm", overlay(DRAWN[:, :1].repeat(40, 0), [1, 1]))
    dataset = pydicom.dcmread(tmp_path / "in" / "2.dcm")
    dataset[0x6000, 0x0010].value = 4000
    dataset.save_as(tmp_path / "in" / "2.dcm")
    wh.ingest(tmp_path / "in", workers=1)
    for number, why in ((1, "unused bits"), (0, r"damaged \(ValueError\)")):
        with pytest.raises(PixelsUnreadable, match=why):
            wh.volume(UID, overlay=0)[number]
