"""Frames of any series equal pydicom's ``pixel_array(raw=True)``: all that packages and $DICOM_CORPUS hold."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

import warehouse
from tests.pixels.conftest import UID, voxels
from warehouse.errors import NoPixels, NotAVolume, PixelError, SeriesNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

UNREADABLE_BY_PYDICOM = {
    "badVR.dcm",  # a number of frames that is no number
    "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm",  # no image at all
    "JPEG2000-embedded-sequence-delimiter.dcm",  # the delimiter stands inside the codestream
    "JPEG-lossy.dcm",  # no decoder of ours takes 12 bits
}  # fmt: skip


def as_pydicom(path: str) -> np.ndarray:
    """Return the stored frames as (frame, row, column[, sample])."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frames = pixel_array(path, raw=True)
        except (AttributeError, ValueError):  # its own reader of files misses some encodings
            frames = pydicom.pixels.get_decoder(
                (dataset := pydicom.dcmread(path)).file_meta.TransferSyntaxUID
            ).as_array(dataset, raw=True)[0]
    return frames


def differences(wh: warehouse.Warehouse) -> tuple[list[str], int]:
    """Compare every frame of every series; return what differs, and how many images do not."""
    found, equal = [], 0
    for (uid,) in wh.sql(
        "select distinct series_key from images where series_key is not null"
    ).fetchall():
        stack, first = wh.stack(uid), 0
        for image in stack.images:
            name, last = Path(image.path).name, first + image.frame_count
            if name not in UNREADABLE_BY_PYDICOM:
                wanted = as_pydicom(image.path)
                given = stack[first:last] if image.frame_count > 1 else stack[first]
                same = given.shape == wanted.shape and given.dtype == wanted.dtype.newbyteorder("=")
                if same and np.array_equal(given, wanted):
                    equal += 1
                else:
                    found.append(
                        f"{name}: {given.shape} {given.dtype}, {wanted.shape} {wanted.dtype}"
                    )
            first = last
        assert first == len(stack)
    return found, equal


def test_every_frame_of_the_packages_equals_pydicom(sample: warehouse.Warehouse) -> None:
    found, equal = differences(sample)
    assert found == []
    assert equal > 70


def test_every_frame_of_real_scanners_equals_pydicom(tmp_path: Path) -> None:
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        pytest.skip("DICOM_CORPUS names no folder")
    wh = warehouse.open(tmp_path / "w")
    wh.ingest(corpus, workers=1)
    found, equal = differences(wh)
    assert found == []
    assert equal == wh.sql("select count(*) from images").fetchall()[0][0]


def test_what_pydicom_cannot_read_is_a_named_error(sample: warehouse.Warehouse) -> None:
    refused = set()
    for uid, path in sample.sql("select series_key, path from images").fetchall():
        if (name := Path(path).name) in UNREADABLE_BY_PYDICOM - {"badVR.dcm"}:
            with pytest.raises(PixelError, match="cannot be read"):
                sample.stack(uid)[:]
            refused.add(name)
    assert len(refused) == 4


@pytest.mark.acceptance("D53")
def test_frames_come_by_instance_number_and_without_one(
    series: Callable[..., warehouse.Warehouse],
) -> None:
    pixels = voxels(3)
    wh = series(pixels, {"InstanceNumber": 7}, {"InstanceNumber": None}, {"InstanceNumber": 2},
                ImagePositionPatient=None)  # fmt: skip
    stack = wh.stack(UID)
    assert len(stack) == 3
    assert np.array_equal(stack[:], pixels[[2, 0, 1]])
    assert np.array_equal(np.asarray(stack), pixels[[2, 0, 1]])
    assert np.array_equal(stack[-1], pixels[1])
    assert np.array_equal(stack[::-2], pixels[[1, 2]])
    assert [frame[0, 0] for frame in stack] == [pixels[n][0, 0] for n in (2, 0, 1)]
    assert stack.instance_of(1) == ("1.2.3.3", 1)
    with pytest.raises(IndexError, match="frame 3 of a stack of 3"):
        stack[3]


@pytest.mark.acceptance("D57")
def test_rescaled_frames_are_float64(series: Callable[..., warehouse.Warehouse]) -> None:
    wh = series(voxels(2), {"RescaleSlope": 2}, {"RescaleSlope": 0.5}, RescaleIntercept=-1024)
    stored, rescaled = wh.stack(UID), wh.stack(UID, rescale=True)
    assert (stored[0].dtype, rescaled[0].dtype) == (np.int16, np.float64)
    assert np.array_equal(rescaled[:], stored[:] * np.array([2, 0.5])[:, None, None] - 1024)


@pytest.mark.acceptance("D60")
def test_frames_of_several_shapes_are_counted(series: Callable[..., warehouse.Warehouse]) -> None:
    three = [*voxels(2), np.zeros((2, 2), np.int16)]
    wh = series(three)  # type: ignore[arg-type]
    stack = wh.stack(UID)
    assert [frame.shape for frame in stack] == [(4, 6), (4, 6), (2, 2)]
    assert repr(stack) == "<Stack of 3 frames: 2 x 2 (1), 4 x 6 (2)>"
    for asked in (lambda: stack[:], lambda: wh.volume(UID)):
        with pytest.raises(NotAVolume, match=r"several shapes: 2 x 2 \(1\), 4 x 6 \(2\)"):
            asked()


@pytest.mark.acceptance("D57")
def test_headers_without_pixels_are_a_named_error(
    series: Callable[..., warehouse.Warehouse],
) -> None:
    wh = series(voxels(1), PixelData=None)
    for ask in (wh.stack, wh.volume):
        with pytest.raises(NoPixels, match=r"no instance of series 1\.2\.1\.1 has pixel data"):
            ask(UID)
        with pytest.raises(SeriesNotFound, match="is not the SeriesInstanceUID of a stored series"):
            ask("9.9")
    assert issubclass(NoPixels, PixelError)
