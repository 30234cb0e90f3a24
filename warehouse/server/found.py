"""Find the instances of a DICOMweb resource, with a cache of recent images.

In: a catalog and keys. Out: rows of the catalog. A viewer requests one frame at a time, so the
instances and images of recent series, and the fragment ranges of recent files, are cached.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from warehouse.catalog.few import session_of
from warehouse.errors import NoPixels
from warehouse.pixels.decode import fragments_of
from warehouse.pixels.lookup import images_of_series
from warehouse.server.errors import NotFound
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image
    from warehouse.pixels.places import Range
    from warehouse.pixels.source import OpenPixels

_CACHED_SERIES = 64
_CACHED_FRAGMENTS = 256
_Value = TypeVar("_Value")


class Instance(NamedTuple):
    """A stored instance: keys, pixel facts and source file."""

    instance_id: int
    instance_key: str
    series_key: str
    study_key: str
    sop_class: str | None
    transfer_syntax: str | None
    frame_count: int | None
    has_pixels: bool
    path: str
    size_bytes: int | None
    modified_us: int | None


class Images:
    """Cache of the instances and images of recent series of one version."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._series = _Recent[list[Instance]](_CACHED_SERIES)
        self._images = _Recent[dict[str, "Image"]](_CACHED_SERIES)
        self._fragments = _Recent["list[list[Range]] | None"](_CACHED_FRAGMENTS)

    def instances(
        self, study: str, series: str | None = None, instance: str | None = None
    ) -> list[Instance]:
        """Return the instances of a study, a series of it, or one instance of that.

        Raises
        ------
        NotFound
        """
        if series is None:
            instances = self._query(study, None)
        else:
            in_series = self._series.get(series, lambda: self._query(None, series))
            instances = [
                row for row in in_series
                if row.study_key == study and instance in {None, row.instance_key}
            ]  # fmt: skip
        if not instances:
            what = "study" if series is None else "series" if instance is None else "instance"
            raise NotFound(f"there is no such {what}")
        return instances

    def image(self, instance: Instance) -> Image:
        """Return the image of an instance, which describes its pixel data.

        Raises
        ------
        NoPixels
        """

        def load() -> dict[str, Image]:
            images = images_of_series(self._catalog, instance.series_key)
            return {image.instance_key: image for image in images}

        by_key = self._images.get(instance.series_key, load) if instance.has_pixels else {}
        if instance.instance_key not in by_key:
            raise NoPixels(instance.series_key)
        return by_key[instance.instance_key]

    def fragments(self, opened: OpenPixels) -> list[list[Range]] | None:
        """Return the byte ranges of the compressed frames of an image; None if it is native."""
        return self._fragments.get(opened.image.instance_key, lambda: fragments_of(opened))

    def _query(self, study: str | None, series: str | None) -> list[Instance]:
        parameters = [study, series, None, None]
        entity, key = ("series", series) if study is None else ("studies", study)
        session = session_of(self._catalog, entity, key or "")
        rows = session.execute(statement("instances", "dicomweb"), parameters)
        return [Instance._make(row) for row in rows.fetchall()]


class _Recent(Generic[_Value]):
    """Thread-safe cache of the values that were used last, by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], _Value]) -> _Value:
        """Return the value of a key; concurrent calls may each create it."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value
