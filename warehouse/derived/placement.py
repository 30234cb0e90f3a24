"""Place the frames of a segmentation on the grid of its images, or on their own grid.

In: rows of ``segmentations`` and ``segment_frames``. Out: ``Placement``. No pixels are read. The
positions of frames take precedence over slice distances stated in the header.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from warehouse.derived.grid import (
    Grid,
    OffGrid,
    Plane,
    corner_on,
    grid_of_planes,
    grid_of_volume,
    plane_of,
)
from warehouse.errors import NoPixels, NotAVolume, NotInGeometry, SeriesNotFound, WrongObject
from warehouse.pixels.lookup import spaces_of
from warehouse.pixels.volume import open_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from warehouse.catalog.connect import Catalog

_FRAMES_ADVICE = "take its frames, wh.stack(…)"
_ADVICE = "pass resample=True for the nearest voxels, or own_grid=True for its own"

Corner = tuple[int, int, int]
"""Grid index (slice, row, column) of the first pixel of a frame."""

FrameOf = tuple[int, int]
"""Index of a frame, from 0, and the number of its segment."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The grid of masks, and the position of each frame on it."""

    grid: Grid
    """Grid of the masks."""
    source_uid: str | None
    """SeriesInstanceUID of the images that have this grid; None for the own grid of the frames."""
    own_grid_why: str | None
    """Why the own grid of the frames is used; None if it is not."""
    planes: list[Plane] | str
    """Planes of the frames that belong to a segment; or why they are unknown."""
    corners: list[Corner]
    """Corners of these frames; empty if frames must be resampled."""
    resamples: bool
    own: Grid | str
    """The smallest grid that contains the frames; or why there is none."""
    warnings: list[str]

    def voxel_ml(self) -> tuple[float | None, str | None]:
        """Return the volume of a stored voxel in ml and None, or None and why it is unknown."""
        # On the grid of the images, frames have the slice distance of the images.
        grid = self.own if self.resamples or self.source_uid is None else self.grid
        if isinstance(grid, str):
            return None, grid
        planes = [] if isinstance(self.planes, str) else self.planes
        heights = np.unique([round(float(grid.index_of(p.position[None])[0, 0])) for p in planes])
        if self.source_uid is None and len(heights) > 1 and np.diff(heights).min() > 1:
            why = "no two frames are neighbors: slices are missing, or their distance is wrong"
            return None, why
        return grid.voxel_ml, None


def place_frames(
    catalog: Catalog, series_uid: str, segments: pl.DataFrame, frames: pl.DataFrame,
    rows: Sequence[FrameOf], shape: tuple[int, int], *, resample: bool, own_grid: bool,
) -> Placement:  # fmt: skip
    """Place frames of a shape (rows, columns) on the grid of the segmented images.

    Their own grid is used if ``own_grid`` is set, or if no grid of images is known. Frames that are
    not on the grid of the images are refused unless ``resample`` is set.

    Raises
    ------
    NotInGeometry
    WrongObject
        Several frames of one segment have the same position, or overlap.
    """
    planes = _planes(frames, rows, shape)
    own, warnings = _own_grid(planes, frames)
    source = "own_grid was requested" if own_grid else _source_grid(catalog, series_uid, segments)
    if isinstance(source, Grid):
        corners, why = _corners_on(series_uid, source, planes, rows)
        if why and not resample:
            raise NotInGeometry(series_uid, why, _ADVICE)
        if why and isinstance(own, str):
            raise NotInGeometry(series_uid, f"{why}; alone: {own}", _FRAMES_ADVICE)
        if why and isinstance(own, Grid):
            _corners_on(series_uid, own, planes, rows)  # refuses two frames at one position
        uid = segments["segmented_SeriesInstanceUID"][0]
        return Placement(source, uid, None, planes, corners, bool(why), own, warnings)
    if isinstance(own, str):
        raise NotInGeometry(series_uid, own, _FRAMES_ADVICE)
    corners, _ = _corners_on(series_uid, own, planes, rows)
    return Placement(own, None, source, planes, corners, False, own, warnings)


def _planes(
    frames: pl.DataFrame, rows: Sequence[FrameOf], shape: tuple[int, int]
) -> list[Plane] | str:
    """Return the planes of frames, or why they are unknown."""
    columns = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
    attribute_rows = frames.select(columns).rows()
    stated = [attribute_rows[frame] for frame, _ in rows]
    try:
        return [
            plane_of(attributes[0], attributes[1], attributes[2], shape) for attributes in stated
        ]
    except OffGrid as error:
        why = frames["position_why_not"].drop_nulls()
        return f"{error} ({why[0]})" if len(why) else str(error)


def _own_grid(planes: list[Plane] | str, frames: pl.DataFrame) -> tuple[Grid | str, list[str]]:
    """Return the smallest grid that contains the planes, or why there is none; and warnings."""
    if isinstance(planes, str):
        return planes, []
    if not planes:
        return "no frame belongs to a segment", []
    stated = frames["SpacingBetweenSlices"].drop_nulls().to_list()
    thickness = stated or frames["SliceThickness"].drop_nulls().to_list()
    is_one_plane = len({round(float(p.position @ p.normal), 3) for p in planes}) == 1
    try:
        grid = grid_of_planes(planes, (thickness if is_one_plane else [*stated, None])[0])
    except (OffGrid, IndexError) as error:
        return str(error) or "all frames lie in one plane, and no thickness is stated", []
    step = float(np.linalg.norm(grid.affine[:3, 0]))
    if stated and abs(stated[0] - step) > 0.01 * step:
        return grid, ["Spacing Between Slices differs from the distance of the positions"]
    return grid, []


def _corners_on(
    series_uid: str, grid: Grid, planes: list[Plane] | str, rows: Sequence[FrameOf]
) -> tuple[list[Corner], str | None]:
    """Return the corners of frames on a grid; or none and why, if a frame is not on it."""
    if isinstance(planes, str):
        return [], planes
    try:
        corners = [corner_on(grid, plane) for plane in planes]
    except OffGrid as error:
        return [], str(error)
    if planes and _overlap([(row[1], *c) for row, c in zip(rows, corners, strict=True)], planes[0]):
        why = "several frames of one segment have the same position, or overlap"
        raise WrongObject(series_uid, "segmentation", why)
    return corners, None


def _overlap(places: list[tuple[int, int, int, int]], plane: Plane) -> bool:
    """Return whether frames of one segment share pixels: segment, and corner of each."""
    height, width = plane.shape
    in_cell: dict[tuple[int, int, int, int], tuple[int, int]] = {}
    for segment, level, top, left in places:
        # A cell has the size of a frame, so that frames in the same or adjacent cells may overlap.
        for cell in product((top // height - 1, top // height, top // height + 1),
                            (left // width - 1, left // width, left // width + 1)):  # fmt: skip
            other = in_cell.get((segment, level, *cell))
            if other and abs(other[0] - top) < height and abs(other[1] - left) < width:
                return True
        in_cell[segment, level, top // height, left // width] = top, left
    return False


def _source_grid(catalog: Catalog, series_uid: str, segments: pl.DataFrame) -> Grid | str:
    """Return the grid of the segmented images, or why it is unknown.

    Raises
    ------
    NotInGeometry
        The frames of reference differ.
    """
    uid = segments["segmented_SeriesInstanceUID"][0]
    if uid is None:
        return "it references no series of images"
    try:
        grid = grid_of_volume(open_volume(catalog, uid))
    except (SeriesNotFound, NoPixels):
        return "the warehouse has no images of the series that it references"
    except NotAVolume as error:
        return f"the series that it references is not a volume: {error.why}"
    own, others = spaces_of(catalog, series_uid), spaces_of(catalog, uid)
    if own and others and own != others:
        why = "its frame of reference is not that of the images"
        raise NotInGeometry(series_uid, why, "pass own_grid=True for its own grid")
    return grid or "the series that it references has no position in space"
