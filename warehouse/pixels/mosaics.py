"""Layout of a series of Siemens mosaics: each image is a volume, its slices are tiles of a frame.

In: a catalog and images. Out: ``Layout``. Tiles are read from left to right, then downwards. The
number of tiles is a square number; tiles beyond the number of slices are padding and left out. The
view ``mosaic_geometry`` gives the number of slices, their direction and distance. Image Position
(Patient) is wrong in mosaics, because the scanner centers the large frame at the position of a
slice. The true position is shifted by half the difference in size (as in dcm2niix and nibabel, see
nibabel's dicom_mosaic.rst).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from warehouse.errors import NotAVolume
from warehouse.pixels.geometry import COSINE_TOLERANCE, POSITION_TOLERANCE_MM
from warehouse.pixels.layout import Layout, planes_of, scales_of
from warehouse.pixels.volumes import Labels, labels_of, numbered, stated_of
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.geometry import Planes
    from warehouse.pixels.image import Image


def is_mosaic(image: Image) -> bool:
    """Return whether an image has the slices of a volume as tiles."""
    return image.frame_count == 1 and "MOSAIC" in (image.ImageType or [])


def layout_of_mosaics(catalog: Catalog, series_uid: str, images: Sequence[Image]) -> Layout:
    """Return the layout of a series of mosaics, in the order of acquisition.

    Raises
    ------
    NotAVolume
        The CSA headers are missing or disagree, or the mosaics have different positions.
    """

    def refuse(why: str) -> NotAVolume:
        return NotAVolume(series_uid, f"mosaics {why}")

    ids = [image.instance_id for image in images]
    asked = statement("mosaics", "pixels")
    rows = catalog.connection.execute(asked, [series_uid, min(ids), max(ids)]).fetchall()
    stated_by_id = {instance_id: stated for instance_id, *stated in rows}
    stated = [stated_by_id.get(instance_id, [None, None, None]) for instance_id in ids]
    counts = {count or 0 for count, _, _ in stated}
    count = counts.pop()
    if counts or count < 1 or any(normal is None for _, normal, _ in stated):
        raise refuse(
            "whose Siemens CSA headers do not say how many slices they hold and which way these go"
            " (mode minimal does not keep CSA headers)"
        )
    if count == 1:
        raise refuse("of a single tile")
    _, normal, step = stated[0]
    planes = planes_of(images)
    _check(planes, refuse)
    side = math.ceil(math.sqrt(count))
    rows, columns, samples = planes.shapes[0]
    if rows % side or columns % side or samples != 1:
        raise refuse(f"of {rows} x {columns} do not divide into {side} x {side} tiles")
    shape = (int(rows) // side, int(columns) // side)
    affine, backwards = _affine(planes, shape, step, np.array(normal), refuse)
    tiles = [(t // side * shape[0], t % side * shape[1]) for t in range(count)]
    if backwards:
        tiles.reverse()
        affine[:3, 3] += (count - 1) * affine[:3, 0]
        affine[:3, 0] *= -1
    images, labels = _in_order(catalog, series_uid, images)
    grid = np.arange(len(images) * count).reshape(len(images), count)
    return Layout(
        images=tuple(images),
        frames=np.array([(n, 0, top, left) for n in range(len(images)) for top, left in tiles]),
        grid=grid if len(images) > 1 else grid[0],
        dims=(*(["volume"] if len(images) > 1 else []), "slice", "row", "column"),
        frame_shape=shape,
        affine=affine,
        scales=scales_of(
            [(i.RescaleSlope, i.RescaleIntercept) for i in images for _ in range(count)]
        ),
        labels=labels,
    )


def _in_order(
    catalog: Catalog, series_uid: str, images: Sequence[Image]
) -> tuple[Sequence[Image], Labels]:
    """Return the mosaics as volumes follow each other, and what they are."""
    if len(images) == 1:
        return images, Labels()
    numbers = [(number, 0) for number in range(len(images))]
    stated = stated_of(catalog, "image_slices", series_uid, images, numbers)
    volumes = numbered(stated, np.zeros(len(images), np.int64))
    # Each tile is a volume; where nothing orders them, the key does.
    order = np.arange(len(images)) if isinstance(volumes, str) else np.argsort(volumes)
    return [images[n] for n in order], labels_of(stated, order[:, None], ["volume"])


def _check(planes: Planes, refuse: object) -> None:
    assert callable(refuse)
    numbers = np.hstack([planes.positions, planes.orientations, planes.spacings])
    if not np.isfinite(numbers).all() or not (planes.spacings > 0).all():
        raise refuse("without position, orientation or spacing")
    if (planes.shapes != planes.shapes[0]).any():
        raise refuse("of several shapes")
    if np.ptp(planes.positions, axis=0).max() > POSITION_TOLERANCE_MM:
        raise refuse("at several positions")
    if np.ptp(planes.orientations, axis=0).max() > COSINE_TOLERANCE:
        raise refuse("of several orientations")


def _affine(
    planes: Planes, shape: tuple[int, int], step: float | None, normal: np.ndarray,
    refuse: object,
) -> tuple[np.ndarray, bool]:  # fmt: skip
    """Return the affine with slices in the order of the tiles, and whether that order is reversed.

    Only the sign is taken from the CSA normal; the computed direction is more exact.
    """
    assert callable(refuse)
    along_row, along_column = planes.orientations[0][:3], planes.orientations[0][3:]
    between_rows, between_columns = planes.spacings[0]
    straight = np.cross(along_row, along_column)
    same = float(straight @ normal)
    if abs(abs(same) - 1) > 1e-3:
        raise refuse("whose CSA normal is not at right angles to their rows and columns")
    if step is None or not step > 0:
        raise refuse("without a distance between slices")
    surplus = (planes.shapes[0][:2] - np.array(shape)) / 2
    affine = np.eye(4)
    affine[:3, 0] = math.copysign(step, same) * straight
    affine[:3, 1] = along_column * between_rows / np.linalg.norm(along_column)
    affine[:3, 2] = along_row * between_columns / np.linalg.norm(along_row)
    affine[:3, 3] = planes.positions[0] + affine[:3, 1] * surplus[0] + affine[:3, 2] * surplus[1]
    return affine, same < 0
