"""Compute the dose-volume histogram of a region.

In: a mask, and a dose grid in Gy. Out: dose of each voxel, and its histogram. Dose is interpolated
trilinearly between the voxel centers of the dose grid, and is unknown outside of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.derived.grid import Grid, grid_of_volume
from warehouse.errors import NoSingleUnit, NotInGeometry, UsageError, WrongObject
from warehouse.given import checked
from warehouse.pixels.lookup import spaces_of
from warehouse.pixels.values import Values
from warehouse.pixels.volume import open_volume
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog
    from warehouse.derived.structures import Mask

_EDGE = 1e-6
"""Fraction of a voxel by which points may lie outside of the outermost centers, by rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class DoseVolume:
    """Dose of the voxels of a region.

    Attributes
    ----------
    dose_gy
        (n,) float64, ascending: dose of each voxel that the dose grid covers.
    voxel_ml
        Volume of a voxel in ml.
    uncovered_ml
        Volume of the region that the dose grid does not cover, in ml; it is not part of any other
        quantity, as its dose is unknown.
    warnings
        Contours that are left out or outside of the grid of the region.
    """

    dose_gy: np.ndarray
    voxel_ml: float
    uncovered_ml: float
    warnings: tuple[str, ...] = ()

    @property
    def volume_ml(self) -> float:
        """Volume that the dose grid covers, in ml."""
        return float(self.dose_gy.size * self.voxel_ml)

    @property
    def mean_gy(self) -> float:
        """Mean dose in Gy; NaN if no dose is known."""
        return float(self.dose_gy.mean()) if self.dose_gy.size else float("nan")

    @checked
    def volume_at_least(self, dose_gy: float) -> float:
        """Return the fraction of the volume, 0 to 1, with at least this dose: V20 for 20 Gy."""
        if not self.dose_gy.size:
            return float("nan")
        below = int(np.searchsorted(self.dose_gy, dose_gy, side="left"))
        return 1 - below / self.dose_gy.size

    @checked
    def dose_at_least(self, fraction: float) -> float:
        """Return the largest dose in Gy that this fraction of the volume has: D95 for 0.95.

        Raises
        ------
        UsageError
            The fraction is not between 0 and 1; 0 is the maximum dose.
        """
        if not 0 <= fraction <= 1:
            raise UsageError("a fraction of the volume is between 0 and 1")
        count = self.dose_gy.size
        if not count:
            return float("nan")
        voxels = math.ceil(fraction * count - 1e-9)  # 0.1 * 30 is more than 3 by rounding
        return float(self.dose_gy[count - max(voxels, 1)])

    @checked
    def histogram(self, bin_gy: float = 0.01) -> pl.DataFrame:
        """Return the cumulative histogram.

        Parameters
        ----------
        bin_gy
            Width of a bin in Gy; increased so that there are at most 100,000 bins.

        Returns
        -------
        polars.DataFrame
            ``dose_gy``, lower edge of each bin, and ``volume_ml`` with at least that dose.

        Raises
        ------
        UsageError
            The width is not a number above 0.
        """
        if not 0 < bin_gy < math.inf:
            raise UsageError("the width of a bin is a dose above 0 Gy")
        max_dose = float(self.dose_gy[-1]) if self.dose_gy.size else 0.0
        count = min(int(np.ceil(max(max_dose, 0.0) / bin_gy)) + 1, 100_000)
        edges = np.arange(count) * max(bin_gy, max_dose / max(count - 1, 1))
        counts = self.dose_gy.size - np.searchsorted(self.dose_gy, edges, side="left")
        return pl.DataFrame({"dose_gy": edges, "volume_ml": counts * self.voxel_ml})


def dose_volume(catalog: Catalog, mask: Mask, dose_series_uid: str) -> DoseVolume:
    """Return the dose in the voxels of a region.

    Parameters
    ----------
    catalog
        Open catalog.
    mask
        The region, on any grid in the frame of reference of the dose.
    dose_series_uid
        SeriesInstanceUID of an RT dose of one grid.

    Raises
    ------
    NoSingleUnit
        The dose is not in Gy.
    NotInGeometry
        Dose and region are in different frames of reference, or the dose has no position in space.
    WrongObject
        The dose has several grids, or is a difference between planned and desired dose.
    SeriesNotFound, NoPixels, NotAVolume, SourceChanged, PixelsUnreadable
    """
    volume = open_volume(catalog, dose_series_uid, values=Values(rescale=True))
    if volume.unit != "Gy":
        why = f"they are {volume.unit or 'of no stated unit'}, not Gy"
        raise NoSingleUnit(f"values of dose {dose_series_uid}", why)
    grid = grid_of_volume(volume)
    if grid is None:
        raise NotInGeometry(
            dose_series_uid, "its planes have no position in space", "see the view frames"
        )
    if volume.leading:
        raise WrongObject(dose_series_uid, "dose", f"it has several grids, {volume.dims[0]}")
    if ("ERROR",) in catalog.connection.execute(
        statement("dose_types", "pixels"), [dose_series_uid]
    ).fetchall():
        why = "its Dose Type is ERROR, the difference between desired and planned dose"
        raise WrongObject(dose_series_uid, "dose", why)
    spaces = [spaces_of(catalog, uid) for uid in (dose_series_uid, mask.series_uid)]
    if all(spaces) and spaces[0] != spaces[1]:
        why = "dose and region are in different frames of reference"
        raise NotInGeometry(dose_series_uid, why, "take a dose of that plan")
    values = volume.read()
    parts: list[np.ndarray] = []
    for level in np.flatnonzero(mask.voxels.any(axis=(1, 2))).tolist():
        points = mask.grid.points_of_slice(level)[mask.voxels[level]]
        parts.append(interpolated(values, grid, points))
    doses = np.concatenate(parts) if parts else np.empty(0)
    # Round to 1 nGy, so that rounding errors do not move a voxel below a dose limit.
    known = np.sort(np.round(doses[np.isfinite(doses)], 9))
    voxel_ml = mask.grid.voxel_ml
    return DoseVolume(known, voxel_ml, float((doses.size - known.size) * voxel_ml))


def interpolated(values: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    """Interpolate values trilinearly at points; NaN outside of the outermost voxel centers.

    Parameters
    ----------
    values
        (slice, row, column) float64.
    grid
        Grid of the values.
    points
        (n, 3) mm, LPS.
    """
    index = grid.index_of(points)
    last = np.array(values.shape) - 1
    outside = ((index < -_EDGE) | (index > last + _EDGE)).any(axis=1)
    index = np.clip(index, 0, last)
    low = np.minimum(np.floor(index).astype(np.int64), np.maximum(last - 1, 0))
    fraction = index - low
    result = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        neighbor = np.minimum(low + corner, last)
        weight = np.where(np.array(corner) == 1, fraction, 1 - fraction).prod(axis=1)
        result += weight * values[neighbor[:, 0], neighbor[:, 1], neighbor[:, 2]]
    return np.where(outside, np.nan, result)
