"""An RT structure set as masks on the grid of a series: ``Structures``.

In: a catalog and a series. Out: masks. Contours are read from the view ``rt_contours``; no file is
opened. Contours of one plane are combined by XOR whatever their type, because many writers encode
holes that way (PS3.3 C.8.8.6 provides keyholes and CLOSEDPLANAR_XOR for it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.derived.grid import Grid, grid_of_volume
from warehouse.derived.raster import filled
from warehouse.errors import NotInGeometry, SeriesNotFound, UnknownPart, WrongObject
from warehouse.given import checked
from warehouse.inputs import require_names
from warehouse.pixels.lookup import spaces_of
from warehouse.pixels.read import allocated
from warehouse.pixels.volume import open_volume

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.catalog.connect import Catalog

_OBJECTS = "select instance_id, SOPInstanceUID from instances where series_key = $1"
_ROIS = "from rt_rois where instance_id = $1 order by item"
_CONTOURS = (
    "select ContourGeometricType, points, why_not from rt_contours "
    "where instance_id = $1 and ROINumber = $2 order by roi_item, contour_item"
)
_PLANE_TOLERANCE = 0.01
"""Contours closer than this fraction of the slice distance are in one plane."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A region on the grid of a series.

    Attributes
    ----------
    voxels
        (slice, row, column) bool.
    grid
        Grid of the voxels.
    series_uid
        SeriesInstanceUID of the series that has this grid.
    warnings
        Contours that are left out or outside of the grid.
    """

    voxels: np.ndarray
    grid: Grid
    series_uid: str
    warnings: tuple[str, ...]

    @property
    def volume_ml(self) -> float:
        """Volume of the voxels in ml."""
        return float(self.voxels.sum()) * self.grid.voxel_ml


class Structures:
    """Regions of one RT structure set.

    Attributes
    ----------
    series_uid, sop_instance_uid
        UIDs of the object.
    rois
        Rows of the view ``rt_rois``.

    Examples
    --------
    >>> found = wh.structures(rt_uid)
    >>> found.rois["ROIName"].to_list()
    ['box']
    >>> mask = found.mask(1)
    >>> int(mask.voxels.sum()), mask.volume_ml
    (8, 0.016)
    """

    def __init__(self, catalog: Catalog, series_uid: str, instance_id: int, uid: str) -> None:
        self.series_uid, self.sop_instance_uid = series_uid, uid
        self._catalog, self._instance_id = catalog, instance_id
        self.rois: pl.DataFrame = catalog.session().sql(_ROIS, params=[instance_id]).pl()
        unread = self.rois["not_read"].drop_nulls()
        if len(unread):
            raise WrongObject(series_uid, "structure set", unread[0])
        if not len(self.rois):
            raise WrongObject(series_uid, "structure set", "it has no region")

    def __repr__(self) -> str:
        return f"<Structures: {len(self.rois)} regions>"

    @property
    def numbers(self) -> list[int]:
        """ROI Numbers that enclose a volume."""
        sound = self.rois.filter(pl.col("roi_why_not").is_null())
        numbers: list[int] = sound["ROINumber"].to_list()
        return numbers

    @checked
    def mask(self, roi_number: int, *, on: str | None = None) -> Mask:
        """Return the mask of a region on the grid of a series.

        A voxel belongs to the region if its center does. A contour represents a slab that extends
        by half of the median distance of contour planes to both sides, so that slices between two
        planes are filled from the nearer one; if all contours are in one plane, the slab is as
        thick as a slice. Contours of one plane are combined by XOR.

        Parameters
        ----------
        roi_number
            ROI Number.
        on
            SeriesInstanceUID of a series with the grid, such as a CT or dose; None for the series
            on which the contours were drawn, or that the structure set references.

        Raises
        ------
        UnknownPart
        WrongObject
            The region has no closed contour that can be read.
        NotInGeometry
            The series is in another frame of reference or has no position in space, or contours
            are not in planes parallel to its slices.
        SeriesNotFound, NoPixels, NotAVolume
        """
        series_uid, grid = self._grid(roi_number, on)
        outlines, warnings = self._outlines(roi_number)
        indexed = [grid.index_of(points) for points in outlines]
        planes = self._planes(indexed)
        heights = np.array(sorted(planes))
        gaps = np.diff(heights)
        median = float(np.quantile(gaps, 0.5, method="lower")) if gaps.size else 1.0
        half = median / 2
        if gaps.size and (gaps.max() > 1.5 * median or gaps.min() < 0.5 * median):
            warnings.append("distances of contour planes differ: wide gaps are left empty")
        voxels = allocated(self.series_uid, grid.shape, np.dtype("?"))
        voxels[...] = False
        used: set[int] = set()
        for level in range(grid.shape[0]):
            nearest = int(np.abs(heights - level).argmin())
            # A slice on the border of two slabs belongs to one of them: the lower end is exclusive.
            if -half < level - heights[nearest] + 1e-6 <= half + 2e-6:
                used.add(nearest)
                voxels[level] = filled(planes[float(heights[nearest])], grid.shape[1:])
        outside = [h for h in heights if h <= -0.5 - half or h >= grid.shape[0] - 0.5 + half]
        if outside:
            warnings.append(f"{len(outside)} contour planes are outside of the slices")
        skipped = len(heights) - len(used) - len(outside)
        if skipped > 0:
            warnings.append(f"{skipped} contour planes are between slices and fill none")
        corners = np.concatenate(indexed)
        limits = np.array(grid.shape[1:]) - 0.5
        if (corners[:, 1:] < -0.5).any() or (corners[:, 1:] > limits).any():
            warnings.append("contours extend outside of rows or columns, and are clipped")
        return Mask(voxels, grid, series_uid, tuple(warnings))

    # -- contours ----------------------------------------------------------------------------------

    def _roi(self, number: int) -> dict[str, object]:
        """Return the row of a region; refuse one without a volume."""
        rows = self.rois.filter(pl.col("ROINumber") == number).to_dicts()
        if not rows:
            raise UnknownPart("region", number, self.rois["ROINumber"].drop_nulls().to_list())
        if rows[0]["roi_why_not"]:
            why = f"region {number}: {rows[0]['roi_why_not']}"
            raise WrongObject(self.series_uid, "structure set with that volume", why)
        return rows[0]

    def _outlines(self, number: int) -> tuple[list[np.ndarray], list[str]]:
        """Return the points (n, 3), in mm, of each closed contour; and warnings."""
        self._roi(number)
        parameters = [self._instance_id, number]
        rows = self._catalog.session().sql(_CONTOURS, params=parameters).pl()
        left_out = rows["why_not"].drop_nulls().value_counts(sort=True).iter_rows()
        warnings = [f"{count} contours are left out: {why}" for why, count in left_out]
        sound = rows.filter(pl.col("why_not").is_null())["points"]
        outlines = [points.explode().to_numpy().reshape(-1, 3) for points in sound]
        if not outlines:
            why = f"region {number}: {'; '.join(warnings) or 'it has no contour'}"
            raise WrongObject(self.series_uid, "structure set with that volume", why)
        return outlines, warnings

    def _planes(self, indexed: Iterable[np.ndarray]) -> dict[float, list[np.ndarray]]:
        """Group outlines, as (row, column), by the fractional slice index of their plane."""
        planes: dict[float, list[np.ndarray]] = {}
        for points in sorted(indexed, key=lambda one: float(one[:, 0].mean())):
            level = float(points[:, 0].mean())
            if np.abs(points[:, 0] - level).max() > 0.05:
                why = "contours are not in planes parallel to its slices"
                advice = "choose the series on which they were drawn (on=…)"
                raise NotInGeometry(self.series_uid, why, advice)
            nearest = next(reversed(planes), None)
            key = level if nearest is None or level - nearest > _PLANE_TOLERANCE else nearest
            planes.setdefault(key, []).append(points[:, 1:])
        return planes

    def _grid(self, number: int, on: str | None) -> tuple[str, Grid]:
        """Return the series on whose grid to rasterize a region, and its grid."""
        roi = self._roi(number)
        series_uid = on or roi["referenced_SeriesInstanceUID"]
        if not isinstance(series_uid, str):
            why = "it references no series of images, or several; choose one (on=…)"
            raise WrongObject(self.series_uid, "structure set on a grid", why)
        grid = grid_of_volume(open_volume(self._catalog, series_uid))
        if grid is None:
            raise NotInGeometry(
                series_uid, "its frames have no position in space", "choose another (on=…)"
            )
        spaces = spaces_of(self._catalog, series_uid)
        own = roi["ReferencedFrameOfReferenceUID"]
        if own and spaces and spaces != {own}:
            why = "the region is in another frame of reference"
            raise NotInGeometry(series_uid, why, "choose a series in the same one (on=…)")
        return series_uid, grid


def open_structures(
    catalog: Catalog, series_uid: str, *, sop_instance_uid: str | None = None
) -> Structures:
    """Open an RT structure set from its rows; no file is opened.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID of the structure set.
    sop_instance_uid
        The object, if the series has several.

    Raises
    ------
    SeriesNotFound
    WrongObject
        The series is not a structure set, or has several objects and none is chosen.
    """
    require_names(series_uid)
    objects = catalog.connection.execute(_OBJECTS, [series_uid]).fetchall()
    if not objects:
        raise SeriesNotFound(series_uid)
    chosen = [row for row in objects if sop_instance_uid in (None, row[1])]
    if len(chosen) != 1:
        why = f"{len(chosen)} of its objects match; choose one (sop_instance_uid=…)"
        raise WrongObject(series_uid, "structure set", why)
    return Structures(catalog, series_uid, *chosen[0])
