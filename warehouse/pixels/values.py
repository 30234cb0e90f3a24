"""``Values``: convert stored values: rescale, window, invert, color.

In: a frame, its image, and facts from its header. Out: a frame of the dtype that ``Values`` states.
The order is that of PS3.4 N.2: modality LUT, VOI LUT or window, inversion for MONOCHROME1.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from pydicom.pixels.processing import convert_color_space

from warehouse.errors import (
    ArrayTooLarge,
    NoSingleUnit,
    PixelsUnreadable,
    UsageError,
    WarehouseError,
)
from warehouse.given import plain
from warehouse.pixels.facts import entries_as
from warehouse.pixels.lut import Table
from warehouse.pixels.overlays import PLANES, mask_of
from warehouse.pixels.voi import given, spread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.pixels.facts import Facts, FrameFacts, Headers
    from warehouse.pixels.image import Image

_RGB = {"RGB", "YBR_ICT", "YBR_RCT"}
"""Decoders of JPEG 2000 undo the transforms of the other two (PS3.5 8.2.4)."""


@dataclass(frozen=True, slots=True)
class Values:
    """How stored values are converted.

    Attributes
    ----------
    rescale
        True: numbers in the unit that the header states, float64. The mapping is the modality LUT,
        the rescale of the frame, or the dose grid scaling; if these have no unit, the real world
        value mapping. A text selects the mapping with that label or unit; for PET also ``SUVbw``,
        ``SUVlbm``, ``SUVlbm(James128)``, ``SUVlbm(Janma)`` and ``SUVbsa``, see the view ``pt_suv``.
        Stored values outside of the range of a real world value mapping become NaN. Color has no
        such numbers: it is refused, unless ``color`` is set.
    window
        Center and width, in rescaled values (LINEAR of PS3.3 C.11.2.1.2 where these are whole
        numbers, else LINEAR_EXACT), or ``"header"`` for the VOI LUT or first window of
        the frame: uint8, 0 to 255. Without a window in the header, from the smallest to the
        largest value of the frame. Refused for color, as is ``rescale``.
    invert
        With a window: MONOCHROME1 is inverted, so that large values are bright in every image.
    color
        Palettes and YBR become RGB: entries of palettes uint8 or uint16 over its whole range, RGB
        as stored. Grayscale stays as it is.
    overlay
        Return an overlay instead of the pixels: its number, from 0 for group 6000 to 15. The result
        is a mask of 0 and 1, uint8, one value per pixel.
    """

    rescale: bool | str = False
    window: tuple[float, float] | str | None = None
    invert: bool = False
    color: bool = False
    overlay: int | None = None

    def __post_init__(self) -> None:
        """Raise for invalid options, and for options that do not apply to an overlay."""
        if not isinstance(self.rescale, bool | np.bool_ | str):
            raise UsageError(
                "rescale must be True, False, or the label or unit of a mapping, as text"
            )
        if self.overlay is not None:
            is_number = isinstance(self.overlay, Integral) and not isinstance(self.overlay, bool)
            if not (is_number and 0 <= self.overlay < PLANES):
                raise UsageError(f"overlays have numbers from 0 to {PLANES - 1}")
            if self.rescale or self.window is not None or self.invert or self.color:
                raise UsageError(
                    "an overlay is a mask: rescale, window, invert and color do not apply to it"
                )
        if isinstance(self.window, str):
            if self.window != "header":
                raise UsageError("a window is (center, width) or 'header'")
        elif self.window is not None:
            window = plain(self.window)
            if (
                not isinstance(window, list | tuple)
                or len(window) != 2
                or not all(isinstance(each, Real) for each in window)
            ):
                raise UsageError("a window is (center, width) or 'header'")
            center, width = map(float, window)
            if not (width >= 1 and np.isfinite(width) and np.isfinite(center)):
                raise UsageError("the width of a window must be at least 1 (PS3.3 C.11.2.1.2)")
            object.__setattr__(self, "window", (center, width))

    def require_numbers(self, series_uid: str, images: Iterable[Image]) -> None:
        """Raise if a rescale or a window is requested for color.

        Raises
        ------
        NoSingleUnit
        """
        if self.color or not (self.rescale or self.window is not None):
            return
        if not all(image.is_grayscale for image in images):
            why = "colors have no numbers to rescale or window; ask for color=True or stored values"
            raise NoSingleUnit(f"values of series {series_uid}", why)

    @property
    def are_stored(self) -> bool:
        """Whether stored values are returned as they are."""
        return self == Values(invert=self.invert)

    @property
    def are_pointwise(self) -> bool:
        """Whether each value depends on the stored value at its position only."""
        return self.window != "header" and not self.color

    def dtype(self, image: Image, stored: np.dtype) -> np.dtype:
        """Return the dtype of converted values of an image."""
        if self.overlay is not None:
            return np.dtype("u1")
        if self.color and not image.is_grayscale:
            if image.PhotometricInterpretation == "PALETTE COLOR":
                return np.dtype("u2") if (image.BitsAllocated or 0) > 8 else np.dtype("u1")
            return np.dtype(f"u{image.dtype.itemsize}")
        if self.window is not None:
            return np.dtype("u1")
        return np.dtype("f8") if self.rescale else stored

    def frame_shape(self, image: Image, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a converted frame: palettes add an axis for the sample."""
        if self.overlay is not None:
            return shape[:2]
        if self.color and image.PhotometricInterpretation == "PALETTE COLOR":
            return (*shape[:2], 3)
        return shape

    def unit_of(self, image: Image, index: int, headers: Headers) -> str | None:
        """Return the unit of converted values of a frame; None if none is stated."""
        if not self.rescale or self.window is not None or not image.is_grayscale:
            return None
        return headers.of(image).of(index).mapping(self.rescale).unit

    def drawn(self, frame: np.ndarray, image: Image, index: int) -> np.ndarray:
        """Return the overlay in place of a whole frame, if it is requested."""
        return frame if self.overlay is None else mask_of(image, index, self.overlay)

    def apply(self, frame: np.ndarray, image: Image, index: int, headers: Headers) -> np.ndarray:
        """Convert a frame, or part of one.

        Parameters
        ----------
        frame
            Stored values.
        image, index
            Its image, and its number from 0.
        headers
            Asked for what the header says, if that matters.

        Raises
        ------
        SourceChanged, PixelsUnreadable, NoSingleUnit
        """
        if self.overlay is not None:
            return frame
        try:
            if not image.is_grayscale:
                return self._in_color(frame, image, headers.of(image)) if self.color else frame
            if self.window is None and not self.rescale:
                return frame
            facts = headers.of(image).of(index)
            with np.errstate(all="ignore"):
                if self.window is None:
                    return facts.mapping(self.rescale).apply(frame)
                return self._windowed(frame, image, facts)
        except MemoryError:
            raise ArrayTooLarge(f"frame {index + 1} of {image.path}", 8 * frame.size) from None
        except WarehouseError:
            raise
        except Exception as error:  # an unforeseen header
            why = f"values of frame {index + 1} cannot be made ({type(error).__name__})"
            raise PixelsUnreadable(image.path, why) from error

    def _windowed(self, frame: np.ndarray, image: Image, facts: FrameFacts) -> np.ndarray:
        inverted = self.invert and image.PhotometricInterpretation == "MONOCHROME1"
        if isinstance(self.window, tuple):
            mapping = facts.mapping(self.rescale or True)
            window = given(self.window, whole=mapping.gives_integers(frame.dtype))
            return window.apply(mapping.apply(frame), inverted=inverted)
        values = facts.rescale.apply(frame)
        if facts.voi is not None:
            return facts.voi.apply(values, inverted=inverted)
        return spread(values, inverted=inverted)

    def _in_color(self, frame: np.ndarray, image: Image, facts: Facts) -> np.ndarray:
        dtype = self.dtype(image, frame.dtype)
        if image.PhotometricInterpretation == "PALETTE COLOR":
            tables = (Table(t.first, entries_as(t, dtype), t.bits) for t in facts.tables())
            return np.stack([table.look_up(frame) for table in tables], axis=-1)
        if facts.photometric in _RGB:
            return frame.astype(dtype, copy=False)
        if facts.photometric in {"YBR_FULL", "YBR_FULL_422"}:
            if dtype.itemsize > 1:
                raise PixelsUnreadable(image.path, "YBR of more than 8 bits has no known RGB")
            return convert_color_space(frame, "YBR_FULL", "RGB").astype(dtype)
        raise PixelsUnreadable(image.path, "its colors are neither RGB, YBR_FULL nor a palette")
