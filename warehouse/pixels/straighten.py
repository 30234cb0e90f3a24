"""Resample a sheared NIfTI image (tilted gantry) to orthogonal axes.

In: a ``nibabel.Nifti1Image`` with a sheared affine, as from a tilted gantry. Out: an image with
orthogonal axes. Each slice keeps its position along the normal, and is shifted within its plane by
linear interpolation of stored values. Voxels outside of the original slice get the lowest value,
which with a negative slope is the largest stored one.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from warehouse.errors import UsageError


def straightened(image: Any) -> Any:
    """Return an image with orthogonal axes that contains all slices.

    Parameters
    ----------
    image
        ``nibabel.Nifti1Image`` (column, row, slice[, volume]) of numbers.

    Raises
    ------
    UsageError
        It is in color.
    """
    import nibabel  # noqa: PLC0415 - an extra, which made the image

    values = np.asarray(image.dataobj)
    if values.dtype.names:
        raise UsageError("an image in color cannot be resampled")
    steps = image.affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    normal = np.cross(steps[:, 0], steps[:, 1]) / (lengths[0] * lengths[1])
    slope, _ = image.header.get_slope_inter()
    fill = values.max() if (slope or 1) < 0 else values.min()
    lowest = np.zeros(2)
    for axis in (0, 1):
        shift = steps[:, 2] @ steps[:, axis] / lengths[axis] ** 2
        values, lowest[axis] = _moved(values, axis, float(shift), fill)
    affine = image.affine.copy()
    affine[:3, 3] += steps[:, :2] @ lowest
    affine[:3, 2] = normal * (steps[:, 2] @ normal)
    made: Any = cast("Any", nibabel).Nifti1Image(values, affine, image.header, dtype=values.dtype)
    made.header.set_slope_inter(*image.header.get_slope_inter())
    made.set_sform(affine, code=1)
    made.set_qform(affine, code=1)
    return made


def _moved(
    values: np.ndarray, axis: int, shift: float, fill: np.generic
) -> tuple[np.ndarray, float]:
    """Shift slice k by k times a shift along an axis; return the array and its origin."""
    depth = values.shape[2]
    begin = np.floor(min(0.0, shift * (depth - 1)))
    room = int(np.ceil(abs(shift) * (depth - 1))) + 1
    shape = list(values.shape)
    shape[axis] += room
    made = np.full(shape, fill, values.dtype)
    for level in range(depth):
        whole, part = divmod(shift * level - begin, 1.0)
        moved = np.zeros([n for number, n in enumerate(shape) if number != 2], np.float64)
        for offset, weight in ((int(whole), 1.0 - part), (int(whole) + 1, part)):
            if weight > 0:
                placed = np.full(moved.shape, fill, np.float64)
                place = [slice(None)] * moved.ndim
                place[axis] = slice(offset, offset + values.shape[axis])
                placed[tuple(place)] = values[:, :, level]
                moved += weight * placed
        made[:, :, level] = np.rint(moved) if values.dtype.kind in "iu" else moved
    return made, float(begin)
