"""Bits beyond Bits Stored reach no value, in any transfer syntax; overlays in them can be asked for."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import warehouse
from tests.dicom_files import SYNTAXES, image, write
from warehouse.errors import PixelsUnreadable
from warehouse.pixels import codestream

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

NATIVE = tuple(SYNTAXES)
COMPRESSED = {
    "rle": RLELossless, "jpeg 2000": JPEG2000Lossless, "jpeg-ls": JPEGLSLossless,
    "jpeg lossless": JPEGLosslessSV1,
}  # fmt: skip
DRAWN = np.eye(64, dtype=np.uint16)
SAMPLES = {
    "unsigned": np.arange(4096, dtype=np.uint16).reshape(64, 64),
    "signed": np.arange(4096, dtype=np.int16).reshape(64, 64) - 2048,
}


def jpeg_lossless(words: np.ndarray) -> bytes:
    """Return a JPEG lossless codestream of 16 bits (ITU-T T.81 H), every category coded in 5 bits."""
    rows, columns = words.shape
    bits: list[str] = []
    wide = words.astype(np.int64)
    for row in range(rows):
        for column in range(columns):
            above = wide[row - 1, 0] if row else 1 << 15
            predicted = wide[row, column - 1] if column else above
            step = int((wide[row, column] - predicted + (1 << 15)) % (1 << 16) - (1 << 15))
            size = 16 if step == -(1 << 15) else abs(step).bit_length()
            bits.append(f"{size:05b}")
            if 0 < size < 16:
                bits.append(f"{step if step > 0 else step + (1 << size) - 1:0{size}b}")
    packed = "".join(bits)
    packed += "1" * (-len(packed) % 8)
    scan = int(packed, 2).to_bytes(len(packed) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, 16, rows, columns, 1, 1, 0x11, 0)
    counts = bytes([0, 0, 0, 0, 17, *[0] * 11])
    table = b"\xff\xc4" + struct.pack(">HB", 36, 0) + counts + bytes(range(17))
    start = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9"


def put(path: Path, words: np.ndarray, syntax: str, uid: str, **attributes: Any) -> None:
    """Write words of 16 bits in a transfer syntax, codestreams with a precision of 16."""
    usual = {
        "uid": f"{uid}.1", "SeriesInstanceUID": uid, "Rows": words.shape[0], "Columns": words.shape[1],
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelData": words.tobytes(),
    }  # fmt: skip
    made = image(**{**usual, **attributes})
    for element, vr, value in (
        (0x10, "US", words.shape[0]), (0x11, "US", words.shape[1]), (0x40, "CS", "G"), (0x50, "SS", [1, 1]),
        (0x100, "US", 16), (0x102, "US", 15),
    ):  # fmt: skip
        made.add_new(0x60000000 | element, vr, value)
    made["PixelData"].VR = "OW"
    if syntax in COMPRESSED:
        write_compressed(path, made, words, COMPRESSED[syntax])
    else:
        order = ">" if syntax == "big" else "<"
        made.PixelData = words.astype(words.dtype.newbyteorder(order)).tobytes()
        write(path, made, syntax)


def write_compressed(path: Path, made: Dataset, words: np.ndarray, uid: str) -> None:
    stored, high, sign = made.BitsStored, made.HighBit, made.PixelRepresentation
    write(path, made)  # for the meta information
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if uid == JPEGLosslessSV1:
        made.PixelData = encapsulate([jpeg_lossless(words)])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = uid
    else:  # as compressors of such files do, which take words for samples
        made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 15, 0
        made.compress(uid, words.view(np.uint16), generate_instance_uid=False)
    made.BitsStored, made.HighBit, made.PixelRepresentation = stored, high, sign
    made.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module", params=["full", "minimal"])
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A warehouse of words with more than samples; UIDs name syntax, sign and place."""
    folder = tmp_path_factory.mktemp("bits")
    (folder / "in").mkdir()
    for s, syntax in enumerate((*NATIVE, *COMPRESSED)):
        for n, samples in enumerate(SAMPLES.values()):
            sign = {"PixelRepresentation": n}
            low = (samples.view(np.uint16) & 0x0FFF) | DRAWN << 15
            put(folder / "in" / f"a{s}{n}", low, syntax, f"1.1.{s}.{n}", **sign)
            high = samples.view(np.uint16) << 4 | DRAWN
            put(folder / "in" / f"b{s}{n}", high, syntax, f"1.2.{s}.{n}", HighBit=15, **sign)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode=request.param, workers=1)
    return wh


@pytest.mark.parametrize("sign", SAMPLES)
@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
def test_only_bits_stored_are_samples(syntax: str, sign: str, every: warehouse.Warehouse) -> None:
    """PS3.5 8.1.1; pydicom issue 2260, fo-dicom issue 110."""
    wanted = SAMPLES[sign]
    at = f"{[*NATIVE, *COMPRESSED].index(syntax)}.{list(SAMPLES).index(sign)}"
    frame = every.stack(f"1.1.{at}")[0]
    assert frame.dtype == wanted.dtype
    assert np.array_equal(frame, wanted)
    assert np.array_equal(every.stack(f"1.1.{at}", rescale=True)[0], wanted)
    assert np.array_equal(every.stack(f"1.1.{at}", overlay=0)[0], DRAWN)
    # High Bit at the top of the word: four bits below the samples (PS3.5 8.1.1, 2003)
    assert np.array_equal(every.stack(f"1.2.{at}")[0], wanted)
    with pytest.raises(PixelsUnreadable, match="unused bits of the pixels, but bit 15 is used"):
        every.stack(f"1.2.{at}", overlay=0)[0]


def test_a_codestream_without_the_bit_holds_no_overlay(tmp_path: Path) -> None:
    words = SAMPLES["unsigned"]
    (tmp_path / "in").mkdir()
    put(tmp_path / "in" / "a", words, "jpeg 2000", "1.3")
    made = pydicom.dcmread(tmp_path / "in" / "a")
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.PixelData = words.tobytes()
    made["PixelData"].is_undefined_length = False
    made.compress(JPEG2000Lossless, words, generate_instance_uid=False)
    made.save_as(tmp_path / "in" / "a")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert np.array_equal(wh.stack("1.3")[0], words)
    with pytest.raises(PixelsUnreadable, match="bit 15, which its compressed pixels do not have"):
        wh.stack("1.3", overlay=0)[0]


@pytest.mark.parametrize("high", [10, 16, 99])
def test_a_high_bit_that_cannot_be_is_refused(high: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path / "in" / "a", SAMPLES["unsigned"], "explicit", "1.4", HighBit=high)
    for mode in ("minimal", "full"):
        wh = warehouse.open(tmp_path / mode, create=True)
        wh.ingest(tmp_path / "in", mode=mode, workers=1)
        with pytest.raises(PixelsUnreadable, match="HighBit is not between"):
            wh.stack("1.4")[0]


def test_the_encoder_of_these_tests_says_what_it_is() -> None:
    frame = jpeg_lossless(SAMPLES["unsigned"])
    assert codestream.describe(frame) == [(64, 64, 1, 16)]
