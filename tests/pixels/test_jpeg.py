"""JPEG frames are decoded by GDCM, and have the values of the decoder under the GPL."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGTransferSyntaxes,
    RLELossless,
)

import warehouse
from tests.dicom_files import image, write
from warehouse.errors import PixelsUnreadable
from warehouse.pixels import decode, jpeg

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SAMPLES = Path(pydicom.data.__path__[0]) / "test_files"
LOSSLESS = (JPEGLossless, JPEGLosslessSV1)
TOLERANCE = {JPEGBaseline8Bit: 1, JPEGExtended12Bit: 1}
"""Of stored values: implementations of the inverse DCT may round otherwise (ITU-T T.83, 4.2)."""
GPL_CANNOT = {"JPEG-lossy.dcm"}
"""Its scan ends at coefficient 0, where ITU-T T.81 B.2.3 wants 63; pydicom's JPGExtended.dcm is the
same image without that fault."""


def jpeg_files(folder: Path) -> dict[str, Dataset]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(132)
            if head[128:] == b"DICM":
                meta = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"])
                uid = meta.file_meta.get("TransferSyntaxUID")
                if uid in JPEGTransferSyntaxes and "Rows" in meta:
                    found[path.name] = pydicom.dcmread(path)
    return found


@pytest.fixture(scope="module")
def samples() -> dict[str, Dataset]:
    return jpeg_files(SAMPLES)


def frame_by(dataset: Dataset, plugin: str) -> np.ndarray:
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    return decoder.as_array(dataset, raw=True, index=0, decoding_plugin=plugin)[0]


def differs(dataset: Dataset) -> str:
    uid = dataset.file_meta.TransferSyntaxUID
    ours, theirs = frame_by(dataset, jpeg.LABEL), frame_by(dataset, "pylibjpeg")
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return f"{ours.shape} {ours.dtype}, {theirs.shape} {theirs.dtype}"
    by = int(np.abs(ours.astype(np.int64) - theirs).max())
    return f"by {by}" if by > TOLERANCE.get(uid, 0) else ""


def test_every_sample_has_the_values_of_the_gpl_decoder(samples: dict[str, Dataset]) -> None:
    found = {name: differs(it) for name, it in samples.items() if name not in GPL_CANNOT}
    assert len(found) == 16
    assert {it.file_meta.TransferSyntaxUID for it in samples.values()} >= {
        JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1,
    }  # fmt: skip
    assert not {name: how for name, how in found.items() if how}


@pytest.mark.skipif("DICOM_CORPUS" not in os.environ, reason="DICOM_CORPUS names no folder")
def test_every_file_of_the_corpus_has_the_values_of_the_gpl_decoder() -> None:
    found = {name: differs(it) for name, it in jpeg_files(Path(os.environ["DICOM_CORPUS"])).items()}
    assert found
    assert not {name: how for name, how in found.items() if how}


def test_a_lossy_frame_of_12_bits_with_a_wrong_scan_header(samples: dict[str, Dataset]) -> None:
    wrong, right = samples["JPEG-lossy.dcm"], samples["JPGExtended.dcm"]
    assert wrong.BitsStored == 12
    assert np.array_equal(frame_by(wrong, jpeg.LABEL), frame_by(right, jpeg.LABEL))


def test_12_bits_are_decoded_without_a_message(
    samples: dict[str, Dataset], capfd: pytest.CaptureFixture[str]
) -> None:
    frame_by(samples["JPGExtended.dcm"], jpeg.LABEL)
    assert capfd.readouterr() == ("", "")  # python-gdcm issue 35


# -- selection values of lossless JPEG: no sample of 1.2.840.10008.1.2.4.57 is to be had ------------


def predicted(words: np.ndarray, row: int, column: int, selection: int, precision: int) -> int:
    """ITU-T T.81 H.1.2.1: the first line by the left sample, the first column by the one above."""
    if not row and not column:
        return 1 << (precision - 1)
    if not row:
        return int(words[row, column - 1])
    if not column:
        return int(words[row - 1, column])
    a, b, c = (
        int(words[at]) for at in ((row, column - 1), (row - 1, column), (row - 1, column - 1))
    )
    return (a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)[selection - 1]


def lossless(words: np.ndarray, selection: int, precision: int) -> bytes:
    """Return a codestream with every category coded in 5 bits."""
    rows, columns = words.shape
    bits: list[str] = []
    for row in range(rows):
        for column in range(columns):
            wanted = int(words[row, column])
            step = wanted - predicted(words, row, column, selection, precision)
            step = (step + (1 << 15)) % (1 << 16) - (1 << 15)
            size = 16 if step == -(1 << 15) else abs(step).bit_length()
            bits.append(f"{size:05b}")
            if 0 < size < 16:
                bits.append(f"{step if step > 0 else step + (1 << size) - 1:0{size}b}")
    packed = "".join(bits)
    packed += "1" * (-len(packed) % 8)
    scan = int(packed, 2).to_bytes(len(packed) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, precision, rows, columns, 1, 1, 0x11, 0)
    table = (
        b"\xff\xc4" + struct.pack(">HB", 36, 0) + bytes([0] * 4 + [17] + [0] * 11 + [*range(17)])
    )
    start = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, selection, 0, 0)
    return b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9"


PREDICTED = [(selection, precision) for selection in range(1, 8) for precision in (8, 12, 16)]


def words_of(selection: int, precision: int) -> np.ndarray:
    words = np.random.default_rng(selection).integers(0, 1 << precision, (9, 7))
    return words.astype("u1" if precision == 8 else "u2")


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A series of each predictor and precision, named ``1.PREDICTOR.PRECISION``."""
    folder = tmp_path_factory.mktemp("predictors")
    for selection, precision in PREDICTED:
        words = words_of(selection, precision)
        uid = f"1.{selection}.{precision}"
        path = folder / "in" / uid
        made = image(f"{uid}.1", SeriesInstanceUID=uid, Rows=9, Columns=7, BitsAllocated=8 * words.itemsize,
                     BitsStored=precision, HighBit=precision - 1, PixelRepresentation=0,
                     PixelData=words.tobytes())  # fmt: skip
        write(path, made)
        made.file_meta.TransferSyntaxUID = JPEGLossless
        made.PixelData = encapsulate([lossless(words, selection, precision)])
        made["PixelData"].is_undefined_length = True
        made.save_as(path, enforce_file_format=True)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    return wh


@pytest.mark.parametrize(("selection", "precision"), PREDICTED)
def test_every_predictor_of_lossless_frames(
    predictions: warehouse.Warehouse, selection: int, precision: int
) -> None:
    wanted = words_of(selection, precision)
    stack = predictions.stack(f"1.{selection}.{precision}")
    assert stack[0].dtype == wanted.dtype
    assert np.array_equal(stack[0], wanted)
    theirs = frame_by(pydicom.dcmread(stack.images[0].path), "pylibjpeg")
    assert np.array_equal(theirs, wanted)


# -- what is refused, and who decodes ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_dcmtk.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm"]
)
def test_a_frame_that_is_cut_off_is_refused(
    name: str, samples: dict[str, Dataset], tmp_path: Path
) -> None:
    """The GPL decoder fills the rest with gray and says nothing: no number is better than that."""
    whole = samples[name]
    cut = pydicom.dcmread(SAMPLES / name)
    frame = get_frame(whole.PixelData, 0, number_of_frames=1)
    cut.PixelData = encapsulate([frame[: len(frame) // 2]])
    cut["PixelData"].is_undefined_length = True
    cut.save_as(tmp_path / "a.dcm")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "a.dcm", workers=1)
    with pytest.raises(PixelsUnreadable, match="frame 1 cannot be decoded"):
        wh.stack(cut.SeriesInstanceUID)[0]
    assert frame_by(cut, "pylibjpeg").shape == frame_by(whole, "pylibjpeg").shape


@pytest.mark.parametrize(
    ("uid", "first"),
    [
        *((uid, "dicom-warehouse") for uid in JPEGTransferSyntaxes),
        (JPEGLSLossless, "pyjpegls"), (JPEG2000Lossless, "pylibjpeg"), (RLELossless, "pylibjpeg"),
    ],
)  # fmt: skip
def test_the_decoder_does_not_depend_on_what_else_is_installed(uid: str, first: str) -> None:
    decoder = get_decoder(uid)
    assert len(decoder.available_plugins) > 1
    assert decode._plugin(decoder) == decode.DECODERS[uid][0] == first
