"""Bytes of one frame → its array of stored values, equal to pydicom's ``pixel_array(raw=True)``.

In: an open image and a frame number. Out: an array (rows, columns) or (rows, columns, 3), dtype
``Image.dtype``. Plain frames are read straight into the target; every other encoding, packed bits,
planes, big endian and all compressed ones, is pydicom's to decode.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from warehouse.errors import NoDecoder, PixelsUnreadable
from warehouse.pixels.codestream import size_of
from warehouse.pixels.places import Range, compressed_frames, native_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.pixels.decoders.base import Decoder

    from warehouse.pixels.image import Image
    from warehouse.pixels.source import OpenPixels

_BY_PYLIBJPEG = {str(uid) for uid in (RLELossless, JPEG2000Lossless, JPEG2000)}
"""Where the first decoder that pydicom finds is not the best.

Its own for RLE is ten times as slow; GDCM's for JPEG 2000 takes all processors for one frame, while
frames are decoded next to each other here.
"""
MAX_RLE_RATIO = 64
"""Two bytes of an RLE segment stand for at most 128 (PS3.5 G.3.1)."""

# pydicom logs whatever its plugins raise, whose text may quote a header; the reason is raised here.
logging.getLogger("pydicom").addHandler(logging.NullHandler())


def decoder_of(image: Image) -> Decoder:
    """Return pydicom's decoder for the transfer syntax of an image.

    Raises
    ------
    NoDecoder
        pydicom knows none, or none of its plugins is installed.
    """
    uid = UID(image.TransferSyntaxUID or ImplicitVRLittleEndian)
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        raise NoDecoder(str(uid), uid.name, []) from None
    if not decoder.is_available:
        raise NoDecoder(str(uid), uid.name, decoder.missing_dependencies)
    if decoder.is_encapsulated != image.is_encapsulated:
        stored = "compressed" if image.is_encapsulated else "uncompressed"
        raise PixelsUnreadable(image.path, f"{stored} pixel data, but transfer syntax {uid.name}")
    return decoder


def fragments_of(opened: OpenPixels) -> list[list[Range]] | None:
    """Return where the compressed frames of an image lie, None for an uncompressed image."""
    image = opened.image
    return compressed_frames(image, opened.read) if image.is_encapsulated else None


def read_plain(opened: OpenPixels, index: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return one frame whose bytes are its array (``Image.is_plain``).

    Parameters
    ----------
    opened
        Its header has been checked (``Image.check``).
    index
        Frame number from 0.
    out
        Where to put it: used, and returned, if it is contiguous and of the frame's dtype.

    Raises
    ------
    PixelsUnreadable
    """
    image = opened.image
    if out is None or out.dtype != image.dtype or not out.flags.c_contiguous:
        out = np.empty(image.frame_shape, image.dtype)
    offset, length = native_frame(image, index)
    assert out.nbytes == length
    opened.read_into(out, offset)
    if not np.little_endian:
        out.byteswap(inplace=True)
    unused = 8 * out.itemsize - (image.BitsStored or 0)
    if unused and image.pixel_keyword == "PixelData":
        _clear_unused(out, unused)
    return out


def read_frame(
    opened: OpenPixels, index: int, fragments: Sequence[Sequence[Range]] | None
) -> np.ndarray:
    """Return one frame of any open image.

    Parameters
    ----------
    opened
        Its header has been checked (``Image.check``).
    index
        Frame number from 0.
    fragments
        What ``fragments_of`` said.

    Raises
    ------
    PixelsUnreadable, NoDecoder
    """
    image = opened.image
    if image.is_plain:
        return read_plain(opened, index)
    decoder = decoder_of(image)
    if image.BitsAllocated == 1 and not image.is_encapsulated and decoder.UID.is_little_endian:
        return _bits(opened, index)
    options = _options(image)
    if fragments is None:
        options |= {"pixel_keyword": image.pixel_keyword, "pixel_vr": opened.pixel_vr}
        opened.file.seek(image.pixel_offset)
        array = _decoded(image, decoder, opened.file, index, options)
    else:
        encoded = b"".join(opened.read(*fragment) for fragment in fragments[index])
        array = _compressed(image, decoder, encoded, index, options)
    if array.shape != image.frame_shape:
        raise PixelsUnreadable(image.path, f"frame {index + 1} is not of Rows x Columns")
    return array.astype(image.dtype, copy=False)


def _clear_unused(frame: np.ndarray, unused: int) -> None:
    """Give unused high bits the value of the sign (PS3.5 8.1.1), where they have another.

    Most frames need no change; to see that costs less than to shift them to and fro.
    """
    information = np.iinfo(frame.dtype)
    if frame.min() < information.min >> unused or frame.max() > information.max >> unused:
        np.left_shift(frame, unused, out=frame)
        np.right_shift(frame, unused, out=frame)


def _bits(opened: OpenPixels, index: int) -> np.ndarray:
    """Unpack a frame of single bits, which may begin and end within a byte (PS3.5 8.1.1).

    pydicom's ``index`` reads too few bytes where a frame touches one more than its size would need.
    """
    image = opened.image
    count = math.prod(image.frame_shape)
    first, last = index * count, (index + 1) * count
    packed = np.empty(-(-last // 8) - first // 8, np.uint8)
    opened.read_into(packed, image.pixel_offset + first // 8)
    bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:count]
    return bits.reshape(image.frame_shape)


def _compressed(
    image: Image, decoder: Decoder, encoded: bytes, index: int, options: dict[str, Any]
) -> np.ndarray:
    if not encoded:
        raise PixelsUnreadable(image.path, f"frame {index + 1} has no bytes")
    size = size_of(encoded)
    wanted = (image.Rows, image.Columns, image.SamplesPerPixel)
    # Before any memory is asked for: a frame of some bytes may claim to hold gigabytes.
    if size is not None and size != wanted:
        raise PixelsUnreadable(
            image.path,
            f"frame {index + 1} is compressed as {_by(size)}, the header says {_by(wanted)}",
        )
    is_rle = image.TransferSyntaxUID == RLELossless
    if is_rle and int(image.frame_bytes) > MAX_RLE_RATIO * len(encoded):
        raise PixelsUnreadable(image.path, f"frame {index + 1} has too few bytes for its size")
    if image.TransferSyntaxUID in _BY_PYLIBJPEG and "pylibjpeg" in decoder.available_plugins:
        options["decoding_plugin"] = "pylibjpeg"
    # One frame as pixel data of its own: an empty offset table, one item, and the end.
    padded = encoded + b"\0" * (len(encoded) % 2)
    item = b"\xfe\xff\x00\xe0" + len(padded).to_bytes(4, "little") + padded
    whole = b"\xfe\xff\x00\xe0\0\0\0\0" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return _decoded(image, decoder, whole, 0, options, index + 1)


def _by(size: Sequence[int | None]) -> str:
    return " x ".join(str(number) for number in size)


def _decoded(
    image: Image, decoder: Decoder, source: Any, index: int, options: dict[str, Any],
    number: int | None = None,
) -> np.ndarray:  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            array, _ = decoder.as_array(source, index=index, raw=True, **options)
    except MemoryError:
        raise
    except Exception as error:
        # Plugins raise whatever they met; its text may quote the header, its type does not.
        raise PixelsUnreadable(
            image.path,
            f"frame {number or index + 1} cannot be decoded ({type(error).__name__})",
        ) from error
    return array


def _options(image: Image) -> dict[str, Any]:
    stated = {
        "rows": image.Rows, "columns": image.Columns, "samples_per_pixel": image.SamplesPerPixel,
        "photometric_interpretation": image.PhotometricInterpretation,
        "planar_configuration": image.PlanarConfiguration, "bits_allocated": image.BitsAllocated,
        "bits_stored": image.BitsStored, "pixel_representation": image.PixelRepresentation,
        "number_of_frames": 1 if image.is_encapsulated else image.frame_count,
    }  # fmt: skip
    return {name: value for name, value in stated.items() if value is not None}
