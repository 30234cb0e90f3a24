"""Voxels are read in place by zarr, xarray and dask, and equal ours; what they would read wrongly is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from kerchunk.utils import refs_as_store

import warehouse
from tests.dicom_files import image, write
from tests.pixels.conftest import UID, voxels, write_slice
from tests.pixels.test_bad_pixels import RLE_FRAMES, rewritten
from tests.pixels.test_multiframe import IN_STACK, SEGMENTATION, frame, write_frames, write_mosaic
from warehouse.errors import NotReferable, SourceChanged, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.pixels.volume import LazyVolume

    Ingest = Callable[..., warehouse.Warehouse]


def opened(volume: LazyVolume) -> Any:
    """Return the array as zarr reads it, out of JSON."""
    references = json.loads(json.dumps(volume.references()))
    return zarr.open_group(refs_as_store(references), mode="r", zarr_format=2)["voxels"]


def test_a_series_is_read_in_place(series: Ingest) -> None:
    volume = series(voxels(5), RescaleSlope=2, RescaleIntercept=-1000).volume(UID)
    said = json.dumps(volume.references())
    assert len(said) < 4000, "nothing is copied"
    group = zarr.open_group(refs_as_store(json.loads(said)), mode="r", zarr_format=2)
    found = group["voxels"]
    assert (found.dtype, found.shape, found.chunks) == (np.int16, (5, 4, 6), (1, 4, 6))
    assert np.array_equal(found[...], voxels(5))
    assert np.array_equal(found[3, 1:, 2], voxels(5)[3, 1:, 2])
    assert group["slice"][:].tolist() == [0, 2, 4, 6, 8]
    assert group["column"].attrs["units"] == "mm"
    assert volume.affine is not None
    assert dict(found.attrs) == {
        "_ARRAY_DIMENSIONS": ["slice", "row", "column"], "SeriesInstanceUID": UID,
        "affine": volume.affine.tolist(), "spacing_mm": [2, 0.5, 0.75],
        "RescaleSlope": 2, "RescaleIntercept": -1000, "rescaled_unit": "HU",
    }  # fmt: skip


def test_frames_of_one_file_and_colors_have_places_of_their_own(
    tmp_path: Path, ingest: Ingest
) -> None:
    frames = [frame([0, 0, -3.0 * z], t, z + 1) for t in (1, 2) for z in range(3)]
    write_frames(tmp_path / "in" / "1.dcm", voxels(6), frames, [0x00209128, IN_STACK])
    empty = [frame([0, 0, 3.0 * z], 1, z + 1, segment=s) for s, z in [(1, 0), (1, 1), (2, 1)]]
    write_frames(
        tmp_path / "in" / "2.dcm", voxels(3), empty, [0x0062000B, IN_STACK],
        SOPClassUID=SEGMENTATION, SeriesInstanceUID="1.6",
    )  # fmt: skip
    colors = np.random.default_rng(3).integers(0, 255, (2, 4, 6, 3), np.uint8)
    for number, pixels in enumerate(colors):
        write_slice(
            tmp_path / "in" / f"c{number}.dcm", pixels, SeriesInstanceUID="1.5", SamplesPerPixel=3,
            PhotometricInterpretation="RGB", PlanarConfiguration=0, InstanceNumber=number + 1,
        )  # fmt: skip
    ingest(mode="full")
    wh: warehouse.Warehouse = ingest.warehouse  # type: ignore[attr-defined]
    group = zarr.open_group(refs_as_store(wh.volume(UID).references()), mode="r", zarr_format=2)
    assert np.array_equal(group["voxels"][...], voxels(6).reshape(2, 3, 4, 6)[:, ::-1])
    assert group["TemporalPositionIndex"][:].tolist() == [1, 2]
    assert np.array_equal(opened(wh.volume("1.5"))[...], colors)
    with pytest.raises(NotReferable, match="omit empty frames"):
        wh.volume("1.6").references()


def test_scales_of_frames_that_differ_are_listed(series: Ingest) -> None:
    volume = series(voxels(2), {"RescaleSlope": 2}, {"RescaleSlope": 3}).volume(UID)
    assert opened(volume).attrs["RescaleSlope"] == [2, 3]


def big_endian(path: Path, pixels: np.ndarray, number: int, **attributes: Any) -> None:
    made = image(
        f"1.2.3.{number}", SeriesInstanceUID=UID, Rows=4, Columns=6, PixelRepresentation=1,
        ImagePositionPatient=[0, 0, number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1],
        **{"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelData": pixels.astype(">i2").tobytes(), **attributes},
    )  # fmt: skip
    write(path, made, syntax="big")


def test_another_order_of_bytes_is_said(tmp_path: Path, ingest: Ingest) -> None:
    for number, pixels in enumerate(voxels(3)):
        big_endian(tmp_path / "in" / f"{number}.dcm", pixels, number)
    ingest()
    volume = ingest.warehouse.volume(UID)  # type: ignore[attr-defined]
    theirs = opened(volume)
    assert theirs.dtype.str == ">i2"
    assert np.array_equal(theirs[...], voxels(3))
    assert np.array_equal(np.asarray(volume), voxels(3))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"BitsStored": 12, "HighBit": 11}, r"frame 1 of .* has bits that are not part of its values"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 1, "Rows": 2, "Columns": 4,
          "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}, "stored by plane"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0}, "packed"),
    ],
)  # fmt: skip
def test_what_other_tools_would_read_wrongly_is_refused(
    attributes: dict[str, Any], reason: str, series: Ingest
) -> None:
    volume = series(voxels(2) + 5000, **attributes).volume(UID)
    with pytest.raises(NotReferable, match=reason):
        volume.references()


def test_unused_bits_that_are_regular_change_nothing(series: Ingest) -> None:
    volume = series(voxels(2), BitsStored=12, HighBit=11).volume(UID)
    assert np.array_equal(opened(volume)[...], voxels(2))


def test_mosaics_compressed_frames_and_changed_files_are_refused(
    tmp_path: Path, ingest: Ingest
) -> None:
    write_mosaic(tmp_path / "in" / "m.dcm", np.ones((5, 2, 3), np.uint16), [0, 0, 1])
    rewritten(tmp_path / "in" / "1.7", RLE_FRAMES, FrameIncrementPointer=0x00181063, FrameTime="40")
    for number, pixels in enumerate(voxels(2)):
        write_slice(
            tmp_path / "in" / f"c{number}.dcm", pixels, SeriesInstanceUID="1.8",
            InstanceNumber=number + 1, **({"BitsStored": 15, "HighBit": 14} if number else {}),
        )  # fmt: skip
    ingest(mode="full")
    wh: warehouse.Warehouse = ingest.warehouse  # type: ignore[attr-defined]
    for uid, reason in {UID: "tiles of mosaics", "1.7": "compressed"}.items():
        with pytest.raises(NotReferable, match=reason):
            wh.volume(uid).references()
    with pytest.raises(UsageError, match="stored values"):
        wh.volume("1.8", rescale=True).references()
    assert len(wh.volume("1.8").references()["refs"]) > 4
    (tmp_path / "in" / "c1.dcm").write_bytes(b"another")
    with pytest.raises(SourceChanged):
        wh.volume("1.8").references()
