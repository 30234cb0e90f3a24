"""A series of multi-frame objects → its layout: space and what else its frames count.

In: a catalog and images. Out: ``Layout``. Of any SOP class: enhanced MR, CT and PET, segmentations,
dose grids, and films of ultrasound and angiography. Which frame lies in which slice follows from
positions, never from numbers; the other axes are those of the dimension index values
(PS3.3 C.7.6.17) that are neither constant nor the position in other words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.dicom.element import keyword_of
from warehouse.errors import NotAVolume
from warehouse.pixels.geometry import Grid, Planes, arrange, vectors
from warehouse.pixels.layout import Layout, axes, scales_of
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image

_FILMS = {"00181063", "00181065"}
"""Frame Time and Frame Time Vector: where the increment pointer leads if frames count time."""
_SEGMENTATIONS = {"1.2.840.10008.5.1.4.1.1.66.4"}
_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame: its place in the pixel data, and what its functional groups say."""

    image: int
    number: int
    """From 0."""
    position: list[float] | None
    orientation: list[float] | None
    spacing: list[float] | None
    stack: str | None
    indices: list[int] | None
    segment: int | None
    scale: tuple[float | None, float | None]


@dataclass(slots=True)
class _Axes:
    """What the frames of an instance count."""

    pointers: dict[int, str] = field(default_factory=dict)
    """Dimension index pointers, as tags, by item."""
    increments: set[str] = field(default_factory=set)
    offsets: list[float] = field(default_factory=list)
    """Grid Frame Offset Vector, mm along the normal."""


def layout_of_frames(
    catalog: Catalog, series_uid: str, images: Sequence[Image], stack: str | None = None
) -> Layout:
    """Return the layout of a series with multi-frame objects.

    Parameters
    ----------
    catalog, series_uid, images
        The series.
    stack
        StackID (0020,9056) of the frames that are wanted, where there are several.

    Raises
    ------
    NotAVolume
    """
    counted = _axes(catalog, series_uid)
    frames = _frames(catalog, series_uid, images, counted)
    stacks = {frame.stack for frame in frames if frame.stack is not None}
    if stack is not None:
        frames = [frame for frame in frames if frame.stack == stack]
    if not frames:
        raise NotAVolume(series_uid, f"no stack {stack!r}; there are: {', '.join(sorted(stacks))}")
    is_segmentation = images[0].SOPClassUID in _SEGMENTATIONS
    made = arrange(_planes(images, frames), may_have_gaps=is_segmentation)
    if isinstance(made, list):
        if _is_film(images, frames, counted):
            return _film(images, frames)
        if len(stacks) > 1 and stack is None:
            made.append(f"several stacks: {', '.join(sorted(stacks))}; ask for one (stack=...)")
        raise NotAVolume(series_uid, "; ".join(made))
    if is_segmentation and all(frame.segment is not None for frame in frames):
        keys = [(frame.segment,) for frame in frames]
        names = ["segment"]
    else:
        names, keys = _other_axes(images, frames, made, counted)
    grid, dims, labels = _fill(series_uid, made, names, keys, may_be_empty=is_segmentation)
    return Layout(
        images=tuple(images),
        frames=np.array([(frame.image, frame.number, 0, 0) for frame in frames]),
        grid=grid,
        dims=(*dims, "slice", *axes(images[0].frame_shape)),
        frame_shape=images[0].frame_shape,
        affine=made.affine,
        scales=scales_of([frame.scale for frame in frames]),
        labels=labels,
    )


def _axes(catalog: Catalog, series_uid: str) -> dict[int, _Axes]:
    rows = catalog.connection.execute(statement("frame_axes", "pixels"), [series_uid]).fetchall()
    counted: dict[int, _Axes] = {}
    for instance_id, tag, item, _, text, real in rows:
        found = counted.setdefault(instance_id, _Axes())
        if tag == "00209165":
            found.pointers[item] = text
        elif tag == "00280009":
            found.increments.add(text)
        elif real is not None:
            found.offsets.append(real)
    return counted


def _frames(
    catalog: Catalog, series_uid: str, images: Sequence[Image], counted: dict[int, _Axes]
) -> list[_Frame]:
    rows = catalog.connection.execute(statement("frames", "pixels"), [series_uid]).fetchall()
    said: dict[int, list[Any]] = {}
    for instance_id, *frame in rows:
        said.setdefault(instance_id, []).append(frame)
    made = []
    for number, image in enumerate(images):
        offsets = counted.get(image.instance_id, _Axes()).offsets
        groups = {said_of[0]: said_of[1:] for said_of in said.get(image.instance_id, ())}
        for index in range(image.frame_count):
            row: Any = groups.get(index + 1) or (
                image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing,
                None, None, None, image.RescaleSlope, image.RescaleIntercept,
            )  # fmt: skip
            position, orientation, spacing, stack, indices, segment, slope, intercept = row
            if image.SOPClassUID == _DOSE:
                position = _dose_position(image, offsets, index)
            made.append(_Frame(
                number, index, position, orientation, spacing, stack, indices, segment,
                (slope, intercept),
            ))  # fmt: skip
    return made


def _dose_position(image: Image, offsets: list[float], index: int) -> list[float] | None:
    """Return where a plane of a dose grid lies (PS3.3 C.8.8.3.2, offsets from the first plane)."""
    position = vectors([image.ImagePositionPatient], 3)[0]
    orientation = vectors([image.ImageOrientationPatient], 6)[0]
    if index >= len(offsets):
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    moved: list[float] = (position + normal * (offsets[index] - offsets[0])).tolist()
    return moved


def _planes(images: Sequence[Image], frames: Sequence[_Frame]) -> Planes:
    shapes = [(i.Rows or 0, i.Columns or 0, i.SamplesPerPixel or 1) for i in images]
    return Planes(
        vectors([frame.position for frame in frames], 3),
        vectors([frame.orientation for frame in frames], 6),
        vectors([frame.spacing for frame in frames], 2),
        np.array([shapes[frame.image] for frame in frames]),
    )


def _is_film(images: Sequence[Image], frames: Sequence[_Frame], counted: dict[int, _Axes]) -> bool:
    """Tell whether the frames are those of one film: they count time and lie in no space."""
    increments = counted.get(images[0].instance_id, _Axes()).increments
    return (
        len(images) == 1
        and len(frames) == images[0].frame_count
        and bool(increments)
        and increments <= _FILMS
    )


def _film(images: Sequence[Image], frames: Sequence[_Frame]) -> Layout:
    return Layout(
        images=tuple(images),
        frames=np.array([(frame.image, frame.number, 0, 0) for frame in frames]),
        grid=np.arange(len(frames)),
        dims=("time", *axes(images[0].frame_shape)),
        frame_shape=images[0].frame_shape,
        affine=None,
        scales=scales_of([frame.scale for frame in frames]),
        labels={},
    )


def _other_axes(
    images: Sequence[Image], frames: Sequence[_Frame], made: Grid, counted: dict[int, _Axes]
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return names of the axes besides space, and where each frame lies on them."""
    pointers = counted.get(images[0].instance_id, _Axes()).pointers
    width = len(frames[0].indices or [])
    indices = [frame.indices for frame in frames]
    if not width or any(values is None or len(values) != width for values in indices):
        return ["instance"], [(frame.image,) for frame in frames]
    columns = np.array(indices)
    chosen = [
        axis
        for axis in range(width)
        if len(np.unique(columns[:, axis])) > 1 and not _is_slice(columns[:, axis], made.levels)
    ]
    tags = [pointers.get(axis, "") for axis in chosen]
    names = [
        (keyword_of(tag) or tag) if tag else f"dimension_{axis}"
        for axis, tag in zip(chosen, tags, strict=True)
    ]
    names = ["volume"] if len(names) == 1 and not tags[0] else names
    if len({frame.image for frame in frames}) > 1:
        return ["instance", *names], [
            (frame.image, *columns[n, chosen].tolist()) for n, frame in enumerate(frames)
        ]
    return names, [tuple(row) for row in columns[:, chosen].tolist()]


def _is_slice(values: np.ndarray, levels: np.ndarray) -> bool:
    """Tell whether an index is the position in other words: each slice has one of its own."""
    pairs = np.unique(np.column_stack([values, levels]), axis=0)
    return len(pairs) == len(np.unique(values)) == len(np.unique(levels))


def _fill(
    series_uid: str, made: Grid, names: Sequence[str], keys: Sequence[tuple[Any, ...]],
    *, may_be_empty: bool,
) -> tuple[np.ndarray, list[str], dict[str, list[int]]]:  # fmt: skip
    """Put each frame in its place; combinations that do not fill a box become one axis."""
    values = [sorted({key[axis] for key in keys}) for axis in range(len(names))]
    kept = [axis for axis, found in enumerate(values) if len(found) > 1 or names[axis] == "segment"]
    shape = [len(values[axis]) for axis in kept]
    dims = [names[axis] for axis in kept]
    places = [tuple(values[axis].index(key[axis]) for axis in kept) for key in keys]
    if len(set(places)) != np.prod(shape, dtype=int) and not may_be_empty:
        listed = sorted(set(places))
        places = [(listed.index(place),) for place in places]
        shape, dims = [len(listed)], ["volume"]
    grid = np.full((*shape, made.count), -1, np.int64)
    for number, (place, level) in enumerate(zip(places, made.levels.tolist(), strict=True)):
        if grid[(*place, level)] >= 0:
            raise NotAVolume(series_uid, "several frames at one place that nothing tells apart")
        grid[(*place, level)] = number
    if not may_be_empty and (grid < 0).any():
        raise NotAVolume(
            series_uid,
            f"{int((grid < 0).sum())} of {grid.size} frames are missing: positions and dimension "
            "indices do not fill a grid",
        )
    labels = {name: [int(v) for v in values[a]] for a, name in zip(kept, dims, strict=False)}
    return grid, dims, labels if dims != ["volume"] else {}
