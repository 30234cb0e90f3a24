"""Read the bytes of frames, as stored or decompressed.

In: an image of the catalog. Out: bytes. Native and decompressed frames are little endian, with the
planar configuration of the header, so ``/metadata`` describes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydicom.uid import ExplicitVRBigEndian

from warehouse.pixels.decode import read_frame
from warehouse.pixels.places import native_frame
from warehouse.pixels.source import open_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from warehouse.pixels.image import Image
    from warehouse.pixels.source import OpenPixels
    from warehouse.server.found import Images

_CHUNK = 1 << 20
_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def frames(
    images: Images, image: Image, numbers: Sequence[int], *, is_stored: bool
) -> Iterator[bytes]:
    """Yield the bytes of frames.

    Parameters
    ----------
    images
        Cache of fragment ranges.
    image
        An image of the catalog.
    numbers
        Indices of frames, from 0.
    is_stored
        Return compressed frames without decompression.

    Raises
    ------
    SourceChanged, PixelsUnreadable, NoDecoder
    """
    image.check()
    with open_pixels(image) as opened:
        fragments = images.fragments(opened)
        for number in numbers:
            if fragments is None:
                yield _native(opened, number)
            elif is_stored:
                yield b"".join(opened.read(*fragment) for fragment in fragments[number])
            else:
                yield _as_bytes(image, read_frame(opened, number, fragments))


def _native(opened: OpenPixels, number: int) -> bytes:
    """Return an uncompressed frame as stored, in little endian."""
    image = opened.image
    if image.BitsAllocated == 1:
        return _single_bits(opened, number)
    if image.TransferSyntaxUID == ExplicitVRBigEndian:
        return _as_bytes(image, read_frame(opened, number, None))
    raw = np.empty(native_frame(image, number).length, np.uint8)
    opened.read_into(raw, native_frame(image, number).offset)
    return raw.tobytes()


def native_pixels(image: Image) -> Iterator[bytes]:
    """Yield the value of uncompressed pixel data, in little endian.

    Raises
    ------
    SourceChanged, PixelsUnreadable
    """
    image.check()
    with open_pixels(image) as opened:
        if image.TransferSyntaxUID == ExplicitVRBigEndian:
            for number in range(image.frame_count):
                yield _native(opened, number)
            return
        for begin in range(0, image.pixel_length, _CHUNK):
            raw = np.empty(min(_CHUNK, image.pixel_length - begin), np.uint8)
            opened.read_into(raw, image.pixel_offset + begin)
            yield raw.tobytes()


def _single_bits(opened: OpenPixels, number: int) -> bytes:
    """Return a frame of single bits, packed to start at a byte (PS3.18 8.7.3)."""
    image = opened.image
    count = math.prod(image.frame_shape)
    if count % 8 == 0:
        raw = np.empty(count // 8, np.uint8)
        opened.read_into(raw, image.pixel_offset + number * count // 8)
        return raw.tobytes()
    bits = read_frame(opened, number, None).reshape(-1)
    return np.packbits(bits, bitorder="little").tobytes()


def little_endian(chunks: Iterable[bytes], vr: str) -> Iterator[bytes]:
    """Yield the bytes of a big endian value in little endian, as DICOMweb sends all values."""
    width = _WORD_BYTES.get(vr, 1)
    rest = b""
    for chunk in chunks:
        content = rest + chunk
        end = len(content) - len(content) % width
        rest = content[end:]
        yield np.frombuffer(content[:end], f">u{width}").astype(f"<u{width}").tobytes()
    if rest:
        yield rest


def _as_bytes(image: Image, frame: np.ndarray) -> bytes:
    if image.PlanarConfiguration == 1 and frame.ndim == 3:
        frame = frame.transpose(2, 0, 1)
    little = frame.astype(frame.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).tobytes()
