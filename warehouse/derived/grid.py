"""Regular grids of voxels in space, and planes of frames: ``Grid``, ``Plane``.

In: a volume, or the planes of frames. Out: grids, and indices on them. NumPy only. Coordinates are
in mm, LPS; an index is (slice, row, column), from 0 at the center of the first voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.pixels.volume import LazyVolume

TOLERANCE = 0.05
"""Fraction of a voxel by which positions may differ, as writers round them."""

SAME_HEIGHT_MM = 1e-3
"""Distance along the normal up to which frames are in one slice."""


class OffGrid(ValueError):
    """Planes do not form a regular grid, or not the given one; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular grid of voxels.

    Attributes
    ----------
    affine
        (4, 4) float64: (slice, row, column, 1) to mm, LPS.
    shape
        Slices, rows, columns.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def inverse(self) -> np.ndarray:
        """(4, 4): mm in LPS to (slice, row, column, 1)."""
        matrix: np.ndarray = np.linalg.inv(self.affine)
        return matrix

    def index_of(self, points: np.ndarray) -> np.ndarray:
        """Return (n, 3) fractional indices of (n, 3) points in mm."""
        inverse = self.inverse
        index: np.ndarray = points @ inverse[:3, :3].T + inverse[:3, 3]
        return index

    def points_of_slice(self, number: int) -> np.ndarray:
        """Return the voxel centers of a slice, (rows, columns, 3), in mm."""
        _, rows, columns = self.shape
        row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        index = np.stack([np.full_like(row, number), row, column], axis=-1)
        points: np.ndarray = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Position, orientation and size of a frame.

    Attributes
    ----------
    position
        (3,) mm: center of the first pixel.
    along_row, along_column
        (3,) unit vectors towards the next column and the next row.
    spacing
        Distance between rows and between columns, in mm.
    shape
        Rows, columns.
    """

    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector of the direction in which slices are numbered."""
        return np.cross(self.along_row, self.along_column)

    def steps(self) -> np.ndarray:
        """Return (3, 2): the steps to the next row and to the next column, in mm."""
        return np.stack(
            [self.along_column * self.spacing[0], self.along_row * self.spacing[1]], axis=1
        )


def plane_of(
    position: Sequence[float] | None, orientation: Sequence[float] | None,
    spacing: Sequence[float] | None, shape: tuple[int, int],
) -> Plane:  # fmt: skip
    """Return the plane that the attributes of a frame describe.

    Raises
    ------
    OffGrid
        Position, orientation or spacing is missing or invalid.
    """
    if position is None or len(position) != 3 or orientation is None or len(orientation) != 6:
        raise OffGrid("a frame has no position or orientation")
    if spacing is None or len(spacing) != 2 or not min(spacing) > 0:
        raise OffGrid("a frame has no pixel spacing")
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if not (
        np.isfinite([*lengths, *map(float, position)]).all()
        and max(abs(n - 1) for n in lengths) < 1e-2
    ):
        raise OffGrid("the directions of a frame are not unit vectors")
    if abs(row @ column) > 1e-2:
        raise OffGrid("rows and columns of a frame are not at right angles")
    return Plane(
        np.array(position, float), row / lengths[0], column / lengths[1],
        (float(spacing[0]), float(spacing[1])), shape,
    )  # fmt: skip


def grid_of_volume(volume: LazyVolume) -> Grid | None:
    """Return the grid of a volume; None if it has no affine or no slices, rows and columns."""
    if volume.affine is None or volume.dims[volume.leading : volume.leading + 3] != (
        "slice", "row", "column",
    ):  # fmt: skip
        return None
    slices, rows, columns = volume.shape[volume.leading : volume.leading + 3]
    return Grid(volume.affine, (slices, rows, columns))


def corner_on(grid: Grid, plane: Plane) -> tuple[int, int, int]:
    """Return the grid index of the first pixel of a plane.

    Raises
    ------
    OffGrid
        The plane is rotated, scaled or shifted against the grid by more than ``TOLERANCE``, or
        extends outside of it.
    """
    steps = grid.inverse[:3, :3] @ plane.steps()
    deviation = np.abs(steps - [[0, 0], [1, 0], [0, 1]])
    if (deviation * (np.array(plane.shape) - 1)).max() > TOLERANCE:
        raise OffGrid("its rows and columns have other directions or distances")
    index = grid.index_of(plane.position[None])[0]
    nearest = np.rint(index)
    if np.abs(index - nearest).max() > TOLERANCE:
        raise OffGrid("its pixels lie between those of the grid")
    corner = nearest.astype(int).tolist()
    ends = [corner[0] + 1, corner[1] + plane.shape[0], corner[2] + plane.shape[1]]
    if min(corner) < 0 or any(end > size for end, size in zip(ends, grid.shape, strict=True)):
        raise OffGrid("frames extend outside of the grid")
    return corner[0], corner[1], corner[2]


def grid_of_planes(planes: Sequence[Plane], stated_mm: float | None) -> Grid:
    """Return the smallest regular grid that contains all planes; slices may be missing.

    Parameters
    ----------
    planes
        At least one.
    stated_mm
        Slice distance stated in the header, in mm: used if all distances between planes are
        multiples of it, or all planes coincide; else the smallest distance between planes is used.

    Raises
    ------
    OffGrid
        The planes have different orientations or spacings, or irregular distances.
    """
    first = planes[0]
    positions = np.array([plane.position for plane in planes])
    for plane in planes:
        deviation = np.abs(plane.steps() - first.steps()).max(axis=0)
        if (deviation * (np.array(plane.shape) - 1)).max() > TOLERANCE * min(first.spacing):
            raise OffGrid("frames have different directions or pixel spacings")
    normal = first.normal
    gaps = np.diff(np.sort((positions - first.position) @ normal))
    gaps = gaps[gaps > SAME_HEIGHT_MM]
    step = stated_mm
    if gaps.size and not (stated_mm and _are_multiples(gaps, stated_mm)):
        step = float(gaps.min())
    if step is None or not step > 0:
        raise OffGrid("all frames lie in one plane, and no thickness is stated")
    if gaps.size and not _are_multiples(gaps, step):
        raise OffGrid("distances between slices are not multiples of one distance")
    if gaps.size:
        step = float(gaps.sum() / np.rint(gaps / step).sum())
    matrix = np.column_stack([normal * step, first.steps()])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, first.position
    corners = np.rint(Grid(affine, (1, 1, 1)).index_of(positions))
    ends = corners + [[1, *plane.shape] for plane in planes]
    low = corners.min(axis=0)
    affine[:3, 3] = first.position + matrix @ low
    slices, rows, columns = (ends.max(axis=0) - low).astype(int).tolist()
    grid = Grid(affine, (slices, rows, columns))
    for plane in planes:
        corner_on(grid, plane)
    return grid


def _are_multiples(gaps: np.ndarray, step: float) -> bool:
    counts = gaps / step
    return bool(counts.min() > 0.5 and np.abs(counts - np.rint(counts)).max() <= TOLERANCE)
