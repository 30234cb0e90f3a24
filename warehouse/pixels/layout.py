"""A series → which frame lies where in its array, known from the catalog alone.

In: a catalog and a series. Out: ``Layout``. A series of single frames, of mosaics, or of
multi-frame objects; each kind has its module, this one holds what they share and the first kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from warehouse.errors import NotAVolume
from warehouse.pixels.geometry import Planes, arrange, vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.pixels.image import Image


@dataclass(frozen=True, slots=True)
class Layout:
    """The array of a series before any voxel is read.

    Attributes
    ----------
    images
        Instances that hold the frames.
    frames
        (n, 4) integers: number of the image, frame from 0, row and column where it begins in the
        stored frame (0, 0 but for the tiles of a mosaic).
    grid
        For each place of the array its row of ``frames``; -1 where there is none, which is zero.
    dims
        Names of the axes of ``grid``, then ``row``, ``column`` and, of colour, ``sample``.
    frame_shape
        (rows, columns) or (rows, columns, 3).
    affine
        (4, 4): index (slice, row, column, 1) to mm in LPS; None of frames without positions.
    scales
        (n, 2): rescale slope and intercept of each frame; 1 and 0 where the header has none.
    labels
        Of each axis of ``grid`` with meaning of its own: its values, as segment numbers.
    """

    images: tuple[Image, ...]
    frames: np.ndarray
    grid: np.ndarray
    dims: tuple[str, ...]
    frame_shape: tuple[int, ...]
    affine: np.ndarray | None
    scales: np.ndarray
    labels: dict[str, list[int]]

    @property
    def dtype(self) -> np.dtype:
        """Smallest type that holds the stored values of all images."""
        kinds = {(i.BitsAllocated, i.BitsStored, i.PixelRepresentation): i for i in self.images}
        return np.result_type(*(image.dtype for image in kinds.values()))


def scales_of(pairs: Sequence[tuple[float | None, float | None]]) -> np.ndarray:
    """Return slopes and intercepts as an array; what is missing changes nothing."""
    return np.array(
        [(1.0 if a is None else a, 0.0 if b is None else b) for a, b in pairs], np.float64
    ).reshape(-1, 2)


def axes(frame_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the axes of a frame."""
    return ("row", "column", "sample")[: len(frame_shape)]


def planes_of(images: Sequence[Image]) -> Planes:
    """Return where single-frame images lie."""
    return Planes(
        vectors([image.ImagePositionPatient for image in images], 3),
        vectors([image.ImageOrientationPatient for image in images], 6),
        vectors([image.PixelSpacing for image in images], 2),
        np.array([(i.Rows or 0, i.Columns or 0, i.SamplesPerPixel or 1) for i in images]),
        min(range(len(images)), key=lambda number: images[number].instance_key),
    )


def layout_of_slices(series_uid: str, images: Sequence[Image]) -> Layout:
    """Return the layout of a series of single frames: slices, or several volumes of slices.

    Where each position occurs equally often, the n-th image at each makes the n-th volume.

    Raises
    ------
    NotAVolume
    """
    made = arrange(planes_of(images))
    if isinstance(made, list):
        raise NotAVolume(series_uid, "; ".join(made))
    counts = np.bincount(made.levels, minlength=made.count)
    if counts.min() != counts.max():
        repeated = len(images) - made.count
        raise NotAVolume(series_uid, f"{repeated} repeated positions")
    volumes = int(counts[0])
    grid = np.empty((volumes, made.count), np.int64)
    if volumes == 1:
        grid[0, made.levels] = np.arange(len(images))
    else:
        for level, members in enumerate(_ranked(series_uid, images, made.levels, volumes)):
            grid[:, level] = members
        _check_volumes(series_uid, images, grid)
    return Layout(
        images=tuple(images),
        frames=np.array([(number, 0, 0, 0) for number in range(len(images))]),
        grid=grid if volumes > 1 else grid[0],
        dims=(*(["volume"] if volumes > 1 else []), "slice", *axes(images[0].frame_shape)),
        frame_shape=images[0].frame_shape,
        affine=made.affine,
        scales=scales_of([(image.RescaleSlope, image.RescaleIntercept) for image in images]),
        labels={},
    )


_RANKS = ("TemporalPositionIdentifier", "InstanceNumber", "acquired_us")
"""What tells images at one position apart, best first."""


def _ranked(
    series_uid: str, images: Sequence[Image], levels: np.ndarray, volumes: int
) -> list[list[int]]:
    """Return the images at each level, in the order of the volumes that they belong to."""
    members = [np.flatnonzero(levels == level).tolist() for level in range(int(levels.max()) + 1)]
    for name in _RANKS:
        ranks = [[getattr(images[i], name) for i in level] for level in members]
        if all(None not in rank and len(set(rank)) == volumes for rank in ranks):
            return [
                [i for _, i in sorted(zip(rank, level, strict=True))]
                for rank, level in zip(ranks, members, strict=True)
            ]
    raise NotAVolume(
        series_uid,
        f"each position occurs {volumes} times, and no number or time says in which order",
    )


def _check_volumes(series_uid: str, images: Sequence[Image], grid: np.ndarray) -> None:
    """Refuse volumes whose slices are of different echoes or diffusion weightings."""
    for name in ("EchoTime", "DiffusionBValue"):
        for volume in grid:
            if len({getattr(images[i], name) for i in volume}) > 1:
                raise NotAVolume(
                    series_uid,
                    f"each position occurs {len(grid)} times, in no common order of {name}",
                )
