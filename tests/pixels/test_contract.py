"""One suite for every kind of volume: each keeps the contract of ``warehouse.pixels.volume``, and stacks theirs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kerchunk.utils import refs_as_store

import warehouse
from tests.pixels.conftest import answered_once, voxels, write_slice
from tests.pixels.test_bad_pixels import RLE_FRAMES, rewritten
from tests.pixels.test_multiframe import (
    IN_STACK,
    SEGMENTATION,
    ULTRASOUND,
    frame,
    write_frames,
    write_mosaic,
)
from warehouse.errors import NotReferable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.pixels.volume import LazyVolume

COLORS = np.random.default_rng(7).integers(0, 255, (4, 2, 3, 3), np.uint8)
TILES = np.arange(5 * 6, dtype=np.uint16).reshape(5, 2, 3)
MAPS = np.random.default_rng(5).integers(0, 2, (2, 3, 3, 5), np.uint8)
MAPS[0, 1] = 0
FILM = {
    "SOPClassUID": ULTRASOUND, "Modality": "US", "FrameIncrementPointer": 0x00181063, "FrameTime": 40,
    "SharedFunctionalGroupsSequence": None, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB",
}  # fmt: skip
INDICES = np.random.default_rng(8).integers(0, 255, (2, 4, 6), np.uint8)
PALETTE = np.random.default_rng(9).integers(0, 255, (256, 3), np.uint8)
RESCALED = voxels(3) * np.array([1, 2, 0.5])[:, None, None] - 10


def classic(folder: Path, uid: str) -> None:
    for n, (pixels, slope) in enumerate(zip(voxels(3), (1, 2, 0.5), strict=True), 1):
        write_slice(folder / f"{uid}.{n}", pixels, uid=f"{uid}.{n}", SeriesInstanceUID=uid, InstanceNumber=n, RescaleSlope=slope,
                    RescaleIntercept=-10)  # fmt: skip


def volumes(folder: Path, uid: str) -> None:
    for n, pixels in enumerate(voxels(6)):
        place = [0, 0, 2.0 * (n % 3)]
        write_slice(folder / f"{uid}.{n}", pixels, uid=f"{uid}.{n}", SeriesInstanceUID=uid, InstanceNumber=n, ImagePositionPatient=place)  # fmt: skip


def mosaic(folder: Path, uid: str) -> None:
    write_mosaic(folder / uid, TILES, [0, 0, -1], uid=f"{uid}.1", SeriesInstanceUID=uid)


def space_and_time(folder: Path, uid: str) -> None:
    frames = [frame([0, 0, -3.0 * z], t, z + 1) for t in (1, 2) for z in range(3)]
    write_frames(
        folder / uid,
        voxels(6),
        frames,
        [0x00209128, IN_STACK],
        uid=f"{uid}.1",
        SeriesInstanceUID=uid,
    )


def segmentation(folder: Path, uid: str) -> None:
    there = [(s, z) for s in range(2) for z in range(3) if (s, z) != (0, 1)]
    stored = np.stack([MAPS[place] for place in there])
    write_frames(
        folder / uid, stored, [frame([0, 0, 3.0 * z], s + 1, z + 1, segment=s + 1) for s, z in there],
        [0x0062000B, IN_STACK], uid=f"{uid}.1", SeriesInstanceUID=uid, SOPClassUID=SEGMENTATION, Modality="SEG", BitsAllocated=1,
        BitsStored=1, HighBit=0, PixelData=np.packbits(stored.ravel(), bitorder="little").tobytes(),
    )  # fmt: skip


def film(folder: Path, uid: str) -> None:
    write_frames(folder / uid, COLORS[..., 0], [], **FILM, uid=f"{uid}.1", SeriesInstanceUID=uid, PlanarConfiguration=0,
                 PixelData=COLORS.tobytes())  # fmt: skip


def planar_film(folder: Path, uid: str) -> None:
    planes = COLORS.transpose(0, 3, 1, 2).tobytes()
    write_frames(folder / uid, COLORS[..., 0], [], **FILM, uid=f"{uid}.1", SeriesInstanceUID=uid, PlanarConfiguration=1,
                 PixelData=planes)  # fmt: skip


def compressed_film(folder: Path, uid: str) -> None:
    rewritten(folder / uid, RLE_FRAMES, FrameIncrementPointer=0x00181063, FrameTime="40")


def palette(folder: Path, uid: str) -> None:
    names = ("Red", "Green", "Blue")
    tables = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    for name, table in zip(names, PALETTE.T, strict=True):
        tables[f"{name}PaletteColorLookupTableData"] = (table.astype("<u2") * 256).tobytes()
    for n, pixels in enumerate(INDICES, 1):
        write_slice(folder / f"{uid}.{n}", pixels, uid=f"{uid}.{n}", SeriesInstanceUID=uid, InstanceNumber=n,
                    PhotometricInterpretation="PALETTE COLOR", **tables)  # fmt: skip


KINDS: dict[str, tuple[Any, dict[str, Any], Any, str]] = {
    "slices": (classic, {}, lambda: voxels(3), "slice row column"),
    "slices, rescaled": (classic, {"rescale": True}, lambda: RESCALED, "slice row column"),
    "volumes of slices": (volumes, {}, lambda: voxels(6).reshape(2, 3, 4, 6), "volume slice row column"),
    "mosaic": (mosaic, {}, lambda: TILES[::-1], "slice row column"),
    "multi-frame": (space_and_time, {}, lambda: voxels(6).reshape(2, 3, 4, 6)[:, ::-1],
                    "TemporalPositionIndex slice row column"),
    "segmentation": (segmentation, {}, lambda: MAPS, "segment slice row column"),
    "color": (film, {}, lambda: COLORS, "time row column sample"),
    "color by plane": (planar_film, {}, lambda: COLORS, "time row column sample"),
    "compressed": (compressed_film, {}, lambda: pydicom.dcmread(RLE_FRAMES).pixel_array, "time row column sample"),
    "palette": (palette, {}, lambda: INDICES, "slice row column"),
    "palette, in color": (palette, {"color": True}, lambda: PALETTE[INDICES], "slice row column sample"),
}  # fmt: skip
MAKERS = list(dict.fromkeys(maker for maker, *_ in KINDS.values()))


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    """A series of each kind, whose UID is ``1.`` and the number of its maker."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "in").mkdir()
    for number, maker in enumerate(MAKERS):
        maker(folder / "in", f"1.{number}")
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode="full", workers=1)
    with answered_once(wh, "frames"):
        yield wh


@pytest.fixture(scope="module", params=KINDS)
def kind(
    request: pytest.FixtureRequest, every_kind: warehouse.Warehouse
) -> tuple[LazyVolume, np.ndarray]:
    """A volume and the array that it has to be."""
    maker, options, wanted, dims = KINDS[request.param]
    volume = every_kind.volume(f"1.{MAKERS.index(maker)}", **options)
    assert volume.dims == tuple(dims.split())
    return volume, wanted()


def test_it_is_the_array(kind: tuple[LazyVolume, np.ndarray]) -> None:
    volume, wanted = kind
    assert (volume.shape, volume.dtype, volume.ndim) == (wanted.shape, wanted.dtype, wanted.ndim)
    assert (volume.size, volume.nbytes, len(volume)) == (wanted.size, wanted.nbytes, len(wanted))
    assert np.array_equal(np.asarray(volume), wanted)
    assert np.array_equal(np.stack(list(volume)), wanted)
    as_float = np.array(volume, dtype=np.float32, copy=True)
    assert as_float.dtype == np.float32
    assert np.array_equal(as_float, wanted.astype(np.float32))
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(volume, copy=False)


@settings(max_examples=15)
@given(data=st.data())
def test_a_basic_index_takes_what_numpy_takes(
    kind: tuple[LazyVolume, np.ndarray], data: st.DataObject
) -> None:
    volume, wanted = kind
    index = data.draw(hnp.basic_indices(volume.shape, allow_newaxis=True, max_dims=8))
    part = volume[index]
    assert np.shape(part) == wanted[index].shape
    assert part.dtype == wanted.dtype
    assert np.array_equal(part, wanted[index])


def test_backwards_beyond_and_out_of_range(kind: tuple[LazyVolume, np.ndarray]) -> None:
    volume, wanted = kind
    backwards = (slice(None, None, -1),) * volume.ndim
    for index in (backwards, (..., slice(-2, 99)), (None, -1, ...), slice(5, 1), ()):
        assert np.array_equal(volume[index], wanted[index])
    for beyond in (len(wanted), -len(wanted) - 1, (0,) * (volume.ndim + 1), [0], np.array([True])):
        with pytest.raises(IndexError):
            volume[beyond]


def test_the_answer_is_the_caller_s_to_change(kind: tuple[LazyVolume, np.ndarray]) -> None:
    volume, wanted = kind
    for _ in range(2):
        first = volume[0]
        first[...] = 77
        assert np.array_equal(volume[0], wanted[0])


def test_the_table_of_frames_names_the_place_of_each(kind: tuple[LazyVolume, np.ndarray]) -> None:
    volume, _ = kind
    depth = volume.leading + 1
    frames = volume.frames
    assert frames.columns[:depth] == list(volume.dims[:depth])
    assert frames.height == int(np.prod(volume.shape[:depth]))
    assert frames.select(frames.columns[:depth]).is_unique().all()
    assert frames.filter(
        frames["file_path"].is_null() != frames["frame_number"].is_null()
    ).is_empty()


def test_threads_may_share_it(kind: tuple[LazyVolume, np.ndarray]) -> None:
    volume, wanted = kind
    with ThreadPoolExecutor(4) as pool:
        asked = [n % len(wanted) for n in range(16)]
        for n, part in zip(asked, pool.map(volume.__getitem__, asked), strict=True):
            assert np.array_equal(part, wanted[n])


def test_other_tools_read_the_same_in_place_or_it_is_refused(
    every_kind: warehouse.Warehouse,
) -> None:
    refused = {}
    for name, (maker, options, wanted, _) in KINDS.items():
        if options:
            continue
        try:
            said = every_kind.volume(f"1.{MAKERS.index(maker)}").references()
        except NotReferable as error:
            refused[name] = error.why
            continue
        group = zarr.open_group(
            refs_as_store(json.loads(json.dumps(said))), mode="r", zarr_format=2
        )
        assert np.array_equal(group["voxels"][...], wanted()), name
    assert refused == {
        "mosaic": "its slices are tiles of mosaics",
        "segmentation": "its files omit empty frames",
        "color by plane": "its colors are stored by plane",
        "compressed": "its pixels are compressed",
    }


def test_a_stack_of_any_kind_is_its_frames_as_stored(every_kind: warehouse.Warehouse) -> None:
    for number, maker in enumerate(MAKERS):
        stack = every_kind.stack(f"1.{number}")
        wanted = np.concatenate([
            np.reshape(pydicom.pixels.pixel_array(image.path, raw=True), (image.frame_count, *image.frame_shape))
            for image in stack.images
        ])  # fmt: skip
        assert len(stack) == len(wanted)
        for index in (slice(None), slice(None, None, -2), slice(1, 99), -1, 0):
            assert np.array_equal(stack[index], wanted[index]), maker
        assert np.array_equal(np.asarray(stack, dtype=np.float32), wanted.astype(np.float32))
        with pytest.raises(IndexError):
            stack[len(wanted)]
