"""``LazyVolume``: a series as one array whose voxels are read when it is sliced.

In: a layout. Out: NumPy arrays. Shape, type and affine of a volume come from the catalog. Indexing
reads only the frames it touches, and each of them as a whole.

The contract of ``LazyVolume``, which one test suite checks for every kind of series:

- ``shape``, ``dtype``, ``affine`` never change, and are available without opening a file;
- ``volume[index]`` equals ``np.asarray(volume)[index]`` for every basic index;
- frames outside of the index are not read, so their files may be missing;
- the result is a new array, which the caller may change.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from warehouse.errors import NotAVolume
from warehouse.given import checked
from warehouse.inputs import require_names
from warehouse.pixels.facts import Headers
from warehouse.pixels.filling import FrameCache, Source, Voxels
from warehouse.pixels.index import Part, expand, length_of
from warehouse.pixels.kept_layouts import layout_of_series
from warehouse.pixels.layout import Layout, axes
from warehouse.pixels.read import Job, Tables, allocated, read
from warehouse.pixels.units import one_unit
from warehouse.pixels.uptake import headers_for, require_known
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image
    from warehouse.pixels.mappings import Mapping

CACHE_BYTES = 64 << 20
"""Size of a volume's cache of decoded frames; plain frames are in the page cache."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class LazyVolume:
    """A series of images as a lazy array.

    The axes are, slowest first: non-spatial axes (``volume``, ``time``, ``segment`` or the keyword
    of a dimension index), then ``slice``, ``row``, ``column``, and ``sample`` for color. Slices are
    ordered along the normal of the images, which is the cross product of the row direction and the
    column direction, so (column, row, slice) are right-handed.

    Attributes
    ----------
    series_uid
        SeriesInstanceUID.
    dims
        Name of each axis.
    shape, dtype, ndim, size, nbytes
        As for an array. The array has stored values unless ``values`` converts them.
    affine
        (4, 4) float64: maps (slice, row, column, 1), each from 0, to mm in LPS (x to the patient's
        left, y to the back, z to the head) at the center of the voxel. Its columns are in the order
        of the array's axes, whereas the view ``series_geometry`` uses (column, row, slice). None if
        frames have no positions, as in a cine.
    labels
        Labels of the positions along the axes before ``slice``: name to values, known without
        opening a file. ``time_s`` is the start of each volume relative to the first.
        ``b_value`` (s/mm²) and ``direction`` (unit vector, LPS), ``echo_time_ms``,
        ``inversion_time_ms``, ``flip_angle_degrees``, ``trigger_time_ms``, ``image_type`` and
        others of ``warehouse.pixels.volumes`` are included if they differ between volumes and are
        the same in all slices of each. An axis named after a dimension index has its values under
        that name; ``segment`` has the segment numbers.
    label_dims
        Axes along which each label varies, nearly always one. With several axes, the values are
        nested lists.

    Examples
    --------
    >>> volume = wh.volume(uid, rescale=True)
    >>> volume.dims, volume.shape, volume.unit
    (('slice', 'row', 'column'), (3, 128, 128), 'HU')
    >>> float(volume[0, 64, 64])
    904.0
    """

    def __init__(
        self, series_uid: str, layout: Layout, values: Values, headers: Headers | None = None
    ) -> None:  # fmt: skip
        self.series_uid = series_uid
        self.values = values
        self.headers = headers or Headers()
        self._layout = layout
        values.require_numbers(series_uid, layout.images)
        kinds = {
            (image.BitsAllocated, image.PhotometricInterpretation): image for image in layout.images
        }.values()
        shapes = {values.frame_shape(image, layout.frame_shape) for image in kinds}
        if len(shapes) > 1:
            raise NotAVolume(series_uid, "some of its frames are in color")
        shape = shapes.pop()
        self.dims = (*layout.dims[: layout.grid.ndim], *axes(shape))
        self.shape: tuple[int, ...] = (*layout.grid.shape, *shape)
        self.dtype = np.result_type(*(values.dtype(image, layout.dtype) for image in kinds))
        self.affine = None if layout.affine is None else layout.affine.copy()
        self.labels = copy.deepcopy(layout.labels.values)
        self.label_dims = dict(layout.labels.dims)
        self._frame_shape = shape
        self._sources: list[Source] = list(zip(*layout.frames[:, :2].T.tolist(), strict=True))
        self._tables: Tables = {}
        self._cache = FrameCache(CACHE_BYTES)

    # -- what is known -----------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return self.size * self.dtype.itemsize

    @property
    def affine_ras(self) -> np.ndarray | None:
        """(4, 4): (slice, row, column, 1) to mm in RAS, as in NIfTI and nibabel."""
        return None if self.affine is None else LPS_TO_RAS @ self.affine

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distances in mm between slices, rows and columns."""
        if self.affine is None:
            return None
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def orientation(self) -> np.ndarray | None:
        """(3, 3), columns: unit vectors in LPS along slices, rows (downwards) and columns."""
        if self.affine is None:
            return None
        directions: np.ndarray = self.affine[:3, :3] / np.array(self.spacing)
        return directions

    @property
    def frames(self) -> pl.DataFrame:
        """One row per frame of the array, in its order: indices, instance, frame and file.

        ``frame_number`` starts at 1, as in DICOM; null for an empty frame that was left out.
        """
        layout = self._layout
        places = np.indices(layout.grid.shape).reshape(layout.grid.ndim, -1)
        refs = layout.grid.ravel()
        there = refs >= 0
        image = np.where(there, layout.frames[refs, 0], -1).tolist()
        known = [layout.images[number] if number >= 0 else None for number in image]
        return pl.DataFrame({
            **dict(zip(layout.dims, places, strict=False)),
            "SOPInstanceUID": [found and found.SOPInstanceUID for found in known],
            "frame_number": [
                int(layout.frames[ref, 1]) + 1 if ref >= 0 else None for ref in refs.tolist()
            ],
            "InstanceNumber": [found and found.InstanceNumber for found in known],
            "file_path": [found and found.path for found in known],
        })  # fmt: skip

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{name}: {size}" for name, size in zip(self.dims, self.shape, strict=True)
        )
        place = "" if self.spacing is None else (
            " spacing " + " x ".join(f"{mm:.4g}" for mm in self.spacing) + " mm"
        )  # fmt: skip
        return f"<LazyVolume ({sizes}) {self.dtype}{place}>"

    def _repr_html_(self) -> str:
        """Show three planes through the middle in a notebook; only text if they are unreadable."""
        from warehouse.pixels.gallery import volume_html  # noqa: PLC0415 - few are shown

        return volume_html(self)

    @property
    def leading(self) -> int:
        """Number of axes before that of the slices (in a cine: of the frames)."""
        return self._layout.grid.ndim - 1

    def source_of(self, *place: int) -> Source:
        """Return image and frame, from 0, at a position on the axes before rows and columns."""
        # From the first position that has a frame, as empty frames are left out.
        ref = int(self._layout.grid[place])
        return self._sources[ref] if ref >= 0 else self.sources[0]

    @property
    def layout(self) -> Layout:
        """Frame at each position."""
        return self._layout

    @property
    def images(self) -> tuple[Image, ...]:
        """Images of the series, from the catalog."""
        return self._layout.images

    @property
    def unit(self) -> str | None:
        """Unit of rescaled values: a UCUM code, or ``HU``.

        The headers of all images are read. None if they state no unit, and for stored values,
        windows and colors.

        Raises
        ------
        NoSingleUnit
            Frames have different units, or several mappings of which none was selected.
        SourceChanged, PixelsUnreadable
        """
        return one_unit(self.series_uid, self._units(self.sources))

    @property
    def sources(self) -> list[Source]:
        """Image and frame, from 0, of each position that has one."""
        refs = self._layout.grid
        return [self._sources[ref] for ref in refs[refs >= 0].tolist()]

    def mappings(self) -> list[Mapping]:
        """Return the mapping of ``rescale`` for each frame, in the order of ``sources``.

        Raises
        ------
        NoSingleUnit, SourceChanged, PixelsUnreadable
        """
        asked = self.values.rescale or True
        return [
            self.headers.of(self.images[number]).of(index).mapping(asked)
            for number, index in self.sources
        ]

    def with_values(self, values: Values) -> LazyVolume:
        """Return the same frames with other values.

        Raises
        ------
        UsageError
            Uptake values of PET are requested; these are asked for when the series is opened.
        """
        require_known(self.headers, values)
        return LazyVolume(self.series_uid, self._layout, values, self.headers)

    def references(self) -> dict[str, Any]:
        """Return references to the voxels in their files, as a virtual Zarr array.

        Written with ``json.dump``, ``xarray.open_dataset(..., engine="kerchunk")`` can open it; see
        ``warehouse.pixels.references.references`` for its content and restrictions.
        """
        from warehouse.pixels.references import references  # noqa: PLC0415 - few are asked

        return references(self)

    # -- what is read ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("voxels must be read: copy=False is not possible")
        return self.read().astype(self.dtype if dtype is None else dtype, copy=False)

    @checked
    def read(self, workers: int | None = None) -> np.ndarray:
        """Return the whole array.

        Parameters
        ----------
        workers
            Largest number of decoding processes, used only for many pixels; None means one per
            processor, at most four.
        """
        return self._read((slice(None),) * self.ndim, workers)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part, by NumPy's basic indexing: integers, slices, ``...`` and ``None``.

        Raises
        ------
        IndexError
            The index is out of range, or not a basic index.
        SourceChanged, PixelsUnreadable, NoDecoder
        """
        parts, new_axes = expand(index, self.shape)
        answer = self._read(parts, None)
        return np.expand_dims(answer, new_axes) if new_axes else answer[()]

    def _read(self, parts: Sequence[Part], workers: int | None) -> np.ndarray:
        layout = self._layout
        depth = layout.grid.ndim
        refs = np.asarray(layout.grid[tuple(parts[:depth])])
        inner = tuple(parts[depth:])
        shape = tuple(length_of(part, n) for part, n in zip(inner, self._frame_shape, strict=True))
        inner_shape = tuple(n for n in shape if n is not None)
        for number in np.unique(layout.frames[refs[refs >= 0], 0]).tolist():
            layout.images[number].check()
        out = allocated(self.series_uid, (*refs.shape, *inner_shape), self.dtype)
        if out.size == 0:
            return out
        flat = out.reshape((refs.size, *inner_shape))
        places: dict[Source, list[int]] = {}
        for place, ref in enumerate(refs.ravel().tolist()):
            if ref < 0:
                flat[place] = 0
            else:
                places.setdefault(self._sources[ref], []).append(place)
        is_whole = all(part == slice(None) for part in inner)
        sink = Voxels(
            layout, self.values, self.headers, self._cache,
            flat=flat, refs=refs.ravel(), inner=inner, places=places, is_whole=is_whole,
        )  # fmt: skip
        one_unit(self.series_uid, self._units(places))
        wanted: dict[int, list[tuple[int, Source]]] = {}
        for source in places:
            kept = self._cache.get(source)
            if kept is not None:
                sink.put(source, kept)
            else:
                wanted.setdefault(source[0], []).append((source[1], source))
        jobs = [Job(layout.images[number], frames) for number, frames in wanted.items()]
        read(jobs, sink, self._tables, workers)
        return out

    def _units(self, sources: Iterable[Source]) -> Iterator[str | None]:
        images = self._layout.images
        return (self.values.unit_of(images[number], n, self.headers) for number, n in sources)


def open_volume(
    catalog: Catalog, series_uid: str, *, values: Values | None = None, stack_id: str | None = None,
    gaps: bool = False, tilt: bool = False,
) -> LazyVolume:  # fmt: skip
    """Return a series as one array; no file is opened.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID.
    values
        How stored values are converted; by default they are not.
    stack_id
        StackID of the frames to open, if multi-frame objects have several stacks.
    gaps, tilt
        For single-frame images: accept missing slices, which are filled with zeros; accept evenly
        shifted slices, as from a tilted gantry, which give a sheared affine.

    Raises
    ------
    SeriesNotFound, NoPixels
    NotAVolume
        The frames form no regular grid; the reason is that of the view ``series_geometry``.
    NoSingleUnit
        Rescaled or windowed values of color are requested.
    """
    require_names(series_uid, *([] if stack_id is None else [stack_id]))
    layout = layout_of_series(catalog, series_uid, stack_id=stack_id, gaps=gaps, tilt=tilt)
    headers = headers_for(catalog, series_uid, values)
    return LazyVolume(series_uid, layout, values or Values(), headers)
