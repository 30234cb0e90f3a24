"""Frames of any series equal pydicom's ``pixel_array(raw=True)``: all that packages and $DICOM_CORPUS hold."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

import warehouse
from tests.asking import answer_of
from tests.conftest import PACKAGED
from tests.pixels.conftest import UID, voxels
from warehouse.errors import NoPixels, NotAVolume, PixelError, SeriesNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

COMPARED_IN_PACKAGES = 108
"""Images of the packages; a change that compares fewer has lost some."""
REFUSED = {
    # The delimiter stands inside the header of the codestream.
    "JPEG2000-embedded-sequence-delimiter.dcm": "frame 1 is compressed as 1024 x 3722445056 x 1, "
    "the header says 1024 x 256 x 1",
    "MR_truncated.dcm": "pixel data too short: 8130 bytes, but 1 frames of 64 x 64 need 8192",
    "meta_missing_tsyntax.dcm": "Rows or Columns are missing or zero",
    "nested_priv_SQ.dcm": "Rows or Columns are missing or zero",
}
"""What neither pydicom nor we can read, and what we say of it."""
ROUNDED = {"JPGExtended.dcm": 1}
"""Lossy frames that pydicom gives to the GPL decoder, which rounds otherwise (test_jpeg.py)."""


def as_pydicom(path: str) -> np.ndarray | None:
    """Return the stored frames as (frame, row, column[, sample]); None if it cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in (from_file, from_dataset):  # each misses some encodings
            try:
                return read(path)
            except Exception:  # noqa: BLE001 - whatever it is, it has no frames
                continue
    return None


def from_file(path: str) -> np.ndarray:
    return pixel_array(path, raw=True)


def from_dataset(path: str) -> np.ndarray:
    dataset = pydicom.dcmread(path, force=True)
    decoder = pydicom.pixels.get_decoder(dataset.file_meta.TransferSyntaxUID)
    return decoder.as_array(dataset, raw=True)[0]


def differences(wh: warehouse.Warehouse) -> tuple[list[str], dict[str, str], int]:
    """Compare every image: return what differs, what is refused and why, and how many are equal."""
    found, refused, equal = [], {}, 0
    for (uid,) in answer_of(wh, "select distinct series_key from images"):
        stack, first = wh.stack(uid), 0
        for image in stack.images:
            name, last = Path(image.path).name, first + image.frame_count
            wanted = as_pydicom(image.path)
            try:
                given = stack[first:last] if image.frame_count > 1 else stack[first]
            except PixelError as error:
                refused[name] = str(error)
                given = None
            first = last
            if wanted is None or given is None:
                if (wanted is None) != (given is None):
                    found.append(f"{name}: only {'pydicom' if given is None else 'we'} read it")
            elif (
                given.shape == wanted.shape
                and given.dtype == wanted.dtype.newbyteorder("=")
                and np.allclose(given, wanted, rtol=0, atol=ROUNDED.get(name, 0))
            ):
                equal += 1
            else:
                found.append(f"{name}: {given.shape} {given.dtype}, {wanted.shape} {wanted.dtype}")
        assert first == len(stack)
    return found, refused, equal


SOME = (
    "CT_small.dcm", "SC_rgb_small_odd_big_endian.dcm", "JPEGLSNearLossless_16.dcm",
    "SC_rgb_rle_2frame.dcm",
    "examples_palette.dcm", "liver_expb_1frame.dcm", "693_J2KI.dcm", "MR_truncated.dcm",
)  # fmt: skip
"""Samples of pydicom: several encodings, 8, 16 and 1 bit, two frames, color, and one too short."""


def test_frames_of_some_encodings_equal_pydicom(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    folder = PACKAGED["pydicom"] / "test_files"
    assert wh.ingest(*(folder / name for name in SOME), mode="minimal", workers=1).created == 8
    found, refused, equal = differences(wh)
    assert (found, equal) == ([], len(SOME) - 1)
    (why,) = refused.values()
    assert why.endswith(REFUSED["MR_truncated.dcm"])


@pytest.mark.long("test_frames_of_some_encodings_equal_pydicom")
def test_every_frame_of_the_packages_equals_pydicom(tmp_path: Path) -> None:
    """File by file: those that hold an instance of another one are read in a warehouse of their own."""
    left = [
        path for folder in PACKAGED.values() for path in folder.rglob("*")
        if path.suffix in {"", ".dcm"} and path.is_file()
    ]  # fmt: skip
    for path in PACKAGED["nibabel"].glob("*.dcm.gz"):
        left.append(tmp_path / path.stem)
        left[-1].write_bytes(gzip.decompress(path.read_bytes()))
    different, refused, equal, count = [], {}, 0, 0
    while left:
        wh = warehouse.open(tmp_path / f"w{len(left)}", create=True)
        wh.ingest(*left, mode="minimal", workers=1)
        found, why, same = differences(wh)
        different, refused, equal = different + found, refused | why, equal + same
        count += answer_of(wh, "select count(*) from images")[0][0]
        asked = "select file_path from files where status = 'duplicate'"
        left = [Path(path) for (path,) in answer_of(wh, asked)]
    assert different == ["badVR.dcm: only we read it"]  # its number of frames is no number
    said = {name: why.partition("cannot be read: ")[2] for name, why in refused.items()}
    assert said == REFUSED
    assert equal == count - len(REFUSED) - 1 >= COMPARED_IN_PACKAGES


@pytest.mark.long("test_frames_of_some_encodings_equal_pydicom")
def test_every_frame_of_real_scanners_equals_pydicom(corpus: warehouse.Warehouse) -> None:
    found, refused, equal = differences(corpus)
    assert (found, refused) == ([], {})
    assert equal == answer_of(corpus, "select count(*) from images")[0][0]


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
