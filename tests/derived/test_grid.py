"""Grids of frames: in which direction slices are numbered, in any orientation."""

from __future__ import annotations

import numpy as np
import pytest

from warehouse.derived.grid import grid_of_planes, plane_of


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 1)),
        ((0, 1, 0, 0, 0, -1), (-1, 0, 0)),
        ((1, 0, 0, 0, 0, -1), (0, 1, 0)),
        ((0.8, 0.6, 0, 0, 0, -1), (-0.6, 0.8, 0)),
        ((-1, 0, 0, 0, 0.6, -0.8), (0, -0.8, -0.6)),
    ],
    ids=["axial", "sagittal", "coronal", "oblique", "mirrored"],
)
def test_slices_are_numbered_along_the_normal(
    orientation: tuple[float, ...], normal: tuple[float, ...]
) -> None:
    """PS3.3 C.7.6.2.1.1: rows, columns and slices in this order form a right-handed system."""
    origin = np.array([10.0, -20.0, 30.0])
    planes = [
        plane_of(tuple(origin + np.array(normal) * 2.5 * n), orientation, (0.5, 0.7), (3, 4))
        for n in (2, 0, 3, 1)
    ]
    grid = grid_of_planes(planes, None)
    assert grid.shape == (4, 3, 4)
    assert grid.affine[:3, 0] == pytest.approx(np.array(normal) * 2.5)
    assert grid.affine[:3, 1] == pytest.approx(np.array(orientation[3:]) * 0.5)
    assert grid.affine[:3, 2] == pytest.approx(np.array(orientation[:3]) * 0.7)
    assert grid.affine[:3, 3] == pytest.approx(origin)
    assert np.linalg.det(grid.affine[:3, [2, 1, 0]]) > 0
