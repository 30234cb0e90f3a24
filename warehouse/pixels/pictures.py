"""Volumes and stacks → pictures that people look at: one slice, a montage, three planes.

In: a ``LazyVolume`` or ``Stack``. Out: arrays of bytes, (row, column) or (row, column, 3), and PNG.
Grey values are rescaled and shown through one window: the one asked for, else the first of the
header, else between the 1st and 99th percentile of what is shown. MONOCHROME1 is turned round.
Pictures have square pixels: planes are stretched to the spacing of the voxels.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.errors import NotInstalled, UsageError
from warehouse.pixels.stack import Stack
from warehouse.pixels.values import Values, windowed

if TYPE_CHECKING:
    from warehouse.pixels.image import Image
    from warehouse.pixels.volume import LazyVolume

Window = tuple[float, float]

MAX_SIDE = 2048
"""Pixels of a side of a picture, beyond which it is made smaller."""

_SHOWN = Values(rescale=True, colour=True)


def slice_picture(
    shown: LazyVolume | Stack, number: int | None = None, *, window: Window | None = None,
    lead: int = 0,
) -> np.ndarray:  # fmt: skip
    """Return one slice as bytes.

    Parameters
    ----------
    shown
        A volume or a stack.
    number
        Slice of the volume or frame of the stack, from 0, negative from the end; the middle one
        by default.
    window
        Centre and width, in rescaled values.
    lead
        Of an array of several volumes, which of them, from 0, in the order of the array.

    Raises
    ------
    UsageError
        There is no such slice or volume.
    """
    slices = _Slices(shown, lead)
    found = slices[slices.checked(len(slices) // 2 if number is None else number)]
    return _stretched(_bytes(found, slices.image, window), *slices.in_plane_mm)


def montage(
    shown: LazyVolume | Stack, *, count: int = 20, window: Window | None = None, lead: int = 0
) -> np.ndarray:
    """Return slices side by side, evenly chosen from the first to the last, all in one window."""
    slices = _Slices(shown, lead)
    chosen = np.unique(np.linspace(0, len(slices) - 1, min(count, len(slices))).round())
    frames = [slices[int(number)] for number in chosen]
    if len({frame.shape for frame in frames}) > 1:
        raise UsageError("frames of several shapes make no montage")
    tiles = _bytes(np.stack(frames), slices.image, window)
    across = math.ceil(math.sqrt(len(tiles)))
    rows, columns = tiles.shape[1:3]
    sheet = np.zeros(
        (-(-len(tiles) // across) * rows, across * columns, *tiles.shape[3:]), np.uint8
    )
    for place, tile in enumerate(tiles):
        top, left = place // across * rows, place % across * columns
        sheet[top : top + rows, left : left + columns] = tile
    return _stretched(sheet, *slices.in_plane_mm)


def three_planes(volume: LazyVolume, *, window: Window | None = None) -> np.ndarray:
    """Return the three planes through the middle, side by side and of equal scale.

    The plane of the images; that of slices and columns; that of slices and rows, each with the
    last slice above. A film has one picture, the middle one.
    """
    if volume.spacing is None:
        return slice_picture(volume, window=window)
    shown = volume.with_values(_SHOWN)
    slices, rows, columns = volume.shape[volume.leading : volume.leading + 3]
    at = (0,) * volume.leading
    upwards = slice(None, None, -1)
    planes = [
        shown[(*at, slices // 2)],
        shown[(*at, upwards, rows // 2)],
        shown[(*at, upwards, slice(None), columns // 2)],
    ]
    image = volume.images[0]
    if window is None:
        depth = 1 if "sample" in shown.dims else 0
        window = _window_of(image, np.concatenate([p.ravel() for p in planes[: 3 - 2 * depth]]))
    deep, down, right = volume.spacing
    unit = min(volume.spacing)
    steps = [(down, right), (deep, right), (deep, down)]
    drawn = [
        _stretched(_bytes(plane, image, window), y, x, unit)
        for plane, (y, x) in zip(planes, steps, strict=True)
    ]
    height = max(plane.shape[0] for plane in drawn)
    gap = 8
    padded = [
        np.pad(plane, [(0, height - len(plane)), (0, gap), (0, 0)][: plane.ndim]) for plane in drawn
    ]
    sheet: np.ndarray = np.concatenate(padded, axis=1)[:, :-gap]
    return sheet


def png(picture: np.ndarray) -> bytes:
    """Return a picture as PNG.

    Raises
    ------
    NotInstalled
    """
    out = io.BytesIO()
    _pillow().fromarray(np.ascontiguousarray(picture)).save(out, format="PNG")
    return out.getvalue()


class _Slices:
    """The slices of a volume, or the frames of a stack, in rescaled values or colours."""

    def __init__(self, shown: LazyVolume | Stack, lead: int) -> None:
        self._frames: Any = shown.with_values(_SHOWN)
        self.image = shown.images[0]
        self.in_plane_mm = (1.0, 1.0)
        if isinstance(shown, Stack):
            self._at: tuple[int, ...] = ()
            self._count = len(shown)
            spacing = self.image.PixelSpacing
            if (
                spacing is not None
                and len(spacing) == 2
                and None not in spacing
                and min(spacing) > 0
            ):
                self.in_plane_mm = (spacing[0], spacing[1])
            return
        leading = shown.shape[: shown.leading]
        if not 0 <= lead < max(1, math.prod(leading)):
            raise UsageError(f"there is no volume {lead}; the series has {math.prod(leading)}")
        self._at = tuple(int(n) for n in np.unravel_index(lead, leading)) if leading else ()
        self._count = shown.shape[shown.leading]
        if shown.spacing is not None:
            self.in_plane_mm = shown.spacing[1:]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> np.ndarray:
        found: np.ndarray = self._frames[(*self._at, number) if self._at else number]
        return found

    def checked(self, number: int) -> int:
        if not -len(self) <= number < len(self):
            raise UsageError(f"there is no slice {number}; the series has {len(self)}, from 0")
        return number % len(self)


def _bytes(values: np.ndarray, image: Image, window: Window | None) -> np.ndarray:
    """Return rescaled values through a window, colours as bytes."""
    if image.PhotometricInterpretation not in {"MONOCHROME1", "MONOCHROME2"}:
        return (
            (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values.astype(np.uint8)
        )
    inverted = image.PhotometricInterpretation == "MONOCHROME1"
    return windowed(values, *(window or _window_of(image, values)), inverted=inverted)


def _window_of(image: Image, values: np.ndarray) -> Window:
    if image.WindowCenter and image.WindowWidth:
        centre, width = image.WindowCenter[0], image.WindowWidth[0]
        if centre is not None and width is not None and width >= 1:
            return centre, width
    lowest, highest = np.percentile(values, [1, 99])
    if highest <= lowest:
        lowest, highest = values.min(), values.max()
    return float(lowest + highest) / 2, max(float(highest - lowest), 1.0)


def _stretched(
    picture: np.ndarray, row_mm: float, column_mm: float, unit_mm: float | None = None
) -> np.ndarray:
    """Return a picture with square pixels of a size, by default that of its smaller side."""
    unit = unit_mm or min(row_mm, column_mm)
    height, width = picture.shape[0] * row_mm / unit, picture.shape[1] * column_mm / unit
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    pillow = _pillow()
    made = pillow.fromarray(np.ascontiguousarray(picture)).resize(size, pillow.Resampling.BILINEAR)
    return np.asarray(made)


def _pillow() -> Any:
    try:
        from PIL import Image as pillow  # noqa: N813, PLC0415 - an extra
    except ImportError:
        raise NotInstalled("a picture", "Pillow", "pixels") from None
    return pillow
