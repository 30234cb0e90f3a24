"""Nearest-neighbor resampling of frames to a grid, slice by slice.

In: frames, their planes, and a grid. Out: slices of the grid. NumPy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from warehouse.derived.grid import SAME_HEIGHT_MM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.derived.grid import Grid, Plane


def nearest_on(
    grid: Grid, planes: Sequence[Plane], frames: np.ndarray, thickness_mm: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index and values of each slice of a grid, from the nearest voxels of frames.

    Parameters
    ----------
    grid
        The grid to resample to.
    planes, frames
        Planes of the same orientation, spacing and shape, at least one; (n, row, column) values.
        Several planes may be side by side at one height.
    thickness_mm
        Slice distance of the frames: grid voxels farther than half of it from all frames are 0.
    """
    first = planes[0]
    plane_heights = np.array([plane.position @ first.normal for plane in planes])
    corners = np.array([plane.position for plane in planes])
    heights, layers = _layers(plane_heights)
    midpoints = (heights[1:] + heights[:-1]) / 2
    for level in range(grid.shape[0]):
        points = grid.points_of_slice(level)
        height = points @ first.normal
        nearest = np.searchsorted(midpoints, height)
        near = np.abs(height - heights[nearest]) <= thickness_mm / 2 * (1 + 1e-6)
        result = np.zeros(height.shape, frames.dtype)
        for layer in layers:
            plane = layer[nearest]
            offset = points - corners[plane]
            row = np.rint(offset @ first.along_column / first.spacing[0]).astype(int)
            column = np.rint(offset @ first.along_row / first.spacing[1]).astype(int)
            inside = near & (plane >= 0)
            inside &= (row >= 0) & (row < first.shape[0])
            inside &= (column >= 0) & (column < first.shape[1])
            result[inside] = frames[plane[inside], row[inside], column[inside]]
        yield level, result


def _layers(plane_heights: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the distinct heights, and indices of planes by height, -1 for none.

    There are as many arrays of indices as one height has planes, such as the tiles of a slice.
    """
    order = np.argsort(plane_heights, kind="stable")
    starts = np.flatnonzero(np.diff(plane_heights[order], prepend=-np.inf) > SAME_HEIGHT_MM)
    ends = np.append(starts[1:], len(order))
    layers = [
        np.where(starts + depth < ends, order[np.minimum(starts + depth, len(order) - 1)], -1)
        for depth in range(int((ends - starts).max()))
    ]
    return plane_heights[order[starts]], layers
