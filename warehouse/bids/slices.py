"""Read the slice timing of a series, in the order of slices in its NIfTI file.

In: a catalog and a volume. Out: seconds from the start of the volume, or None if not stated. Times
of slices are stated by the CSA header of Siemens mosaics, and by the acquisition times of single
images or frames, if they differ. GE's protocol states an order of slices, but no times, so it is
not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from warehouse.pixels.mosaics import is_mosaic
from warehouse.pixels.volumes import stated_of
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.volume import LazyVolume

_SAME_S = 0.006
"""Tolerance, in s, of the time of a slice between volumes: clocks tick every 2.5 ms."""


def slice_times(catalog: Catalog, volume: LazyVolume) -> list[float] | None:
    """Return the time of each slice along the normal, in seconds; None if not stated."""
    layout = volume.layout
    first = layout.grid.reshape(-1, layout.grid.shape[-1])[0]
    if (first < 0).any() or len(first) < 2:
        return None
    if is_mosaic(volume.images[0]):
        return _mosaic_times(catalog, volume, first)
    return _frame_times(catalog, volume)


def _mosaic_times(catalog: Catalog, volume: LazyVolume, first: np.ndarray) -> list[float] | None:
    ids = [image.instance_id for image in volume.images]
    parameters = [volume.series_uid, min(ids), max(ids)]
    rows = catalog.connection.execute(statement("slice_times", "bids"), parameters).fetchall()
    if not rows:
        return None
    times = rows[0][0]
    tile_rows, tile_columns = volume.layout.frame_shape[:2]
    side = (volume.images[0].Columns or 0) // tile_columns
    frames = volume.layout.frames[first]
    tiles = frames[:, 2] // tile_rows * side + frames[:, 3] // tile_columns
    if max(tiles) >= len(times):
        return None
    seconds = [times[tile] / 1000 for tile in tiles.tolist()]
    return [round(time - min(seconds), 6) for time in seconds]


def _frame_times(catalog: Catalog, volume: LazyVolume) -> list[float] | None:
    """Return the time of each slice after the first of its volume, if all volumes agree."""
    layout = volume.layout
    if (layout.grid < 0).any():
        return None
    has_groups = any(i.frame_count > 1 or i.ImagePositionPatient is None for i in volume.images)
    name = "frame_slices" if has_groups else "image_slices"
    frames = [(image, frame) for image, frame in layout.frames[:, :2].tolist()]
    stated = stated_of(catalog, name, volume.series_uid, volume.images, frames)["acquired_us"]
    if not stated.is_complete or not stated.varies:
        return None
    acquired = np.array(stated.values, np.float64)[layout.grid].reshape(-1, layout.grid.shape[-1])
    times = (acquired - acquired.min(axis=1, keepdims=True)) / 1e6
    if times[0].max() == 0 or np.ptp(times, axis=0).max() > _SAME_S:
        return None
    return [round(time, 6) for time in times[0].tolist()]
