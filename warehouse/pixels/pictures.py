"""Render volumes and stacks: one slice, a montage, three planes.

In: a ``LazyVolume`` or ``Stack``. Out: arrays of bytes, (row, column) or (row, column, 3), and PNG.
Grayscale values are rescaled and displayed with one window: the given one, in values of the mapping
with which the volume was opened, else the VOI LUT or first window of the header, else the range
from the 1st to the 99th percentile of the displayed values. MONOCHROME1 is inverted. Pictures have
square pixels: planes are resampled by the voxel spacing, or by Imager Pixel Spacing or Pixel Aspect
Ratio if there is none. If a frame is larger than a picture, only every n-th pixel is processed.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.errors import NotInstalled, UsageError
from warehouse.pixels.mappings import MODALITY
from warehouse.pixels.stack import Stack
from warehouse.pixels.values import Values
from warehouse.pixels.voi import Voi, given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.pixels.facts import Headers
    from warehouse.pixels.image import Image
    from warehouse.pixels.volume_like import VolumeLike

Window = tuple[float, float] | Voi

MAX_SIDE = 2048
"""Largest side of a picture in pixels; larger ones are downsampled."""
_LARGEST = float(np.finfo(np.float64).max)

_STORED = Values()
_COLOR = Values(color=True)


def slice_picture(
    shown: VolumeLike | Stack, number: int | None = None, *, window: Window | None = None,
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
        Center and width, in rescaled values: those of the mapping of ``shown``, if it has one. Or
        a window with its function.
    lead
        Index of the volume, from 0, if the array has several volumes.

    Raises
    ------
    UsageError
        There is no such slice or volume, or the window is invalid.
    """
    slices = _Slices(shown, lead)
    chosen = slices.checked(len(slices) // 2 if number is None else number)
    (frame,), pixel_size = slices.shown([chosen], window)
    return _stretched(frame, *pixel_size)


def montage(
    shown: VolumeLike | Stack, *, count: int = 20, window: Window | None = None, lead: int = 0
) -> np.ndarray:
    """Return evenly spaced slices side by side, with one window for all."""
    slices = _Slices(shown, lead)
    chosen = np.unique(np.linspace(0, len(slices) - 1, min(count, len(slices))).round())
    frames, pixel_size = slices.shown([int(number) for number in chosen], window)
    if len({frame.shape for frame in frames}) > 1:
        raise UsageError("frames of several shapes cannot be one montage")
    tiles = np.stack(frames)
    across = math.ceil(math.sqrt(len(tiles)))
    rows, columns = tiles.shape[1:3]
    sheet = np.zeros(
        (-(-len(tiles) // across) * rows, across * columns, *tiles.shape[3:]), np.uint8
    )
    for place, tile in enumerate(tiles):
        top, left = place // across * rows, place % across * columns
        sheet[top : top + rows, left : left + columns] = tile
    return _stretched(sheet, *pixel_size)


def three_planes(volume: VolumeLike, *, window: Window | None = None) -> np.ndarray:
    """Return the three planes through the middle, side by side and of equal scale.

    The planes are: (row, column), (slice, column) and (slice, row), the last two with the last
    slice at the top. A cine has one picture, the middle frame.
    """
    if volume.spacing is None:
        return slice_picture(volume, window=window)
    slices, rows, columns = volume.shape[volume.leading : volume.leading + 3]
    at = (0,) * volume.leading
    number, index = volume.source_of(*at, slices // 2)
    image, headers = volume.images[number], volume.headers
    asked = volume.values.rescale
    look = _Rendering(headers, image, index, window, asked) if image.is_grayscale else None
    shown = volume.with_values(look.values if look else _COLOR)
    upwards, down_by, right_by = (_every(n) for n in (slices, rows, columns))
    upwards = slice(None, None, -upwards.step)
    planes = [
        shown[(*at, slices // 2, down_by, right_by)],
        shown[(*at, upwards, rows // 2, right_by)],
        shown[(*at, upwards, down_by, columns // 2)],
    ]
    if look is not None:
        look.derive_window(np.concatenate([plane.ravel() for plane in planes]))
    shapes = [(rows, columns), (slices, columns), (slices, rows)]
    deep, down, right = volume.spacing
    unit = min(volume.spacing)
    steps = [(down, right), (deep, right), (deep, down)]
    drawn = [
        _stretched(
            look.bytes_of(plane) if look else _to_bytes(plane, image),
            y * tall / plane.shape[0], x * wide / plane.shape[1], unit,
        )
        for plane, (y, x), (tall, wide) in zip(planes, steps, shapes, strict=True)
    ]  # fmt: skip
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
    """The slices of a volume, or the frames of a stack, as bytes."""

    def __init__(self, shown: VolumeLike | Stack, lead: int) -> None:
        self._frames: Any = shown.with_values(_STORED)
        self._asked = shown.values.rescale
        self._spacing: tuple[float, float, float] | None = None
        if isinstance(shown, Stack):
            self._at: tuple[int, ...] = ()
            self._count = len(shown)
            return
        leading = shown.shape[: shown.leading]
        if not 0 <= lead < max(1, math.prod(leading)):
            raise UsageError(f"there is no volume {lead}; the series has {math.prod(leading)}")
        self._at = tuple(int(n) for n in np.unravel_index(lead, leading)) if leading else ()
        self._count = shown.shape[shown.leading]
        self._spacing = shown.spacing

    def __len__(self) -> int:
        return self._count

    def shown(
        self, numbers: Sequence[int], window: Window | None
    ) -> tuple[list[np.ndarray], tuple[float, float]]:
        """Return slices as bytes, and height and width of a pixel.

        All have one window; large ones have fewer pixels.
        """
        found = []
        for number in numbers:
            frame: np.ndarray = self._frames[(*self._at, number) if self._at else number]
            source, index = self._frames.source_of(*self._at, number)
            found.append((_thinned(frame), self._frames.images[source], index))
        headers, (_, first, index) = self._frames.headers, found[0]
        size = _pixel_size(first, headers) if self._spacing is None else self._spacing[1:]
        if not all(image.is_grayscale for _, image, _ in found):
            return [
                _to_bytes(_COLOR.apply(frame, image, index, headers), image)
                for frame, image, index in found
            ], size
        look = _Rendering(headers, first, index, window, self._asked)
        rescaled = [look.values.apply(frame, image, n, headers) for frame, image, n in found]
        look.derive_window(np.concatenate([values.ravel() for values in rescaled]))
        return [look.bytes_of(values) for values in rescaled], size

    def checked(self, number: int) -> int:
        if not -len(self) <= number < len(self):
            raise UsageError(f"there is no slice {number}; the series has {len(self)}, from 0")
        return number % len(self)


class _Rendering:
    """How grayscale frames are rendered: rescaled values and window."""

    def __init__(
        self, headers: Headers, image: Image, index: int, window: Window | None, asked: bool | str
    ) -> None:  # fmt: skip
        # A window of the caller refers to values with a unit, a window of the header to values of
        # the modality LUT (PS3.3 C.11.2.1.2).
        self.values = Values(rescale=MODALITY if window is None else asked or True)
        self._inverted = image.PhotometricInterpretation == "MONOCHROME1"
        self._voi = window if isinstance(window, Voi) else None
        checked = Values(window=None if isinstance(window, Voi) else window).window
        if isinstance(checked, tuple):
            mapping = headers.of(image).of(index).mapping(self.values.rescale)
            self._voi = given(checked, whole=mapping.gives_integers(image.dtype))
        if window is None and not isinstance(stated := headers.of(image).of(index).stated_voi, str):
            self._voi = stated

    def derive_window(self, values: np.ndarray) -> None:
        """Derive the window from the shown values, if there is none yet."""
        if self._voi is not None:
            return
        finite = values[np.isfinite(values)]
        lowest, highest = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
        if highest <= lowest:
            lowest, highest = finite.min(initial=lowest), finite.max(initial=highest)
        width = min(float(highest) - float(lowest), _LARGEST)
        # LINEAR is defined for whole numbers: it leaves out the last 1 of a window, which may be
        # all of a parametric map or a dose (PS3.3 C.11.2.1.2.1, C.11.2.1.3.2).
        shape = (width, "LINEAR_EXACT") if width > 0 else (1.0, "LINEAR")
        self._voi = Voi(float(lowest) / 2 + float(highest) / 2, *shape)

    def bytes_of(self, values: np.ndarray) -> np.ndarray:
        assert self._voi is not None
        with np.errstate(all="ignore"):
            return self._voi.apply(values, inverted=self._inverted)


def _pixel_size(image: Image, headers: Headers) -> tuple[float, float]:
    """Return height and width of a pixel; 1 where they are not known or make no picture."""
    spacing = image.PixelSpacing or headers.of(image).pixel_size or []
    if len(spacing) != 2:
        return 1.0, 1.0
    down, right = (0.0 if step is None else step for step in spacing)
    if not (down > 0 and right > 0 and 1 / MAX_SIDE <= down / right <= MAX_SIDE):
        return 1.0, 1.0
    return down, right


def _every(count: int) -> slice:
    """Return a slice with a step that limits an axis to the pixels of a picture."""
    return slice(None, None, max(1, count // MAX_SIDE))


def _thinned(frame: np.ndarray) -> np.ndarray:
    step = max(_every(n).step for n in frame.shape[:2])  # pixels stay as square as they are
    return frame[:: min(step, frame.shape[0]), :: min(step, frame.shape[1])]


def _to_bytes(colors: np.ndarray, image: Image) -> np.ndarray:
    """Return the eight highest bits of colors: of entries of palettes, else of Bits Stored."""
    bits = 8 * colors.dtype.itemsize
    if image.PhotometricInterpretation != "PALETTE COLOR":
        bits = image.BitsStored or bits
    return (colors >> max(0, bits - 8)).astype(np.uint8)


def _stretched(
    picture: np.ndarray, row_mm: float, column_mm: float, unit_mm: float | None = None
) -> np.ndarray:
    """Resample a picture to square pixels, by default of the smaller pixel spacing."""
    unit = unit_mm or min(row_mm, column_mm)
    height, width = picture.shape[0] * row_mm / unit, picture.shape[1] * column_mm / unit
    if not (math.isfinite(height) and math.isfinite(width)):
        height, width = picture.shape[:2]
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
