"""Slice timing of a series, in the order of slices in its NIfTI file.

In: a catalog and a volume. Out: seconds from the begin of the volume, or None where nothing says
so: a time per slice is stated by the CSA header of Siemens mosaics, and by the acquisition time of
single images and frames of makers that write one for each. GE's protocol states an order of slices
and no times: these are not made up of it.
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
"""By which the times of one slice may differ from volume to volume: clocks count 2.5 ms."""


def slice_times(catalog: Catalog, volume: LazyVolume) -> list[float] | None:
    """Return seconds, one per slice along the normal; None if they are not stated."""
    layout = volume.layout
    first = layout.grid.reshape(-1, layout.grid.shape[-1])[0]
    if (first < 0).any() or len(first) < 2:
        return None
    if is_mosaic(volume.images[0]):
        return _of_tiles(catalog, volume, first)
    return _of_frames(catalog, volume)


def _of_tiles(catalog: Catalog, volume: LazyVolume, first: np.ndarray) -> list[float] | None:
    ids = [image.instance_id for image in volume.images]
    asked = [volume.series_uid, min(ids), max(ids)]
    rows = catalog.connection.execute(statement("slice_times", "bids"), asked).fetchall()
    if not rows:
        return None
    times = rows[0][0]
    rows_of, columns_of = volume.layout.frame_shape[:2]
    side = (volume.images[0].Columns or 0) // columns_of
    places = volume.layout.frames[first]
    tiles = places[:, 2] // rows_of * side + places[:, 3] // columns_of
    if max(tiles) >= len(times):
        return None
    found = [times[tile] / 1000 for tile in tiles.tolist()]
    return [round(time - min(found), 6) for time in found]


def _of_frames(catalog: Catalog, volume: LazyVolume) -> list[float] | None:
    """Return the times that each slice has after the first of its volume, if volumes agree."""
    layout = volume.layout
    if (layout.grid < 0).any():
        return None
    name = "frame_slices" if any(i.frame_count > 1 for i in volume.images) else "image_slices"
    frames = [(image, frame) for image, frame in layout.frames[:, :2].tolist()]
    stated = stated_of(catalog, name, volume.series_uid, volume.images, frames)["acquired_us"]
    if not stated.is_complete or not stated.varies:
        return None
    taken = np.array(stated.values, np.float64)[layout.grid].reshape(-1, layout.grid.shape[-1])
    times = (taken - taken.min(axis=1, keepdims=True)) / 1e6
    if times[0].max() == 0 or np.ptp(times, axis=0).max() > _SAME_S:
        return None
    return [round(time, 6) for time in times[0].tolist()]
