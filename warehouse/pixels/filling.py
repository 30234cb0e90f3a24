"""Copy decoded frames to their places in an array, cropped and converted.

In: decoded frames from ``read``. Out: voxels in memory that ``LazyVolume`` has allocated.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from warehouse.pixels.facts import Headers
    from warehouse.pixels.index import Part
    from warehouse.pixels.layout import Layout
    from warehouse.pixels.values import Values

Source = tuple[int, int]
"""Index of an image in the layout, and index of its frame, both from 0."""


class Voxels:
    """The sink of one call of ``read``: the positions of its frames in an array."""

    def __init__(
        self, layout: Layout, values: Values, headers: Headers, cache: FrameCache, *,
        flat: np.ndarray, refs: np.ndarray, inner: tuple[Part, ...],
        places: dict[Source, list[int]], is_whole: bool,
    ) -> None:  # fmt: skip
        self.layout, self.values, self.headers, self.cache = layout, values, headers, cache
        self.flat = flat
        self.refs = refs
        self.inner = inner
        self.places = places
        self.is_direct = (
            is_whole
            and values.are_stored
            and layout.images[0].frame_shape == layout.frame_shape  # no mosaic
        )

    def direct(self, key: Source) -> np.ndarray | None:
        """Return the target of a frame that needs no conversion; None if it must be converted."""
        places = self.places[key]
        if not self.is_direct or len(places) > 1:
            return None
        target: np.ndarray = self.flat[places[0]]
        return target

    def put(self, key: Source, frame: np.ndarray) -> None:
        """Write a decoded frame to each of its positions."""
        image = self.layout.images[key[0]]
        if not image.is_plain:
            self.cache.put(key, frame)
        rows, columns = self.layout.frame_shape[:2]
        values = self.values
        frame = values.drawn(frame, image, key[1])
        for place in self.places[key]:
            ref = self.refs[place]
            _, _, top, left = self.layout.frames[ref].tolist()
            tile = frame[top : top + rows, left : left + columns]
            if values.are_pointwise:  # convert only the requested part
                tile = np.asarray(tile[self.inner])
            if not values.are_stored:
                tile = values.apply(tile, image, key[1], self.headers)
            self.flat[place] = tile if values.are_pointwise else tile[self.inner]


class FrameCache:
    """LRU cache of decoded frames, limited by bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._frames: OrderedDict[Source, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Source) -> np.ndarray | None:
        """Return a cached frame, or None."""
        with self._lock:
            if (found := self._frames.get(key)) is not None:
                self._frames.move_to_end(key)
            return found

    def put(self, key: Source, frame: np.ndarray) -> None:
        """Add a frame, unless it alone is too large."""
        if frame.nbytes > self._limit:
            return
        with self._lock:
            if key not in self._frames:
                self._frames[key] = frame
                self._held += frame.nbytes
            while self._held > self._limit:
                _, dropped = self._frames.popitem(last=False)
                self._held -= dropped.nbytes
