"""Render a frame as a picture (PS3.18 8.3.5).

In: an image, a frame, and what a client asks of the picture. Out: bytes of PNG or JPEG.
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.pixels.image import Image

MEDIA = ("image/jpeg", "image/png")
_SIDE = 4096


def picture(
    image: Image, frame: int, asked: Mapping[str, str], media: str, *, side: int | None = None
) -> bytes:
    """Return a frame as a picture.

    Parameters
    ----------
    image
        An image of the catalog.
    frame
        From 0.
    asked
        ``window`` (center, width and function), ``viewport`` (columns and rows it has to fit),
        ``quality`` of a JPEG.
    media
        One of ``MEDIA``.
    side
        Pixels of the longer side, if ``viewport`` is not asked for.

    Raises
    ------
    UsageError
        A parameter is none of its kind.
    SourceChanged, PixelsUnreadable, NoDecoder, NotInstalled
    """
    try:
        from PIL import Image as pillow  # noqa: N813, PLC0415 - an extra
    except ImportError:
        raise NotInstalled("a picture", "Pillow", "pixels") from None
    image.check()
    shown = slice_picture(Stack("", [image], Values()), frame, window=_window(asked.get("window")))
    fit = _viewport(asked.get("viewport")) or ((side, side) if side else None)
    quality = _numbers("quality", asked.get("quality", "90"), 1)[0]
    if not 1 <= quality <= 100:
        raise UsageError("quality is a number from 1 to 100")
    if fit is not None:
        scale = min(fit[0] / shown.shape[1], fit[1] / shown.shape[0])
        size = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
        made: Any = pillow.fromarray(np.ascontiguousarray(shown))
        shown = np.asarray(made.resize(size, pillow.Resampling.BILINEAR))
    if media == "image/png":
        return png(shown)
    out = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(shown)).save(out, "JPEG", quality=int(quality))
    return out.getvalue()


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    center, _, rest = text.partition(",")
    width, _, function = rest.partition(",")
    if function.strip().lower() not in {"", "linear"}:
        raise UsageError("window is center,width,linear: no other function is to be had")
    low, wide = _numbers("window", f"{center},{width}", 2)
    if wide <= 0:
        raise UsageError("the width of a window is more than 0")
    return low, wide


def _viewport(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    wide, tall = _numbers("viewport", text, 2)
    if not (1 <= wide <= _SIDE and 1 <= tall <= _SIDE):
        raise UsageError(f"viewport is columns,rows, each from 1 to {_SIDE}")
    return wide, tall


def _numbers(name: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise UsageError(
            f"{name} has {count} number{'s' if count > 1 else ''}, with commas between"
        )
    return numbers
