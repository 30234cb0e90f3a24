"""Stored values → the values somebody asked for: rescaled, windowed, inverted, in colour.

In: a frame, its image, its slope and intercept. Out: a frame of the dtype that ``Values`` states.
The order is that of PS3.4 N.2: modality LUT, VOI LUT or window, inversion for MONOCHROME1. The
arithmetic of lookup tables, windows and colours is pydicom's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.processing import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    apply_windowing,
    convert_color_space,
)

from warehouse.errors import PixelsUnreadable, UsageError
from warehouse.pixels.overlays import PLANES, mask_of
from warehouse.pixels.source import open_pixels

if TYPE_CHECKING:
    from warehouse.pixels.image import Image

_LUTS = [
    "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "SpecificCharacterSet",
]  # fmt: skip
_GREY = {"MONOCHROME1", "MONOCHROME2"}
_FULL = 255.0


@dataclass(frozen=True, slots=True)
class Values:
    """What is done to stored values.

    Attributes
    ----------
    rescale
        Modality LUT, else RescaleSlope and RescaleIntercept of the frame: float64, in the unit of
        RescaleType, such as HU.
    window
        Centre and width, in rescaled values, or ``"header"`` for the VOI LUT or first window of
        the image: uint8, 0 to 255. Without a window in the header, from the smallest to the
        largest value of the frame.
    invert
        With a window: MONOCHROME1 is turned round, so that large is bright in every image.
    colour
        Palettes and YBR become RGB, uint8 or uint16; what is grey stays as it is.
    overlay
        In place of the pixels an overlay of the header, 0 for group 6000 to 15: a mask of 0 and 1,
        uint8, one value per pixel.
    """

    rescale: bool = False
    window: tuple[float, float] | str | None = None
    invert: bool = False
    colour: bool = False
    overlay: int | None = None

    def __post_init__(self) -> None:
        """Refuse a window that is none, and what has no meaning for an overlay."""
        if self.overlay is not None:
            if not 0 <= self.overlay < PLANES:
                raise UsageError(f"overlays have numbers from 0 to {PLANES - 1}")
            if self.rescale or self.window is not None or self.invert or self.colour:
                raise UsageError("an overlay is a mask: no rescale, window or colour goes with it")
        if isinstance(self.window, str):
            if self.window != "header":
                raise UsageError("a window is (centre, width) or 'header'")
        elif self.window is not None and not self.window[1] >= 1:
            raise UsageError("the width of a window is 1 or more (PS3.3 C.11.2.1.2)")

    @property
    def are_stored(self) -> bool:
        """Whether nothing is to be done."""
        return self == Values(invert=self.invert)

    def dtype(self, image: Image, stored: np.dtype) -> np.dtype:
        """Return the type that comes out for an image."""
        if self.overlay is not None:
            return np.dtype("u1")
        if self.colour and image.PhotometricInterpretation not in _GREY:
            return np.dtype("u2") if self._wide(image) else np.dtype("u1")
        if self.window is not None:
            return np.dtype("u1")
        return np.dtype("f8") if self.rescale else stored

    def _wide(self, image: Image) -> bool:
        return (image.BitsAllocated or 0) > 8

    def frame_shape(self, image: Image, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a frame that comes out: palettes add an axis for the sample."""
        if self.overlay is not None:
            return shape[:2]
        if self.colour and image.PhotometricInterpretation == "PALETTE COLOR":
            return (*shape[:2], 3)
        return shape

    def drawn(self, frame: np.ndarray, image: Image, index: int) -> np.ndarray:
        """Return the overlay in place of a whole frame, if that is asked for."""
        return frame if self.overlay is None else mask_of(image, index, self.overlay)

    def apply(
        self, frame: np.ndarray, image: Image, slope: float, intercept: float
    ) -> np.ndarray:  # fmt: skip
        """Return a frame with the values asked for.

        Parameters
        ----------
        frame
            Stored values.
        image
            Its image; the file is opened only if it may hold lookup tables.
        slope, intercept
            Rescale of this frame.
        """
        if self.overlay is not None:
            return frame
        if image.PhotometricInterpretation not in _GREY:
            return self._in_colour(frame, image) if self.colour else frame
        if self.window is None:
            return self._rescaled(frame, image, slope, intercept) if self.rescale else frame
        return self._windowed(frame, image, slope, intercept)

    def _rescaled(
        self, frame: np.ndarray, image: Image, slope: float, intercept: float
    ) -> np.ndarray:
        if image.RescaleSlope is None and (slope, intercept) == (1.0, 0.0):
            found = _header(image)
            if found.get("ModalityLUTSequence"):
                looked_up: np.ndarray = apply_modality_lut(frame, found).astype(np.float64)
                return looked_up
        return frame * np.float64(slope) + intercept

    def _windowed(
        self, frame: np.ndarray, image: Image, slope: float, intercept: float
    ) -> np.ndarray:
        values = self._rescaled(frame, image, slope, intercept)
        inverted = self.invert and image.PhotometricInterpretation == "MONOCHROME1"
        if isinstance(self.window, tuple):
            return windowed(values, *self.window, inverted=inverted)
        facts = _header(image)
        facts.PhotometricInterpretation = image.PhotometricInterpretation
        if facts.get("VOILUTSequence"):
            shown = apply_voi_lut(values.astype(np.int64), facts, prefer_lut=True)
            top = 2.0 ** int(facts.VOILUTSequence[0].LUTDescriptor[2]) - 1
            return _as_bytes(shown * (_FULL / top), inverted=inverted)
        if facts.get("WindowWidth"):
            return _as_bytes(apply_windowing(values, _byte_range(facts)), inverted=inverted)
        lowest, highest = float(values.min()), float(values.max())
        shown = (values - lowest) * (_FULL / ((highest - lowest) or 1.0))
        return _as_bytes(shown, inverted=inverted)

    def _in_colour(self, frame: np.ndarray, image: Image) -> np.ndarray:
        meant = image.PhotometricInterpretation or ""
        dtype = self.dtype(image, frame.dtype)
        if meant == "PALETTE COLOR":
            facts = _header(image)
            facts.PhotometricInterpretation = meant
            try:
                table = apply_color_lut(frame, facts)
            except (ValueError, AttributeError, KeyError) as error:
                why = f"its colour palette is damaged ({type(error).__name__})"
                raise PixelsUnreadable(image.path, why) from error
            shift = 8 * (table.dtype.itemsize - dtype.itemsize)
            table = table >> shift if shift > 0 else table
            return table.astype(dtype)
        if meant in {"YBR_FULL", "YBR_FULL_422"}:
            return convert_color_space(frame, "YBR_FULL", "RGB").astype(dtype)
        return frame.astype(dtype, copy=False)


def windowed(
    values: np.ndarray, centre: float, width: float, *, inverted: bool = False
) -> np.ndarray:
    """Return rescaled values through a linear window (PS3.3 C.11.2.1.2): uint8, 0 to 255."""
    facts = _byte_range(Dataset())
    facts.PhotometricInterpretation = "MONOCHROME2"
    facts.WindowCenter, facts.WindowWidth = centre, width
    return _as_bytes(apply_windowing(values, facts), inverted=inverted)


def _byte_range(facts: Dataset) -> Dataset:
    """Make pydicom's windows go from 0 to 255, whatever was stored."""
    facts.BitsStored, facts.BitsAllocated, facts.PixelRepresentation = 8, 8, 0
    return facts


def _as_bytes(shown: np.ndarray, *, inverted: bool) -> np.ndarray:
    made: np.ndarray = np.rint(np.clip(shown, 0, _FULL)).astype(np.uint8)
    return np.uint8(255) - made if inverted else made


def _header(image: Image) -> Dataset:
    """Return the lookup tables and windows of the header of an image."""
    with open_pixels(image) as opened:
        opened.file.seek(0)
        try:
            found = pydicom.dcmread(
                opened.file, stop_before_pixels=True, specific_tags=_LUTS, force=True
            )
        except Exception as error:
            why = f"its header cannot be read ({type(error).__name__})"
            raise PixelsUnreadable(image.path, why) from error
    return Dataset({element.tag: element for element in found})
