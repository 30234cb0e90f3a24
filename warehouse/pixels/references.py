"""References to the voxels of a volume in its source files, as a virtual Zarr array.

In: a ``LazyVolume`` of stored values. Out: references in Kerchunk's format (version 1), with Zarr
format 2 metadata, which zarr, xarray and dask can open. A chunk is a frame. References can express
only byte ranges, a byte order and a shape; data that need other DICOM rules are an error.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.uid import ExplicitVRBigEndian

from warehouse.errors import NoSingleUnit, NotReferable, UsageError
from warehouse.pixels.decode import read_frame
from warehouse.pixels.facts import stored_range
from warehouse.pixels.places import native_frame
from warehouse.pixels.source import open_pixels
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from warehouse.pixels.image import Image
    from warehouse.pixels.volume_like import VolumeLike

ARRAY = "voxels"
"""Name of the array in the group."""


def references(volume: VolumeLike) -> dict[str, Any]:
    """Return references to the voxels of a volume.

    The group has the array ``voxels`` with the axes and the type of the volume, and one array per
    axis: mm from the first voxel for ``slice``, ``row`` and ``column``, and labels as in
    ``volume.labels``. The attributes of ``voxels`` are ``affine`` (LPS, as in the volume),
    ``spacing_mm``, ``SeriesInstanceUID``, ``PhotometricInterpretation`` for palettes, and, unless
    they are 1 and 0, ``RescaleSlope`` and ``RescaleIntercept``: a number, or one per frame in the
    order of the leading axes. ``rescaled_unit`` is the unit of the rescaled values.

    Every file is opened once to check that it is unchanged since its ingest. If not all allocated
    bits are used, frames are read to check that the unused bits do not change the values.

    Raises
    ------
    UsageError
        The volume does not have stored values.
    NotReferable
        The files do not have the voxels in a form that references can express.
    SourceChanged, PixelsUnreadable
    """
    if volume.values != Values():
        raise UsageError("references have stored values; open the volume without options")
    layout = volume.layout
    if layout.images[0].frame_shape != layout.frame_shape:
        raise NotReferable(volume.series_uid, "its slices are tiles of mosaics")
    if (layout.grid < 0).any():
        raise NotReferable(volume.series_uid, "its files omit empty frames")
    kinds = {_stored_dtype(image) for image in layout.images}
    if len(kinds) > 1:
        raise NotReferable(volume.series_uid, "its images are of several types or byte orders")
    refs: dict[str, Any] = {".zgroup": _json({"zarr_format": 2})}
    refs |= _voxels(volume, kinds.pop())
    for named in _axes(volume):
        refs |= _inline(*named)
    return {"version": 1, "refs": refs}


def _stored_dtype(image: Image) -> np.dtype:
    is_big = image.TransferSyntaxUID == ExplicitVRBigEndian
    return image.dtype.newbyteorder(">" if is_big else "<")


def _voxels(volume: VolumeLike, dtype: np.dtype) -> dict[str, Any]:
    layout = volume.layout
    chunks = (*(1 for _ in layout.grid.shape), *layout.frame_shape)
    refs: dict[str, Any] = {
        f"{ARRAY}/.zarray": _json(_zarray(volume.shape, chunks, dtype)),
        f"{ARRAY}/.zattrs": _json({"_ARRAY_DIMENSIONS": list(volume.dims), **_facts(volume)}),
    }
    inside = [0] * len(layout.frame_shape)
    by_image: dict[int, list[tuple[str, int]]] = {}
    for index, ref in np.ndenumerate(layout.grid):
        number, frame = layout.frames[ref, :2].tolist()
        key = ".".join(map(str, (*index, *inside)))
        by_image.setdefault(number, []).append((f"{ARRAY}/{key}", frame))
    for number, wanted in by_image.items():
        image = layout.images[number]
        image.check()
        if why := _why_not(image):
            raise NotReferable(volume.series_uid, why)
        with open_pixels(image) as opened:
            if not opened.is_file:
                raise NotReferable(volume.series_uid, "its files are in an archive or a bucket")
            opened.read(image.pixel_offset, 1)
            for key, frame in wanted:
                place = native_frame(image, frame)
                if dtype.itemsize * 8 != image.BitsStored or not dtype.isnative:
                    raw = np.frombuffer(opened.read(*place), dtype).reshape(image.frame_shape)
                    if not np.array_equal(raw, read_frame(opened, frame, None), equal_nan=True):
                        raise NotReferable(
                            volume.series_uid,
                            f"frame {frame + 1} of {image.path} has bits that are not part of "
                            "its values, or bytes in another order",
                        )
                refs[key] = [image.path, *place]
    return refs


def _why_not(image: Image) -> str | None:
    if image.is_encapsulated:
        return "its pixels are compressed"
    if image.BitsAllocated == 1:
        return "its pixels are packed, eight to a byte"
    if image.PhotometricInterpretation == "YBR_FULL_422":
        return "its colors are subsampled"
    if (image.PhotometricInterpretation or "").startswith("YBR"):
        return "its colors are not RGB"
    if (image.SamplesPerPixel or 1) > 1 and image.PlanarConfiguration != 0:
        return "its colors are stored by plane"
    return None


def _facts(volume: VolumeLike) -> dict[str, Any]:
    facts: dict[str, Any] = {"SeriesInstanceUID": volume.series_uid}
    if volume.affine is not None and volume.spacing is not None:
        facts["affine"] = volume.affine.tolist()
        facts["spacing_mm"] = list(volume.spacing)
    layout = volume.layout
    if not layout.images[0].is_grayscale:
        return facts | {"PhotometricInterpretation": layout.images[0].PhotometricInterpretation}
    try:
        rescaled = volume.with_values(Values(rescale=True))
        unit, mappings = rescaled.unit, rescaled.mappings()
    except NoSingleUnit as error:
        raise NotReferable(volume.series_uid, error.why) from None
    if any(one.table is not None for one in mappings):
        raise NotReferable(volume.series_uid, "a lookup table maps its values")
    if not all(one.bounds is None or _has_within(volume, one.bounds) for one in mappings):
        raise NotReferable(
            volume.series_uid, "some of its stored values are outside of its mapping"
        )
    scales = {
        "RescaleSlope": (1.0, [one.slope for one in mappings]),
        "RescaleIntercept": (0.0, [one.intercept for one in mappings]),
    }
    for name, (usual, numbers) in scales.items():
        if set(numbers) != {usual}:
            each = np.reshape(numbers, layout.grid.shape).tolist()
            facts[name] = each if len(set(numbers)) > 1 else numbers[0]
    if unit is not None:
        facts["rescaled_unit"] = unit
    return facts


def _has_within(volume: VolumeLike, bounds: tuple[float, float]) -> bool:
    """Return whether all values that can be stored lie within bounds."""
    return all(
        bounds[0] <= lowest and highest <= bounds[1]
        for lowest, highest in (stored_range(image) for image in volume.layout.images)
    )


def _axes(volume: VolumeLike) -> list[tuple[str, str, np.ndarray, str | None]]:
    """Return the coordinates of axes: name, axis, numbers, unit."""
    made: list[tuple[str, str, np.ndarray, str | None]] = []
    for name, values in volume.labels.items():
        axes, numbers = volume.label_dims[name], np.array(values, object)
        if len(axes) == 1 and all(isinstance(value, int | float) for value in numbers.ravel()):
            whole = all(isinstance(value, int) for value in numbers.ravel())
            if numbers.ndim == 1:
                made.append((name, axes[0], numbers.astype(np.int64 if whole else "f8"), None))
    if volume.spacing is not None:
        for name, step in zip(("slice", "row", "column"), volume.spacing, strict=True):
            steps = np.arange(volume.shape[volume.dims.index(name)]) * step
            made.append((name, name, steps, "mm"))
    return made


def _inline(name: str, axis: str, numbers: np.ndarray, unit: str | None) -> dict[str, str]:
    """Return a small array whose numbers stand in the references themselves."""
    raw = numbers.astype(numbers.dtype.newbyteorder("<"))
    attributes = {"_ARRAY_DIMENSIONS": [axis], **({"units": unit} if unit else {})}
    return {
        f"{name}/.zarray": _json(_zarray(raw.shape, raw.shape, raw.dtype)),
        f"{name}/.zattrs": _json(attributes),
        f"{name}/0": "base64:" + base64.b64encode(raw.tobytes()).decode(),
    }


def _zarray(shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype) -> dict[str, Any]:
    # No fill value: xarray would treat all equal voxels as missing.
    return {
        "zarr_format": 2, "shape": list(shape), "chunks": list(chunks), "dtype": dtype.str,
        "fill_value": None, "order": "C", "compressor": None, "filters": None,
    }  # fmt: skip


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False)
