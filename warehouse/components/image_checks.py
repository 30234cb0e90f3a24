"""Validate images by kind: segmentations with known labels, displacement fields.

In: an image file, the kind of its socket and its overlay segments. Out: ``Image``, or
``ImageRefused``. Labels are the values that occur in the voxels, whatever the type and format, not
a range that the header states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.components.images import Image, arrays, read_image
from warehouse.errors import ImageRefused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_LABELS = 256
"""Largest number of distinct values in a segmentation."""

MAX_STACK = 64
"""Largest number of volumes of zeros and ones in a segmentation of four dimensions."""


def require_image(path: Path, kind: str, segments: Sequence[dict[str, Any]]) -> Image:
    """Read the header of an image, and check the image by the kind of its socket.

    Parameters
    ----------
    path
        An image file.
    kind
        ``IMG``, ``SEG``, ``HMAP`` or ``DSPF``.
    segments
        Overlay segments of the socket.

    Returns
    -------
    Image
        Header of the image.

    Raises
    ------
    SourceNotFound, ImageRefused
    """
    image = read_image(path)
    if kind == "SEG":
        _require_segments(image, segments)
    elif kind == "DSPF":
        _require_field(image)
    return image


def _require_field(image: Image) -> None:
    if image.channels != 1 or len(image.shape) != 4 or image.shape[0] != 3:
        raise ImageRefused(
            "a displacement field has four dimensions without color, the slowest of them 3 (the "
            "vector)"
        )


def _require_segments(image: Image, segments: Sequence[dict[str, Any]]) -> None:
    used = labels(image)
    allowed = {0, *(segment["voxel_value"] for segment in segments)}
    unknown = sorted(used - allowed)
    if unknown:
        raise ImageRefused(
            f"it has {len(unknown)} voxel values that are not overlay segments of the socket, "
            f"such as {unknown[0]}"
        )


def _are_integers(values: np.ndarray[Any, Any]) -> bool:
    """Return whether all values are finite integers, of any type; complex numbers are not."""
    if values.dtype.kind in "biu":
        return True
    return values.dtype.kind == "f" and bool(
        np.isfinite(values).all() and np.array_equal(values, np.rint(values))
    )


def labels(image: Image) -> set[int]:
    """Return the labels that occur in a segmentation.

    If an image of four dimensions has only zeros and ones, volume ``n`` (from 1) is label ``n``.

    Raises
    ------
    ImageRefused
        It has colors, fractions, infinite values or too many values.
    """
    if image.channels != 1:
        raise ImageRefused("a segmentation has one channel, this image has colors")
    occurring: set[int] = set()
    for block in arrays(image):
        distinct = np.unique(block)
        if not _are_integers(distinct):
            raise ImageRefused("a segmentation has integers, this image has fractions")
        occurring.update(int(value) for value in distinct)
        if len(occurring) > MAX_LABELS:
            raise ImageRefused(f"it has more than {MAX_LABELS} values, too many for labels")
    if len(image.shape) == 4 and occurring <= {0, 1}:
        if image.shape[0] > MAX_STACK:
            raise ImageRefused(f"a stack of segmentations has at most {MAX_STACK} volumes")
        return {0, *range(1, image.shape[0] + 1)}
    return occurring
