"""A regular grid of voxels in space, and planes that may lie on it: ``Grid``, ``Plane``.

In: a volume, or planes of frames. Out: places. NumPy only. Distances are mm, LPS; an index is
(slice, row, column), each from 0, at the center of a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.pixels.volume import LazyVolume

TOLERANCE = 0.05
"""Of a voxel: what writers lose when they round positions; more is another grid."""


class OffGrid(ValueError):
    """Planes make no grid, or lie on another one; the text says how."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxels at regular places.

    Attributes
    ----------
    affine
        (4, 4) float64: (slice, row, column, 1) to mm in LPS.
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
        made: np.ndarray = np.linalg.inv(self.affine)
        return made

    def index_of(self, points: np.ndarray) -> np.ndarray:
        """Return (n, 3) indices, with fractions, of (n, 3) points in mm."""
        inverse = self.inverse
        made: np.ndarray = points @ inverse[:3, :3].T + inverse[:3, 3]
        return made

    def points_of_slice(self, number: int) -> np.ndarray:
        """Return (rows, columns, 3): the centers of the voxels of a slice in mm."""
        _, rows, columns = self.shape
        row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        index = np.stack([np.full_like(row, number), row, column], axis=-1)
        made: np.ndarray = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Where a frame lies.

    Attributes
    ----------
    position
        (3,) mm: center of the first pixel.
    along_row, along_column
        (3,) unit vectors: to the next column, to the next row.
    spacing
        mm between rows, between columns.
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
        """(3,) unit vector of the direction in which slices are counted."""
        return np.cross(self.along_row, self.along_column)

    def steps(self) -> np.ndarray:
        """Return (3, 2) mm: from a row to the next, from a column to the next."""
        return np.stack(
            [self.along_column * self.spacing[0], self.along_row * self.spacing[1]], axis=1
        )


def plane_of(
    position: Sequence[float] | None, orientation: Sequence[float] | None,
    spacing: Sequence[float] | None, shape: tuple[int, int],
) -> Plane:  # fmt: skip
    """Return the plane that a frame states.

    Raises
    ------
    OffGrid
        Position, orientation or spacing is missing or means nothing.
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
        raise OffGrid("the directions of a frame are no unit vectors")
    if abs(row @ column) > 1e-2:
        raise OffGrid("rows and columns of a frame are not at right angles")
    return Plane(
        np.array(position, float), row / lengths[0], column / lengths[1],
        (float(spacing[0]), float(spacing[1])), shape,
    )  # fmt: skip


def grid_of_volume(volume: LazyVolume) -> Grid | None:
    """Return the grid of a volume; None if its frames lie in no space."""
    if volume.affine is None or volume.dims[volume.leading : volume.leading + 3] != (
        "slice", "row", "column",
    ):  # fmt: skip
        return None
    slices, rows, columns = volume.shape[volume.leading : volume.leading + 3]
    return Grid(volume.affine, (slices, rows, columns))


def corner_on(grid: Grid, plane: Plane) -> tuple[int, int, int]:
    """Return the index on a grid of the first pixel of a plane.

    Raises
    ------
    OffGrid
        The plane is turned, scaled or shifted against the grid by more than a twentieth of a
        voxel, or reaches beyond it.
    """
    steps = grid.inverse[:3, :3] @ plane.steps()
    wrong = np.abs(steps - [[0, 0], [1, 0], [0, 1]])
    if (wrong * (np.array(plane.shape) - 1)).max() > TOLERANCE:
        raise OffGrid("its rows and columns have other directions or distances")
    index = grid.index_of(plane.position[None])[0]
    nearest = np.rint(index)
    if np.abs(index - nearest).max() > TOLERANCE:
        raise OffGrid("its pixels lie between those of the grid")
    corner = nearest.astype(int).tolist()
    ends = [corner[0] + 1, corner[1] + plane.shape[0], corner[2] + plane.shape[1]]
    if min(corner) < 0 or any(end > size for end, size in zip(ends, grid.shape, strict=True)):
        raise OffGrid("frames reach beyond the grid")
    return corner[0], corner[1], corner[2]


def grid_of_planes(planes: Sequence[Plane], stated_mm: float | None) -> Grid:
    """Return the least regular grid on which planes lie; planes may be missing.

    Parameters
    ----------
    planes
        At least one.
    stated_mm
        Distance of slices that the header states: taken where all distances of planes are
        multiples of it, or there is one plane. Else the least distance of planes counts.

    Raises
    ------
    OffGrid
    """
    first = planes[0]
    positions = np.array([plane.position for plane in planes])
    for plane in planes:
        turned = np.abs(plane.steps() - first.steps()).max(axis=0)
        if (turned * (np.array(plane.shape) - 1)).max() > TOLERANCE * min(first.spacing):
            raise OffGrid("frames have several directions or pixel spacings")
    normal = first.normal
    gaps = np.diff(np.sort((positions - first.position) @ normal))
    gaps = gaps[gaps > 1e-3]
    step = stated_mm
    if gaps.size and not (stated_mm and _are_multiples(gaps, stated_mm)):
        step = float(gaps.min())
    if step is None or not step > 0:
        raise OffGrid("all frames lie in one plane, and no thickness is stated")
    if gaps.size and not _are_multiples(gaps, step):
        raise OffGrid("distances between slices are no multiples of one distance")
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
