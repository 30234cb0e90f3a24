"""Nearest-neighbor resampling of frames to a grid, slice by slice.

In: frames, their planes, and a grid. Out: slices of the grid. NumPy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
    thickness_mm
        Slice distance of the frames: grid voxels farther than half of it from all frames are 0.
    """
    first = planes[0]
    heights = np.array([plane.position @ first.normal for plane in planes])
    order = np.argsort(heights, kind="stable")
    heights, frames = heights[order], frames[order]
    corners = np.array([plane.position for plane in planes])[order]
    midpoints = (heights[1:] + heights[:-1]) / 2
    for level in range(grid.shape[0]):
        points = grid.points_of_slice(level)
        height = points @ first.normal
        nearest = np.searchsorted(midpoints, height)
        offset = points - corners[nearest]
        row = np.rint(offset @ first.along_column / first.spacing[0]).astype(int)
        column = np.rint(offset @ first.along_row / first.spacing[1]).astype(int)
        inside = np.abs(height - heights[nearest]) <= thickness_mm / 2 * (1 + 1e-6)
        inside &= (row >= 0) & (row < first.shape[0]) & (column >= 0) & (column < first.shape[1])
        values = frames[nearest, np.where(inside, row, 0), np.where(inside, column, 0)]
        yield level, np.where(inside, values, 0)
