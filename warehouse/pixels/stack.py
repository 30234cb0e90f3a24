"""``Stack``: the frames of any series as stored, in the order of acquisition.

In: a catalog and a series. Out: a sequence of frames that are read on access. Geometry is ignored:
mosaics are not split, and frames may have different sizes.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, overload

import numpy as np

from warehouse.counted import counted
from warehouse.errors import NotAVolume
from warehouse.given import checked
from warehouse.pixels.facts import Headers
from warehouse.pixels.lookup import images_of_series
from warehouse.pixels.read import Job, Tables, allocated, read
from warehouse.pixels.units import one_unit
from warehouse.pixels.uptake import headers_for, require_known
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image


class Stack:
    """Lazy sequence of the frames of a series: ``len(stack)``, ``stack[i]``, ``stack[a:b]``.

    A frame has the axes (row, column), or (row, column, sample) for color, and the stored values of
    pydicom's ``pixel_array(raw=True)``, without color conversion. Images are sorted by acquisition
    time, then by InstanceNumber; if not all have a time, by InstanceNumber. Frames of an image are
    in stored order. ``values`` defines a conversion, such as ``Values(rescale=True)``: float64, in
    the unit ``unit``.
    """

    def __init__(
        self, series_uid: str, images: Sequence[Image], values: Values,
        headers: Headers | None = None,
    ) -> None:  # fmt: skip
        values.require_numbers(series_uid, images)
        self.series_uid = series_uid
        self.headers = headers or Headers()
        self.images = tuple(images)
        self.values = values
        self._first = np.cumsum([0, *(image.frame_count for image in images)])
        self._tables: Tables = {}

    def __repr__(self) -> str:
        return f"<Stack of {counted(len(self), 'frame')}: {', '.join(self._sizes())}>"

    def __len__(self) -> int:
        return int(self._first[-1])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> np.ndarray: ...
    def __getitem__(self, index: int | slice) -> np.ndarray:
        """Return a frame, or frames stacked along a new first axis if they have one shape.

        Raises
        ------
        NotAVolume
            The frames have different shapes; the message counts them.
        SourceChanged, PixelsUnreadable, NoDecoder
        """
        if not isinstance(index, slice):
            number = operator.index(index)
            if not -len(self) <= number < len(self):
                raise IndexError(f"frame {number} of a stack of {len(self)}")
            number %= len(self)
            frame: np.ndarray = self._read(range(number, number + 1))[0]
            return frame
        return self._read(range(len(self))[index])

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("frames must be read: copy=False is not possible")
        frames: np.ndarray = self[:]
        return frames if dtype is None else frames.astype(dtype, copy=False)

    @checked
    def instance_of(self, index: int) -> tuple[str, int]:
        """Return the instance_key and frame number, from 1, of a frame."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a stack of {len(self)}")
        number, frame = self.source_of(index)
        return self.images[number].instance_key, frame + 1

    def source_of(self, index: int) -> tuple[int, int]:
        """Return image and frame index, both from 0, of a frame of the stack."""
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        return number, index - int(self._first[number])

    def _sizes(self) -> list[str]:
        counts: dict[str, int] = {}
        for image in self.images:
            size = " x ".join(str(n) for n in image.frame_shape)
            counts[size] = counts.get(size, 0) + image.frame_count
        return [f"{size} ({count})" for size, count in sorted(counts.items())]

    def _read(self, wanted: range) -> np.ndarray:
        per_image = self._touched(wanted)
        chosen = [self.images[number] for number in per_image] or [self.images[0]]
        shapes = {self.values.frame_shape(image, image.frame_shape) for image in chosen}
        if len(shapes) > 1:
            raise NotAVolume(self.series_uid, f"several shapes: {', '.join(self._sizes())}")
        stored = np.result_type(*{image.dtype for image in chosen})
        dtype = np.result_type(*{self.values.dtype(image, stored) for image in chosen})
        one_unit(self.series_uid, self._units(
            (self.images[number], (wanted[key] - int(self._first[number]) for key in keys))
            for number, keys in per_image.items()
        ))  # fmt: skip
        out = allocated(self.series_uid, (len(wanted), *shapes.pop()), dtype)
        sources = {
            key: (number, wanted[key] - int(self._first[number]))
            for number, keys in per_image.items()
            for key in keys
        }
        jobs = [
            Job(self.images[number], [(sources[key][1], key) for key in keys])
            for number, keys in per_image.items()
        ]
        read(jobs, _Frames(self, out, sources), self._tables)
        return out

    def _touched(self, wanted: range) -> dict[int, range]:
        """Return the images of frames, each checked, with the positions of its frames.

        Positions are computed, not enumerated: a header may declare an absurd number of frames.
        """
        if not wanted:
            return {}
        ends = np.searchsorted(self._first, [wanted[0], wanted[-1]], side="right") - 1
        touched = {}
        for number in range(int(ends.min()), int(ends.max()) + 1):
            first, last = int(self._first[number]), int(self._first[number + 1]) - 1
            one, other = (first, last) if wanted.step > 0 else (last, first)
            begin = max(0, -((wanted.start - one) // wanted.step))
            end = min(len(wanted), (other - wanted.start) // wanted.step + 1)
            if begin < end:
                self.images[number].check()
                touched[number] = range(begin, end)
        return touched

    def with_values(self, values: Values) -> Stack:
        """Return the same frames with other values; see ``LazyVolume.with_values``."""
        require_known(self.headers, values)
        return Stack(self.series_uid, self.images, values, self.headers)

    @property
    def unit(self) -> str | None:
        """Unit of rescaled values; see ``LazyVolume.unit``.

        Raises
        ------
        NoSingleUnit, SourceChanged, PixelsUnreadable
        """
        for image in self.images:
            image.check()  # a header may declare an absurd number of frames
        every = ((image, range(image.frame_count)) for image in self.images)
        return one_unit(self.series_uid, self._units(every))

    def _units(self, wanted: Iterable[tuple[Image, Iterable[int]]]) -> Iterator[str | None]:
        return (
            self.values.unit_of(image, index, self.headers)
            for image, indices in wanted
            for index in indices
        )


class _Frames:
    """Sink that writes frames to their positions in an array."""

    def __init__(
        self, stack: Stack, out: np.ndarray, sources: dict[int, tuple[int, int]]
    ) -> None:  # fmt: skip
        self.stack = stack
        self.out = out
        self.sources = sources

    def direct(self, key: int) -> np.ndarray | None:
        return self.out[key] if self.stack.values.are_stored else None

    def put(self, key: int, frame: np.ndarray) -> None:
        number, index = self.sources[key]
        values = self.stack.values
        if not values.are_stored:
            image = self.stack.images[number]
            frame = values.drawn(frame, image, index)
            frame = values.apply(frame, image, index, self.stack.headers)
        self.out[key] = frame


def open_stack(catalog: Catalog, series_uid: str, *, values: Values | None = None) -> Stack:
    """Return the frames of a series without reading any.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID.
    values
        How stored values are converted; by default they are not.

    Raises
    ------
    SeriesNotFound, NoPixels
    NoSingleUnit
        Rescaled values of color are requested.
    """
    images = images_of_series(catalog, series_uid)
    return Stack(series_uid, images, values or Values(), headers_for(catalog, series_uid, values))
