"""Render a frame as a picture (PS3.18 8.3.5).

In: an image, the index of a frame, and query parameters. Out: bytes of PNG or JPEG.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.errors import NotInstalled, UsageError
from warehouse.pixels.pictures import png, slice_picture
from warehouse.pixels.stack import Stack
from warehouse.pixels.values import Values
from warehouse.pixels.voi import Voi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.pixels.image import Image

MEDIA = ("image/jpeg", "image/png")
_MAX_SIDE = 4096


def picture(
    image: Image, frame: int, params: Mapping[str, str], media: str, *, side: int | None = None
) -> bytes:
    """Return a frame as a picture.

    Parameters
    ----------
    image
        An image of the catalog.
    frame
        Index, from 0.
    params
        Query parameters: ``window`` (center, width and function), ``viewport`` (columns and rows
        to fit into), ``quality`` of a JPEG.
    media
        One of ``MEDIA``.
    side
        Length of the longer side in pixels, unless ``viewport`` is set.

    Raises
    ------
    UsageError
        A parameter is invalid.
    SourceChanged, PixelsUnreadable, NoDecoder, NotInstalled
    """
    try:
        from PIL import Image as pillow  # noqa: N813, PLC0415 - an extra
    except ImportError:
        raise NotInstalled("a picture", "Pillow", "pixels") from None
    image.check()
    pixels = slice_picture(
        Stack("", [image], Values()), frame, window=_parse_window(params.get("window"))
    )
    fit = _parse_viewport(params.get("viewport")) or ((side, side) if side else None)
    quality = _parse_numbers("quality", params.get("quality", "90"), 1)[0]
    if not 1 <= quality <= 100:
        raise UsageError("quality must be a number from 1 to 100")
    if fit is not None:
        scale = min(fit[0] / pixels.shape[1], fit[1] / pixels.shape[0])
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        resized: Any = pillow.fromarray(np.ascontiguousarray(pixels))
        pixels = np.asarray(resized.resize(size, pillow.Resampling.BILINEAR))
    if media == "image/png":
        return png(pixels)
    out = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=int(quality))
    return out.getvalue()


def _parse_window(text: str | None) -> Voi | None:
    if text is None:
        return None
    center, _, rest = text.partition(",")
    width, _, function = rest.partition(",")
    if function.strip().lower() not in {"", "linear"}:
        raise UsageError("window must be center,width,linear: other functions are not supported")
    level, span = _parse_numbers("window", f"{center},{width}", 2)
    if span <= 0:
        raise UsageError("the width of a window must be greater than 0")
    Values(window=(level, span))  # or raise
    return Voi(level, span)


def _parse_viewport(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    wide, tall = _parse_numbers("viewport", text, 2)
    if not (1 <= wide <= _MAX_SIDE and 1 <= tall <= _MAX_SIDE):
        raise UsageError(f"viewport must be columns,rows, each from 1 to {_MAX_SIDE}")
    return wide, tall


def _parse_numbers(name: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise UsageError(f"{name} must be {count} comma-separated number{'s' if count > 1 else ''}")
    return numbers
