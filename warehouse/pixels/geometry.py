"""Arrange frames on a regular grid of slices with an affine, or report why that is impossible.

In: arrays. Out: ``Grid``. Uses only NumPy, no files and no catalog. The conditions and tolerances
are those of the view ``series_geometry``; a test checks that both agree on every series. (The view
takes 25 ms per series, too long for reading one slice; it is queried only for the error message.)

Patient coordinates are LPS in mm (PS3.3 C.7.6.2.1.1): x increases to the patient's left, y to the
back, z to the head. Array axes are (slice, row, column). Slices are ordered along the normal, which
is the cross product of the row direction and the column direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

COSINE_TOLERANCE = 1e-4
"""Largest difference of direction cosines within a series, for rounding."""
SPACING_TOLERANCE = 0.01
"""Largest deviation of a slice from its grid position, as a fraction of the spacing …"""
POSITION_TOLERANCE_MM = 0.01
"""… or twice this value if that is larger: many scanners write positions with two decimals."""
DRIFT_TOLERANCE_PIXELS = 0.1
"""Largest in-plane shift of slices, as a fraction of a pixel."""
MAX_SLICES_WITH_GAPS = 16_384
"""Largest number of slices in a grid with gaps, because positions may be arbitrarily far apart."""
ORTHONORMAL_TOLERANCE = 1e-3
"""Largest deviation of directions from a right angle or from length one."""
LARGEST_MM = 1e6
"""Positions and spacings beyond this are invalid …"""
LARGEST_COSINE = 2
"""… and so are directions."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Positions of frames, one row per frame; NaN where one is missing.

    Attributes
    ----------
    positions
        (n, 3), mm, LPS: center of the first pixel (Image Position (Patient)).
    orientations
        (n, 6), direction cosines along a row, then along a column.
    spacings
        (n, 2), mm: between rows, between columns.
    shapes
        (n, 3): rows, columns, samples.
    model
        The frame whose directions and spacing are used for all.
    """

    positions: np.ndarray
    orientations: np.ndarray
    spacings: np.ndarray
    shapes: np.ndarray
    model: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular grid of slices.

    Attributes
    ----------
    levels
        (n,) integers: the slice index of each frame, from 0 along the normal.
    count
        Number of slices.
    affine
        (4, 4): array index (slice, row, column, 1) to mm in LPS at the center of the voxel.
    spacing
        Distances between slices, rows and columns, mm.
    """

    levels: np.ndarray
    count: int
    affine: np.ndarray
    spacing: tuple[float, float, float]


def arrange(
    planes: Planes, *, may_have_gaps: bool = False, may_be_sheared: bool = False
) -> Grid | list[str]:
    """Return the grid of frames, or all reasons why there is none.

    Several frames may be in one slice; the caller must check whether that is valid.

    Parameters
    ----------
    planes
        At least one frame.
    may_have_gaps
        Slices may be missing in the middle, because segmentations leave out empty ones.
    may_be_sheared
        Each slice may be shifted in its plane by the same amount relative to the previous one.
    """
    placed = _is_placed(planes)
    is_one_shape = bool((planes.shapes == planes.shapes[0]).all())
    several = [] if is_one_shape else [f"several shapes: {', '.join(_sizes(planes.shapes))}"]
    if not placed.all():
        return ["images without position, orientation, spacing or size", *several]
    reasons = several
    along_row, along_column = _directions(planes.orientations[planes.model])
    spacing = planes.spacings[planes.model]
    normal = np.cross(along_row, along_column)
    heights = planes.positions @ normal
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    # Tolerance for rounded positions, smaller for small pixels.
    rounding_mm = float(min(POSITION_TOLERANCE_MM, DRIFT_TOLERANCE_PIXELS * spacing.min()))
    is_new = steps > rounding_mm
    levels = np.empty(len(heights), np.int64)
    levels[order] = np.concatenate([[0], np.cumsum(is_new)])
    count = int(levels.max()) + 1
    if len(heights) < 2 or count < 2:
        reasons.append("a single slice")
    if _largest(planes.spacings, spacing) > max(SPACING_TOLERANCE * spacing.min(), 1e-6):
        reasons.append("several pixel spacings")
    parallel = _largest(planes.orientations, planes.orientations[planes.model]) <= COSINE_TOLERANCE
    if not parallel:
        reasons.append("several orientations")
    if not _is_orthonormal(along_row, along_column):
        reasons.append("directions not at right angles")
    first, last = planes.positions[order[0]], planes.positions[order[-1]]
    step = _step(heights, steps[is_new], count)
    if parallel and count > 1:
        if may_have_gaps:
            room = (heights.max() - heights.min()) / steps[is_new].min()
            if room > MAX_SLICES_WITH_GAPS:
                return [*reasons, f"slices so far apart that {room:,.0f} would lie between them"]
            levels, count, step = _with_gaps(heights, float(steps[is_new].min()))
        tolerance_mm = max(SPACING_TOLERANCE * step, 2 * rounding_mm)
        reasons += _unevenness(
            heights, levels, steps[is_new], count, step, tolerance_mm, gaps=may_have_gaps
        )
    positions = planes.positions
    if may_be_sheared and count > 1:
        positions = positions - levels[:, None] * (last - first) / (count - 1)
    drift = _drift(positions, along_row, along_column)
    if parallel and drift > max(DRIFT_TOLERANCE_PIXELS * spacing.min(), 2 * rounding_mm):
        reasons.append(f"slices shifted by {_rounded(drift, 2)} mm: gantry tilt")
    if reasons:
        return reasons
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (count - 1)
    # Direction cosines rounded to six digits do not have unit length, so normalize them.
    affine[:3, 1] = along_column * spacing[0] / np.linalg.norm(along_column)
    affine[:3, 2] = along_row * spacing[1] / np.linalg.norm(along_row)
    affine[:3, 3] = first
    return Grid(levels, count, affine, (step, float(spacing[0]), float(spacing[1])))


def _is_placed(planes: Planes) -> np.ndarray:
    lengths = np.abs(np.hstack([planes.positions, planes.spacings]))
    usual: np.ndarray = (lengths < LARGEST_MM).all(axis=1)
    usual &= (np.abs(planes.orientations) < LARGEST_COSINE).all(axis=1)
    return usual & (planes.spacings > 0).all(axis=1) & (planes.shapes[:, :2] > 0).all(axis=1)


def _sizes(shapes: np.ndarray) -> list[str]:
    """Return the distinct sizes, with the number of images of each."""
    sizes: dict[str, int] = {}
    for rows, columns, samples in shapes:
        size = f"{rows} x {columns}" + (f" x {samples}" if samples > 1 else "")
        sizes[size] = sizes.get(size, 0) + 1
    return [f"{size} ({count})" for size, count in sorted(sizes.items())]


def _directions(orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return orientation[:3], orientation[3:]


def _largest(rows: np.ndarray, model: np.ndarray) -> float:
    return float(np.abs(rows - model).max())


def _is_orthonormal(along_row: np.ndarray, along_column: np.ndarray) -> bool:
    products = np.array(
        [along_row @ along_column, along_row @ along_row - 1, along_column @ along_column - 1]
    )
    return bool(np.abs(products).max() <= ORTHONORMAL_TOLERANCE)


def _step(heights: np.ndarray, steps: np.ndarray, count: int) -> float:
    return float(heights.max() - heights.min()) / (count - 1) if len(steps) else math.nan


def _with_gaps(heights: np.ndarray, step: float) -> tuple[np.ndarray, int, float]:
    """Return levels as multiples of the smallest step, for slices with gaps."""
    lowest, highest = float(heights.min()), float(heights.max())
    count = round((highest - lowest) / step) + 1
    step = (highest - lowest) / (count - 1)
    return np.rint((heights - lowest) / step).astype(np.int64), count, step


def _unevenness(
    heights: np.ndarray, levels: np.ndarray, steps: np.ndarray, count: int, step: float,
    tolerance_mm: float, *, gaps: bool,
) -> list[str]:  # fmt: skip
    usual = float(np.median(steps))
    missing = 0 if gaps else int(np.maximum(np.floor(steps / usual + 0.5) - 1, 0).sum())
    if missing:
        return [f"{missing} missing slice{'s' if missing > 1 else ''}"]
    # If several frames have the same position, use the one with the lowest number, as in the view.
    off_grid = np.abs(heights - heights.min() - levels * step)
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, levels, heights)
    off = float(off_grid[heights <= lowest[levels]].max())
    if off > tolerance_mm:
        return [f"uneven spacing: off by {_rounded(off, 3)} mm"]
    return []


def _drift(positions: np.ndarray, along_row: np.ndarray, along_column: np.ndarray) -> float:
    return float(max(np.ptp(positions @ along_row), np.ptp(positions @ along_column)))


def _rounded(number: float, digits: int) -> str:
    """Return a number in the format of DuckDB's ``round(number, digits)``."""
    return repr(math.floor(number * 10**digits + 0.5) / 10**digits)


def vectors(rows: Sequence[Sequence[float | None] | None], length: int) -> np.ndarray:
    """Return lists as rows of an array (n, length); NaN for missing lists or other lengths."""
    if all(row is not None and len(row) == length for row in rows):  # the usual case
        return np.array(rows, np.float64).reshape(len(rows), length)  # None becomes NaN
    made = np.full((len(rows), length), np.nan)
    for number, row in enumerate(rows):
        if row is not None and len(row) == length:
            made[number] = [math.nan if value is None else value for value in row]
    return made
