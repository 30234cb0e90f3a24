"""Layout of a series of multi-frame objects: slices, and other axes from dimension indices.

In: a catalog and images. Out: ``Layout``. All SOP classes are supported: enhanced MR, CT and PET,
segmentations, dose grids, and cines of ultrasound and angiography. The slice of a frame is
determined by its position, never by a number. Other axes are the dimension index values
(PS3.3 C.7.6.17) that are neither constant nor redundant with the position. If these are missing, or
combine frames that differ in an attribute that a volume must have in common, volumes are
distinguished by functional groups (``volumes``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.dicom.element import keyword_of
from warehouse.errors import NotAVolume
from warehouse.pixels.geometry import Grid, Planes, arrange, vectors
from warehouse.pixels.layout import Layout, axes, scales_of
from warehouse.pixels.volumes import (
    Labels,
    Stated,
    column,
    labels_of,
    mixed,
    numbered,
    stated_of,
)
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image

_FILMS = {"00181063", "00181065"}
"""Frame Time and Frame Time Vector: targets of Frame Increment Pointer in a cine."""
_SEGMENTATIONS = {"1.2.840.10008.5.1.4.1.1.66.4"}


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame: its index in the pixel data, and its functional groups."""

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
    """The axes of the frames of an instance."""

    pointers: dict[int, str] = field(default_factory=dict)
    """Dimension index pointers, as tags, by item."""
    increments: set[str] = field(default_factory=set)
    concatenation: str | None = None
    """Concatenation UID, of parts of one object."""
    offset: int | None = None
    """Number of frames of the concatenation before this part."""


def layout_of_frames(
    catalog: Catalog, series_uid: str, images: Sequence[Image], stack: str | None = None
) -> Layout:
    """Return the layout of a series with multi-frame objects.

    Parameters
    ----------
    catalog, series_uid, images
        The series.
    stack
        StackID (0020,9056) of the frames to open, if there are several stacks.

    Raises
    ------
    NotAVolume
    PixelsUnreadable
        A header declares more frames than its pixel data can have.
    """
    for image in images:
        image.check()  # a header may declare an absurd number of frames
    counted = _axes(catalog, series_uid)
    frames = _frames(catalog, series_uid, images)
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
            made.append(f"several stacks: {', '.join(sorted(stacks))}; choose one (stack_id=...)")
        if is_segmentation:  # the view does not handle omitted frames
            raise NotAVolume(series_uid, "; ".join(made))
        asked = statement("why_not_frames", "pixels")
        rows = catalog.connection.execute(asked, [series_uid, stack]).fetchall()
        raise NotAVolume(series_uid, rows[0][0] if rows else "; ".join(made))
    grid, dims, labels = _arranged(
        catalog, series_uid, images, frames, made, counted, is_segmentation=is_segmentation
    )
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


def _arranged(
    catalog: Catalog, series_uid: str, images: Sequence[Image], frames: Sequence[_Frame],
    made: Grid, counted: dict[int, _Axes], *, is_segmentation: bool,
) -> tuple[np.ndarray, list[str], Labels]:  # fmt: skip
    """Return the array of frames, the axes before the slices, and their labels."""
    if is_segmentation and all(frame.segment is not None for frame in frames):
        keys = [(frame.segment,) for frame in frames]
        grid, dims, values = _fill(series_uid, made, ["segment"], keys, may_be_empty=True)
        return grid, dims, Labels(dict(values), {name: (name,) for name in values})
    counts = np.bincount(made.levels, minlength=made.count)
    stated: Stated = {}
    if counts.max() > 1:
        numbers = [(frame.image, frame.number) for frame in frames]
        stated = stated_of(catalog, "frame_slices", series_uid, images, numbers)
        stated["number"] = column(_numbers(images, frames, counted))
    names, keys = _other_axes(images, frames, made, counted, stated)
    if stated and not is_segmentation:
        why = _why_not_indices(stated, keys, made)
        is_even = counts.min() == counts.max()
        if is_even and (why or len(set(keys)) * made.count != len(keys)):
            volumes = numbered(stated, made.levels)
            if isinstance(volumes, str):
                raise NotAVolume(series_uid, volumes)
            names, keys = ["volume"], [(volume,) for volume in volumes.tolist()]
        elif why:
            raise NotAVolume(series_uid, why)
    grid, dims, values = _fill(series_uid, made, names, keys, may_be_empty=is_segmentation)
    labels = labels_of(stated, grid, dims) if stated and dims else Labels()
    for name, numbers_of in values.items():  # where no values are stated, what the indices count
        if name not in labels.values:
            labels.values[name], labels.dims[name] = list(numbers_of), (name,)
    return grid, dims, labels


def _why_not_indices(stated: Stated, keys: Sequence[tuple[Any, ...]], made: Grid) -> str | None:
    """Return why dimension indices do not define valid volumes; None if they do."""
    places = {(*key, level) for key, level in zip(keys, made.levels.tolist(), strict=True)}
    if len(places) < len(keys):
        return "several frames at one position that no attribute distinguishes"
    if found := mixed(stated, keys):
        return f"dimension indices mix frames of several {', '.join(found)}"
    return None


def _axes(catalog: Catalog, series_uid: str) -> dict[int, _Axes]:
    rows = catalog.connection.execute(statement("frame_axes", "pixels"), [series_uid]).fetchall()
    counted: dict[int, _Axes] = {}
    for instance_id, tag, item, text in rows:
        found = counted.setdefault(instance_id, _Axes())
        if tag == "00209165":
            found.pointers[item] = text
        elif tag == "00209161":
            found.concatenation = text
        elif tag == "00209228":
            found.offset = int(text) if (text or "").isdecimal() else None
        else:
            found.increments.add(text)
    return counted


def _frames(catalog: Catalog, series_uid: str, images: Sequence[Image]) -> list[_Frame]:
    ids = [image.instance_id for image in images]
    asked = [series_uid, min(ids), max(ids)]
    rows = catalog.connection.execute(statement("frames", "pixels"), asked).fetchall()
    stated: dict[int, list[Any]] = {}
    for instance_id, *frame in rows:
        stated.setdefault(instance_id, []).append(frame)
    made = []
    for number, image in enumerate(images):
        groups = {said_of[0]: said_of[1:] for said_of in stated.get(image.instance_id, ())}
        for index in range(image.frame_count):
            row: Any = groups.get(index + 1) or (
                image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing,
                None, None, None, image.RescaleSlope, image.RescaleIntercept,
            )  # fmt: skip
            position, orientation, spacing, stack, indices, segment, slope, intercept = row
            made.append(_Frame(
                number, index, position, orientation, spacing, stack, indices, segment,
                (slope, intercept),
            ))  # fmt: skip
    return made


def _planes(images: Sequence[Image], frames: Sequence[_Frame]) -> Planes:
    shapes = [(i.Rows or 0, i.Columns or 0, i.SamplesPerPixel or 1) for i in images]
    return Planes(
        vectors([frame.position for frame in frames], 3),
        vectors([frame.orientation for frame in frames], 6),
        vectors([frame.spacing for frame in frames], 2),
        np.array([shapes[frame.image] for frame in frames]),
    )


def _is_film(images: Sequence[Image], frames: Sequence[_Frame], counted: dict[int, _Axes]) -> bool:
    """Return whether the frames are a cine: ordered by time, without positions."""
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
    )


def _other_axes(
    images: Sequence[Image], frames: Sequence[_Frame], made: Grid, counted: dict[int, _Axes],
    stated: Stated,
) -> tuple[list[str], list[tuple[Any, ...]]]:  # fmt: skip
    """Return the names of the non-spatial axes, and the position of each frame on them."""
    # Objects at different positions are parts of one volume.
    in_order = _in_time(images, frames, stated) if stated else [0] * len(images)
    places = _of_whole_objects(images, counted, in_order)
    pointers = counted.get(images[0].instance_id, _Axes()).pointers
    width = len(frames[0].indices or [])
    indices = [frame.indices for frame in frames]
    if not width or any(values is None or len(values) != width for values in indices):
        return ["instance"], [(places[frame.image],) for frame in frames]
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
    if len({places[frame.image] for frame in frames}) > 1:
        return ["instance", *names], [
            (places[frame.image], *columns[n, chosen].tolist()) for n, frame in enumerate(frames)
        ]
    return names, [tuple(row) for row in columns[:, chosen].tolist()]


def _of_whole_objects(
    images: Sequence[Image], counted: dict[int, _Axes], places: Sequence[int]
) -> list[int]:
    """Give all parts of a concatenation the first of their positions: they are one object.

    See PS3.3 C.7.6.16.
    """
    wholes = [
        counted.get(image.instance_id, _Axes()).concatenation or image.instance_key
        for image in images
    ]
    first: dict[str, int] = {}
    for whole, place in zip(wholes, places, strict=True):
        first[whole] = min(place, first.get(whole, place))
    return [first[whole] for whole in wholes]


def _numbers(
    images: Sequence[Image], frames: Sequence[_Frame], counted: dict[int, _Axes]
) -> list[tuple[int, int] | None]:
    """Return the number of each frame within the series: of its object, and within that.

    Frame numbers begin again in each instance. In a concatenation they continue, by Concatenation
    Frame Offset Number (PS3.3 C.7.6.16); without it the order of its parts is unknown.
    """
    every = [counted.get(image.instance_id, _Axes()) for image in images]
    places = _of_whole_objects(images, counted, range(len(images)))
    offsets = [0 if found.concatenation is None else found.offset for found in every]
    return [
        None if (offset := offsets[frame.image]) is None
        else (places[frame.image], offset + frame.number)
        for frame in frames
    ]  # fmt: skip


def _in_time(images: Sequence[Image], frames: Sequence[_Frame], stated: Stated) -> list[int]:
    """Return the rank of each image in the order of acquisition, if frames state times."""
    places = list(range(len(images)))
    begins: dict[int, Any] = {}
    if stated and stated["acquired_us"].is_complete:
        for frame, time in zip(frames, stated["acquired_us"].values, strict=True):
            begins[frame.image] = min(time, begins.get(frame.image, time))
    if len(set(begins.values())) == len(images):
        for place, image in enumerate(sorted(begins, key=begins.__getitem__)):
            places[image] = place
    return places


def _is_slice(values: np.ndarray, levels: np.ndarray) -> bool:
    """Return whether an index is redundant with the position: one value per slice."""
    pairs = np.unique(np.column_stack([values, levels]), axis=0)
    return len(pairs) == len(np.unique(values)) == len(np.unique(levels))


def _fill(
    series_uid: str, made: Grid, names: Sequence[str], keys: Sequence[tuple[Any, ...]],
    *, may_be_empty: bool,
) -> tuple[np.ndarray, list[str], dict[str, list[int]]]:  # fmt: skip
    """Place each frame on the axes; if combinations are missing, all become one axis."""
    values = [sorted({key[axis] for key in keys}) for axis in range(len(names))]
    kept = [axis for axis, found in enumerate(values) if len(found) > 1 or names[axis] == "segment"]
    shape = [len(values[axis]) for axis in kept]
    dims = [names[axis] for axis in kept]
    ranks = [{value: rank for rank, value in enumerate(found)} for found in values]
    places = [tuple(ranks[axis][key[axis]] for axis in kept) for key in keys]
    distinct = set(places)
    if len(distinct) != np.prod(shape, dtype=int) and not may_be_empty:
        listed = {place: rank for rank, place in enumerate(sorted(distinct))}
        places = [(listed[place],) for place in places]
        shape, dims = [len(listed)], ["volume"]
    grid = np.full((*shape, made.count), -1, np.int64)
    for number, (place, level) in enumerate(zip(places, made.levels.tolist(), strict=True)):
        if grid[(*place, level)] >= 0:
            raise NotAVolume(
                series_uid, "several frames at one position that no attribute distinguishes"
            )
        grid[(*place, level)] = number
    if not may_be_empty and (grid < 0).any():
        raise NotAVolume(
            series_uid,
            f"{int((grid < 0).sum())} of {grid.size} frames are missing: positions and dimension "
            "indices do not fill a grid",
        )
    labels = {name: [int(v) for v in values[a]] for a, name in zip(kept, dims, strict=False)}
    return grid, dims, labels if dims != ["volume"] else {}
