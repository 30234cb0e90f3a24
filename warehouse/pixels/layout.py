"""``Layout``: the position of each frame in the array of a series, from the catalog alone.

In: a catalog and a series. Out: ``Layout``. A series consists of single frames, of mosaics, or of
multi-frame objects. Mosaics and multi-frame objects have their own modules; this module has the
common code and the layout of single frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from warehouse.errors import NotAVolume
from warehouse.pixels.geometry import Planes, arrange, vectors
from warehouse.pixels.volumes import Labels, labels_of, numbered, stated_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image


@dataclass(frozen=True, slots=True)
class Layout:
    """The array of a series before any voxel is read.

    Attributes
    ----------
    images
        Instances with the frames.
    frames
        (n, 4) integers: index of the image, index of the frame, and first row and column in the
        stored frame (0, 0 except for the tiles of a mosaic).
    grid
        Row of ``frames`` for each position of the array; -1 for an empty position, filled with 0.
    dims
        Names of the axes of ``grid``, then ``row``, ``column`` and, for color, ``sample``.
    frame_shape
        (rows, columns) or (rows, columns, 3).
    affine
        (4, 4): index (slice, row, column, 1) to mm in LPS; None for frames without positions.
    scales
        (n, 2): rescale slope and intercept of each frame; 1 and 0 if the header has none.
    labels
        Labels of the positions along the axes of ``grid`` before ``slice``.
    """

    images: tuple[Image, ...]
    frames: np.ndarray
    grid: np.ndarray
    dims: tuple[str, ...]
    frame_shape: tuple[int, ...]
    affine: np.ndarray | None
    scales: np.ndarray
    labels: Labels = field(default_factory=Labels)

    @property
    def dtype(self) -> np.dtype:
        """Smallest type that holds the stored values of all images."""
        kinds = {(i.BitsAllocated, i.BitsStored, i.PixelRepresentation): i for i in self.images}
        return np.result_type(*(image.dtype for image in kinds.values()))


def scales_of(pairs: Sequence[tuple[float | None, float | None]]) -> np.ndarray:
    """Return slopes and intercepts as an array; missing ones are 1 and 0."""
    return np.array(
        [(1.0 if a is None else a, 0.0 if b is None else b) for a, b in pairs], np.float64
    ).reshape(-1, 2)


def axes(frame_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the axes of a frame."""
    return ("row", "column", "sample")[: len(frame_shape)]


def planes_of(images: Sequence[Image]) -> Planes:
    """Return the positions of single-frame images."""
    return Planes(
        vectors([image.ImagePositionPatient for image in images], 3),
        vectors([image.ImageOrientationPatient for image in images], 6),
        vectors([image.PixelSpacing for image in images], 2),
        np.array([(i.Rows or 0, i.Columns or 0, i.SamplesPerPixel or 1) for i in images]),
        min(range(len(images)), key=lambda number: images[number].instance_key),
    )


def layout_of_slices(
    catalog: Catalog, series_uid: str, images: Sequence[Image], *, gaps: bool = False,
    tilt: bool = False,
) -> Layout:  # fmt: skip
    """Return the layout of a series of single frames: slices, or several volumes of slices.

    With ``gaps``, slices of a single volume may be missing; with ``tilt``, evenly shifted.

    Raises
    ------
    NotAVolume
    """
    made = arrange(planes_of(images), may_have_gaps=gaps, may_be_sheared=tilt)
    if isinstance(made, list):
        raise NotAVolume(series_uid, "; ".join(made))
    counts = np.bincount(made.levels, minlength=made.count)
    there = counts[counts > 0]
    if len(there) < made.count and counts.max() > 1:
        raise NotAVolume(series_uid, "missing slices of several volumes")
    if there.min() != there.max():
        repeated = len(images) - made.count
        raise NotAVolume(series_uid, f"{repeated} repeated positions")
    count = int(there[0])
    grid = np.full((count, made.count), -1)
    labels = Labels()
    if count == 1:
        grid[0, made.levels] = np.arange(len(images))
    else:
        numbers = [(number, 0) for number in range(len(images))]
        stated = stated_of(catalog, "image_slices", series_uid, images, numbers)
        volumes = numbered(stated, made.levels)
        if isinstance(volumes, str):
            raise NotAVolume(series_uid, volumes)
        grid[volumes, made.levels] = np.arange(len(images))
        labels = labels_of(stated, grid, ["volume"])
    return Layout(
        images=tuple(images),
        frames=np.array([(number, 0, 0, 0) for number in range(len(images))]),
        grid=grid if count > 1 else grid[0],
        dims=(*(["volume"] if count > 1 else []), "slice", *axes(images[0].frame_shape)),
        frame_shape=images[0].frame_shape,
        affine=made.affine,
        scales=scales_of([(image.RescaleSlope, image.RescaleIntercept) for image in images]),
        labels=labels,
    )
