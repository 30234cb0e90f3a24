"""Decode an overlay of an image as a mask of the size of its frame.

In: an image, a frame and the number of an overlay. Out: a mask of 0 and 1, (row, column). Overlay
planes are in the header (PS3.3 C.9.2, groups 6000 to 601E); pydicom unpacks their bits. Before 2004
they could also be stored in unused bits of the pixel data (PS3.5 8.1.2, retired).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom

from warehouse.dicom.pydicom_warnings import unheard
from warehouse.errors import PixelsUnreadable
from warehouse.pixels.decode import read_words
from warehouse.pixels.facts import with_high_bit
from warehouse.pixels.source import open_pixels

if TYPE_CHECKING:
    from warehouse.pixels.image import Image

PLANES = 16
"""Number of groups that may have an overlay."""

_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME, _BITS, _POSITION, _DATA = (
    0x0010, 0x0011, 0x0015, 0x0050, 0x0051, 0x0100, 0x0102, 0x3000,
)  # fmt: skip


def mask_of(image: Image, index: int, plane: int) -> np.ndarray:
    """Return an overlay as a mask of the frame: uint8, (row, column); zero if it has none.

    Parameters
    ----------
    image
        Its header is read.
    index
        Frame number from 0.
    plane
        0 for group 6000, 1 for 6002, to 15.

    Raises
    ------
    SourceChanged
    PixelsUnreadable
        The overlay is damaged, or the bits with the overlay are missing.
    """
    group = 0x6000 + 2 * plane
    mask = np.zeros(image.frame_shape[:2], np.uint8)
    wanted = [
        group << 16 | element
        for element in (_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME, _BITS, _POSITION, _DATA)
    ]
    with open_pixels(image) as opened, unheard():
        opened.file.seek(0)
        try:
            found = pydicom.dcmread(
                opened.file, stop_before_pixels=True, specific_tags=wanted, force=True
            )
            if (group, _ROWS) not in found and (group, _DATA) not in found:
                return mask
            if (group, _DATA) in found:
                _draw(mask, found, group, index)
                return mask
            position = int(_value(found, group, _POSITION, 0))
        except Exception as error:
            why = f"overlay {plane} is damaged ({type(error).__name__})"
            raise PixelsUnreadable(image.path, why) from error
    return _embedded(image, index, plane, position)


def _embedded(image: Image, index: int, plane: int, position: int) -> np.ndarray:
    """Return the bit of each word that a retired embedded overlay is in."""
    image = with_high_bit(image)
    highest = image.high_bit_of_words
    if highest - (image.BitsStored or 0) < position <= highest or position < 0:
        why = f"overlay {plane} should be in unused bits of the pixels, but bit {position} is used"
        raise PixelsUnreadable(image.path, why)
    words, bits = read_words(image, index)
    if position >= bits or words.ndim > 2:
        why = f"overlay {plane} is in bit {position}, which its compressed pixels do not have"
        raise PixelsUnreadable(image.path, why)
    mask: np.ndarray = (words >> words.dtype.type(position) & words.dtype.type(1)).astype(np.uint8)
    return mask


def _draw(mask: np.ndarray, found: pydicom.Dataset, group: int, index: int) -> None:
    """Copy an overlay to its origin in the frame, cropped to the frame.

    A plane without Number of Frames in Overlay and Image Frame Origin applies to all frames of the
    image (PS3.3 C.9.2, C.9.3).
    """
    drawn = found.overlay_array(group)
    drawn = drawn.reshape(-1, *drawn.shape[-2:])
    frames, first = (_value(found, group, element, None) for element in (_FRAMES, _FIRST_FRAME))
    is_of_all = frames is None and first is None
    number = 0 if is_of_all else index - (int(first or 1) - 1)
    if not 0 <= number < len(drawn):
        return
    top, left = (int(place) - 1 for place in _value(found, group, _ORIGIN, [1, 1]))
    rows, columns = mask.shape
    inside = drawn[
        number, max(0, -top) : max(0, rows - top), max(0, -left) : max(0, columns - left)
    ]
    top, left = max(top, 0), max(left, 0)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside


def _value(found: pydicom.Dataset, group: int, element: int, default: object) -> Any:
    value = found[group, element].value if (group, element) in found else None
    return default if value is None or value == "" else value
