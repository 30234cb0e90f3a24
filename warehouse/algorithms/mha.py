"""Write arrays with an affine as MetaImage files (``.mha``), and read the geometry of such files.

In: an array in the order (slice, row, column) and its affine. Out: a file with exactly these voxels
and geometry; and the geometry of a file, for comparison with that of the input series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from warehouse.errors import ImageRefused
from warehouse.pixels.stack import Stack
from warehouse.pixels.values import Values
from warehouse.pixels.volume import LazyVolume, open_volume

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.catalog.connect import Catalog

_Frames = TypeVar("_Frames", LazyVolume, Stack)

_TYPES = {
    "i1": "MET_CHAR", "u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT",
    "u4": "MET_UINT", "i8": "MET_LONG_LONG", "u8": "MET_ULONG_LONG", "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}  # fmt: skip

_SYNONYMS = (
    ("ElementSpacing", "ElementSize"), ("Offset", "Position", "Origin"),
    ("TransformMatrix", "Rotation", "Orientation"),
)  # fmt: skip
"""Names that MetaIO has for spacing, origin and direction."""

MAX_HEADER = 1 << 16
"""Maximum size in bytes of the header of a file."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Geometry of an image along the axes (column, row, slice): LPS, mm."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    """``TransformMatrix`` of the file: the unit vectors of the axes, one after the other."""

    def is_close(self, other: Geometry) -> bool:
        """Return whether size is equal, and origin, spacing and direction within tolerances.

        Origin: 0.001 of the least spacing, at least 0.0001 mm; spacing: relative 0.0001; direction:
        0.0001.
        """
        if self.size != other.size:
            return False
        near = 1e-3 * min(self.spacing)
        return (
            np.allclose(self.spacing, other.spacing, rtol=1e-4, atol=0)
            and np.allclose(self.origin, other.origin, rtol=0, atol=max(near, 1e-4))
            and np.allclose(self.direction, other.direction, rtol=0, atol=1e-4)
        )


def displayed(frames: _Frames) -> _Frames:
    """Return a volume or stack with displayed values; color as stored, as it has no others."""
    if all(image.is_grayscale for image in frames.images):
        return frames.with_values(Values(rescale=True))
    return frames


def volume_of(catalog: Catalog, series_key: str) -> LazyVolume:
    """Open a series with displayed values, such as Hounsfield units of CT; color as stored.

    Raises
    ------
    SeriesNotFound, NoPixels, NotAVolume
    """
    return displayed(open_volume(catalog, series_key))


def geometry_of(shape: tuple[int, ...], affine: np.ndarray) -> Geometry:
    """Return the geometry of an array (…, slice, row, column) with an affine in LPS."""
    vectors = affine[:3, :3][:, ::-1]  # column, row, slice
    lengths = np.linalg.norm(vectors, axis=0)
    return Geometry(
        tuple(int(n) for n in shape[::-1]), tuple(float(n) for n in lengths),
        tuple(float(n) for n in affine[:3, 3]),
        tuple(float(n) for n in (vectors / lengths).T.ravel()),
    )  # fmt: skip


def write_volume(volume: LazyVolume, path: Path) -> Geometry:
    """Write a volume and return its geometry.

    Floats that are all integers are written as int16 or int32 if they fit.

    Raises
    ------
    ImageRefused
        Its frames have no position in space, or it has more than four axes.
    PixelError
        The voxels cannot be read.
    """
    if volume.affine is None:
        raise ImageRefused("its frames have no position in space, so it is not a volume")
    array = _as_integers(volume.read())
    has_color = volume.dims[-1] == "sample"
    return write_array(array, volume.affine, path, has_color=has_color)


def write_array(
    array: np.ndarray, affine: np.ndarray, path: Path, *, has_color: bool = False
) -> Geometry:
    """Write an array (slice, row, column), or with time or color axis; return its geometry.

    Raises
    ------
    ImageRefused
    """
    if array.dtype == bool:
        array = array.astype("u1")
    kind = _TYPES.get(array.dtype.str[1:])
    shape = array.shape[:-1] if has_color else array.shape
    if kind is None or not 3 <= len(shape) <= 4 or min(array.shape) < 1:
        raise ImageRefused(
            f"an array of type {array.dtype} with {len(shape)} axes cannot be written as an image; "
            "pass numbers with three or four axes"
        )
    geometry = geometry_of(shape[-3:], affine)
    extra_axes = len(shape) - 3
    direction = np.eye(len(shape))
    direction[:3, :3] = np.reshape(geometry.direction, (3, 3))
    lines = {
        "ObjectType": "Image", "NDims": len(shape), "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
        "TransformMatrix": _joined_floats(direction.ravel()),
        "Offset": _joined_floats([*geometry.origin, *[0] * extra_axes]),
        "CenterOfRotation": _joined_floats([0] * len(shape)),
        "ElementSpacing": _joined_floats([*geometry.spacing, *[1] * extra_axes]),
        "DimSize": " ".join(str(n) for n in shape[::-1]),
        **({"ElementNumberOfChannels": array.shape[-1]} if has_color else {}),
        "ElementType": kind, "ElementDataFile": "LOCAL",
    }  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    with path.open("wb") as file:
        file.write(text.encode())
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return geometry


def _joined_floats(numbers: Any) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def _as_integers(array: np.ndarray) -> np.ndarray:
    """Return floats as int16 or int32 if that loses nothing; else the array unchanged."""
    if array.dtype.kind != "f" or not array.size:
        return array
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)) or not np.array_equal(array, np.rint(array)):
        return array
    for narrow in (np.int16, np.int32):
        limits = np.iinfo(narrow)
        if limits.min <= low and high <= limits.max:
            return array.astype(narrow)
    return array


def read_geometry(path: Path) -> Geometry | None:
    """Return the geometry of a three-dimensional MHA file; None for other files."""
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
    fields: dict[str, str] = {}
    for line in head.split(b"\n"):
        key, equals, value = line.decode("latin-1").partition("=")
        if not equals:
            return None
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    try:
        size = tuple(int(word) for word in fields["DimSize"].split())
        spacing, origin, direction = (
            tuple(float(word) for word in _first(fields, names).split()) for names in _SYNONYMS
        )
    except (KeyError, ValueError):
        return None
    if (len(size), len(spacing), len(origin), len(direction)) != (3, 3, 3, 9):
        return None
    return Geometry(size, spacing, origin, direction)


def _first(fields: dict[str, str], names: tuple[str, ...]) -> str:
    """Return the value of the first of several fields that a header has; empty if it has none."""
    return next((fields[name] for name in names if name in fields), "")
