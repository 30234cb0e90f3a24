"""Return b-values and directions of the volumes of a diffusion series, as used by FSL and BIDS.

In: a catalog and a volume. Out: ``Gradients``, with the content of the ``.bval`` and ``.bvec``
files for the NIfTI file that ``files`` writes of the same volume. The weighting of each frame comes
from the view ``diffusion_frames``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from warehouse.errors import NoGradients
from warehouse.pixels.volume import LPS_TO_RAS
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.volume import LazyVolume

_UNIT = 0.03
"""Largest deviation of a direction from length one, for rounding."""

Weighting = tuple[float, tuple[float, ...] | None]
"""b-value, and direction in patient coordinates or None."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Diffusion weighting of the volumes of a series.

    Attributes
    ----------
    volumes
        Indices, from 0, of the included volumes along the fourth axis of the NIfTI file.
    b_values
        (n,) b-values of the included volumes, s/mm².
    directions
        (n, 3) unit vectors in LPS; zero for volumes without a direction.
    vectors
        (n, 3) the same in FSL's convention: along the axes of the NIfTI file, with the first axis
        reversed if the determinant of its affine is positive.
    isotropic
        Indices of excluded volumes: weighted but without a direction, in a series with directions,
        such as the traces that Philips adds to a series.
    inferred
        Indices of volumes whose b-value of 0 is not stated but inferred from the others.
    without_creator
        Whether private elements without a creator were read.
    """

    volumes: tuple[int, ...]
    b_values: np.ndarray
    directions: np.ndarray
    vectors: np.ndarray
    isotropic: tuple[int, ...]
    inferred: tuple[int, ...]
    without_creator: bool

    @property
    def bval(self) -> str:
        """Text of a ``.bval`` file: one line."""
        return " ".join(f"{value:g}" for value in self.b_values.tolist()) + "\n"

    @property
    def bvec(self) -> str:
        """Text of a ``.bvec`` file: three lines, x, y and z of all volumes."""
        rows = (self.vectors.T + 0.0).tolist()  # avoid -0
        return "".join(" ".join(f"{part:.6g}" for part in row) + "\n" for row in rows)


def gradients(
    catalog: Catalog, volume: LazyVolume, *, isotropic: bool = False, unweighted: bool = False
) -> Gradients:
    """Return b-values and directions of the volumes of a diffusion series.

    Parameters
    ----------
    catalog, volume
        Open catalog, and a volume of it.
    isotropic
        Include weighted volumes without a direction in a series with directions.
    unweighted
        Accept a series whose b-values are all stated as 0.

    Raises
    ------
    NoGradients
        The series is not weighted, was not read in mode full, or the frames of a volume differ.

    Examples
    --------
    >>> wh = warehouse.open("archive")  # doctest: +SKIP
    >>> made = gradients(wh.catalog, wh.volume(uid))  # doctest: +SKIP
    >>> made.bval.split()  # doctest: +SKIP
    ['0', '1000', '1000', '1000']
    """
    uid = volume.series_uid
    stated, inferred, without_creator = _stated(catalog, volume)
    numbers = range(len(stated))
    if not unweighted and not any(b > 0 for b, _ in stated):
        raise NoGradients(uid, "no frame has a b-value over 0")
    is_directed = any(direction is not None for _, direction in stated)
    traces = tuple(n for n in numbers if is_directed and stated[n][0] > 0 and stated[n][1] is None)
    kept = [n for n in numbers if isotropic or n not in traces]
    directions = np.array(
        [stated[n][1] if stated[n][0] > 0 and stated[n][1] else (0.0,) * 3 for n in kept]
    ).reshape(-1, 3)
    return Gradients(
        volumes=tuple(kept),
        b_values=np.array([stated[n][0] for n in kept]),
        directions=directions,
        vectors=along_axes(volume, directions),
        isotropic=() if isotropic else traces,
        inferred=tuple(n for n in kept if n in inferred),
        without_creator=without_creator,
    )


def along_axes(volume: LazyVolume, directions: np.ndarray) -> np.ndarray:
    """Convert vectors from LPS to FSL's convention for the NIfTI file of a volume.

    FSL uses the voxel axes. If these are not left-handed in RAS, that is, if the determinant is
    positive, FSL reverses the first axis
    (https://fsl.fmrib.ox.ac.uk/fsl/docs/#/diffusion/faq, "What conventions do the bvecs use?").
    """
    if volume.affine is None or volume.orientation is None:
        raise NoGradients(volume.series_uid, "its frames have no positions in space")
    axes = volume.orientation[:, [2, 1, 0]]  # column, row, slice
    vectors: np.ndarray = directions @ axes
    if np.linalg.det(LPS_TO_RAS[:3, :3] @ axes) > 0:
        vectors = vectors * [-1.0, 1.0, 1.0]
    return vectors


def _stated(catalog: Catalog, volume: LazyVolume) -> tuple[list[Weighting], set[int], bool]:
    """Return the weighting of each volume, the inferred ones, and whether creators are missing."""
    uid = volume.series_uid
    ids = [image.instance_id for image in volume.images]
    asked = [uid, min(ids), max(ids)]
    rows = catalog.connection.execute(statement("gradients", "pixels"), asked).fetchall()
    why = next((row[-1] for row in rows if row[-1] is not None), None)
    if why is not None:
        raise NoGradients(uid, why)
    known = {row[:2]: row[2:] for row in rows}
    layout = volume.layout
    stated: list[Weighting] = []
    inferred: set[int] = set()
    without_creator = False
    for number, refs in enumerate(layout.grid.reshape(-1, layout.grid.shape[-1])):
        found = []
        for image, frame in layout.frames[refs[refs >= 0], :2].tolist():
            row = known.get((ids[image], frame + 1))
            if row is None or row[0] is None:
                raise NoGradients(uid, f"volume {number} has no b-value")
            b_value, direction, is_unplaced, is_inferred, lacks, _ = row
            if is_unplaced and b_value > 0:
                raise NoGradients(
                    uid,
                    "directions are along gradient axes, whose orientation in the patient is known "
                    "only with PatientPosition HFS and InPlanePhaseEncodingDirection",
                )
            found.append((b_value, direction and tuple(direction)))
            without_creator |= bool(lacks)
            if is_inferred:
                inferred.add(number)
        stated.append(_one(uid, number, found))
    return stated, inferred, without_creator


def _one(uid: str, number: int, found: Sequence[Weighting]) -> Weighting:
    """Return the weighting that all frames of a volume state."""
    first = found[0]
    for b_value, direction in found[1:]:
        same = b_value == first[0] and (direction is None) == (first[1] is None)
        if same and direction is not None and first[1] is not None:
            same = bool(np.abs(np.subtract(direction, first[1])).max() < _UNIT)
        if not same:
            raise NoGradients(uid, f"frames of volume {number} are weighted differently")
    return first
