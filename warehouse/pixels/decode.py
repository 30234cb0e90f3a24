"""Decode one frame to its stored values, equal to pydicom's ``pixel_array(raw=True)``.

In: an open image and a frame number. Out: an array (rows, columns) or (rows, columns, 3), dtype
``Image.dtype``. Plain frames are read directly into the target. pydicom decodes all other
encodings: packed bits, planar configuration, big endian and compressed frames.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from warehouse.errors import ArrayTooLarge, NoDecoder, PixelsUnreadable
from warehouse.pixels import jpeg
from warehouse.pixels.codestream import Codestream, describe
from warehouse.pixels.places import Range, compressed_frames, native_frame
from warehouse.pixels.source import open_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.pixels.decoders.base import Decoder

    from warehouse.pixels.image import Image
    from warehouse.pixels.source import OpenPixels

jpeg.register()

DECODERS = {
    **dict.fromkeys(JPEGTransferSyntaxes, (jpeg.LABEL, "pylibjpeg", "pillow")),
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls", "gdcm")),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ("pylibjpeg", "gdcm", "pillow")),
    RLELossless: ("pylibjpeg", "pydicom"),
}
"""Transfer syntax → plugins of pydicom, of which only the first installed one is used.

With one decoder per transfer syntax, values do not depend on other installed plugins, nor on
failures of the first one. GDCM rejects truncated JPEG frames; libjpeg (``[gpl]``) fills them with
gray. GDCM cannot decode JPEG-LS with 6 or 7 bits, and for JPEG 2000 it uses all processors for one
frame, whereas this package decodes several frames in parallel. pydicom's own RLE decoder is ten
times as slow.
"""
_CODESTREAMS = {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes}

# pydicom logs exceptions of its plugins, whose text may quote a header; this module raises its own.
logging.getLogger("pydicom").addHandler(logging.NullHandler())


def decoder_of(image: Image) -> Decoder:
    """Return pydicom's decoder for the transfer syntax of an image.

    Raises
    ------
    NoDecoder
        pydicom has no decoder, or none of its plugins is installed.
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
    """Return the byte ranges of the compressed frames of an image; None if it is uncompressed."""
    image = opened.image
    return compressed_frames(image, opened.read) if image.is_encapsulated else None


def read_plain(opened: OpenPixels, index: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return one frame whose stored bytes are its array (``Image.is_plain``).

    Parameters
    ----------
    opened
        Its header has been checked (``Image.check``).
    index
        Frame number from 0.
    out
        Target array; used and returned if it is contiguous and has the dtype of the frame.

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
    return out if image.keeps_words else _samples(image, out)


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
        Result of ``fragments_of``.

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
    precision = None
    if fragments is None:
        options |= {"pixel_keyword": image.pixel_keyword, "pixel_vr": opened.pixel_vr}
        opened.file.seek(image.pixel_offset)
        array = _decoded(image, decoder, opened.file, index, options)
    else:
        encoded = b"".join(opened.read(*fragment) for fragment in fragments[index])
        precision = _precision(image, encoded, index)
        array = _compressed(image, decoder, encoded, index, options)
    if array.shape != image.frame_shape:
        raise PixelsUnreadable(image.path, f"frame {index + 1} is not of Rows x Columns")
    array = array.astype(image.dtype, copy=False)
    return array if image.keeps_words else _samples(image, array, precision)


def read_words(image: Image, index: int) -> tuple[np.ndarray, int]:
    """Return a frame as unsigned words with all bits as stored, and the number of bits of a word.

    This is less than Bits Allocated if the codestream has a lower precision.

    Raises
    ------
    SourceChanged, PixelsUnreadable, NoDecoder
    """
    image.check()
    with open_pixels(image._replace(keeps_words=True)) as opened:
        fragments = fragments_of(opened)
        frame = read_frame(opened, index, fragments)
        precision = None
        if fragments is not None:
            encoded = b"".join(opened.read(*fragment) for fragment in fragments[index])
            precision = _precision(image, encoded, index)
    return frame.view(f"u{frame.itemsize}"), precision or 8 * frame.itemsize


def _samples(image: Image, words: np.ndarray, precision: int | None = None) -> np.ndarray:
    """Clear the bits of words outside of Bits Stored, in place; return the samples.

    These bits get the value of the sign bit (PS3.5 8.1.1), even if a decoder left other data there,
    such as overlays of old files. Most frames need no change, and checking that is cheaper than
    shifting all words.

    Parameters
    ----------
    image
        Its High Bit gives the position of samples in a word.
    words
        A frame.
    precision
        Bits per sample of the codestream; if not above Bits Stored, words have only sample bits.
    """
    allocated = 8 * words.itemsize
    stored = image.BitsStored or allocated
    if image.pixel_keyword != "PixelData" or stored >= allocated or not words.size:
        return words
    high = image.high_bit_of_words
    if high == stored - 1 or (precision is not None and precision <= stored):
        information = np.iinfo(words.dtype)
        unused = allocated - stored
        if words.min() >= information.min >> unused and words.max() <= information.max >> unused:
            return words
        high = stored - 1
    words = words if words.flags.writeable else words.copy()
    np.left_shift(words, allocated - 1 - high, out=words)
    np.right_shift(words, allocated - stored, out=words)
    return words


def _bits(opened: OpenPixels, index: int) -> np.ndarray:
    """Unpack a frame of single bits, which may begin and end within a byte (PS3.5 8.1.1).

    pydicom's ``index`` reads too few bytes if a frame spans one byte more than its size requires.
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
    plugin = _plugin(decoder)
    if plugin is not None:
        options["decoding_plugin"] = plugin
    # Encapsulate one frame: an empty offset table, one item, and the delimiter.
    padded = encoded + b"\0" * (len(encoded) % 2)
    item = b"\xfe\xff\x00\xe0" + len(padded).to_bytes(4, "little") + padded
    whole = b"\xfe\xff\x00\xe0\0\0\0\0" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return _decoded(image, decoder, whole, 0, options, index + 1)


def _plugin(decoder: Decoder) -> str | None:
    """Return the plugin to decode with: the one in ``DECODERS``, else pydicom's choice."""
    installed = decoder.available_plugins
    return next((name for name in DECODERS.get(decoder.UID, ()) if name in installed), None)


def _precision(image: Image, encoded: bytes, index: int) -> int | None:
    """Return the precision of a codestream, after checking its size against the header.

    This is done before memory is allocated, because a few bytes may declare a frame of gigabytes.

    Raises
    ------
    PixelsUnreadable
    """
    frame = f"frame {index + 1}"
    if not encoded:
        raise PixelsUnreadable(image.path, f"{frame} has no bytes")
    found: list[Codestream] = []
    if image.TransferSyntaxUID in _CODESTREAMS:
        found = describe(encoded)
        if not found:
            raise PixelsUnreadable(
                image.path, f"{frame} is not a codestream of its transfer syntax"
            )
    wanted = (image.Rows, image.Columns, image.SamplesPerPixel)
    for codestream in found:
        if codestream[:3] != wanted:
            raise PixelsUnreadable(
                image.path,
                f"{frame} is compressed as {_by(codestream[:3])}, the header says {_by(wanted)}",
            )
    if image.is_beyond(len(encoded)):
        raise PixelsUnreadable(image.path, f"{frame} has too few bytes for its size")
    return found[0].precision if found else None


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
        size = math.prod(image.frame_shape) * image.dtype.itemsize
        raise ArrayTooLarge(f"frame {number or index + 1} of {image.path}", size) from None
    except Exception as error:
        # Plugins raise any type. Report only the type, because the text may quote the header.
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
    corrected = not image.keeps_words
    return {name: value for name, value in stated.items() if value is not None} | {
        "apply_j2k_sign_correction": corrected, "apply_jls_sign_correction": corrected,
        "correct_unused_bits": False,  # see ``_samples``
    }  # fmt: skip
