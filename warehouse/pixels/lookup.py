"""Look up the images of a series in the Parquet files that have them.

In: a catalog and a series. Out: ``Image`` records in the order of acquisition. The views give the
same result (checked by a test) but take three times as long, mostly for planning, which is too long
for reading one slice. Therefore only the columns of ``Image`` are read, from the Parquet files that
have the series.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import polars as pl

from warehouse.catalog.few import is_noted, session_of
from warehouse.errors import NoPixels, SeriesNotFound
from warehouse.inputs import require_names
from warehouse.pixels.image import DAY_US, UNKNOWN, Image, over_midnight
from warehouse.settings import Mode
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.catalog.connect import Catalog

Scans = dict[str, tuple[pl.LazyFrame, pl.LazyFrame, int, int]]
"""Series → its parts of `instances` and of `files`, and its first and last instance_id."""


class _Found(NamedTuple):
    scans: Scans
    high_bits: dict[int, int]
    """instance_id → High Bit, if it is not Bits Stored - 1."""
    offsets: dict[int, int]
    """instance_id → Concatenation Frame Offset Number, if it is not 0."""
    frames: dict[tuple[str, ...], pl.LazyFrame]
    """Parts → LazyFrame that reads them."""
    asked: set[str | None]
    """Series that were searched, found or not; contains None if all series were searched."""


_FOUND: WeakKeyDictionary[Catalog, _Found] = WeakKeyDictionary()
"""Catalog → cached readers of its series."""
_FINDING = threading.Lock()

_PARTS_A_SERIES = 20
"""Searching for one series takes as long as searching this many parts for all series. Once all
series could have been found in the same time, all are searched."""

_FIND_SERIES = "select 1 from instances where series_key = $1 limit 1"
_SPACES = "select distinct FrameOfReferenceUID from instances where series_key = $1"
_INSTANCES = [
    *(pl.col(name) for name in Image._fields[: Image._fields.index("acquired_us")]),
    # A date without a time counts as midnight; a time without a date is ignored.
    pl.col("AcquisitionDate").cast(pl.Int32).cast(pl.Int64).mul(DAY_US)
    .add(pl.col("AcquisitionTime").fill_null(0)).alias("acquired_us"),
    pl.col("series_key"),
]  # fmt: skip
_FILES = [
    pl.col("instance_id"), pl.col("size_bytes"), pl.col("modified_at").dt.epoch("us"),
    pl.when(pl.col("mode") == Mode.MINIMAL.value).then(UNKNOWN).alias("high_bit"),
]  # fmt: skip


def images_of_series(catalog: Catalog, series_uid: str) -> list[Image]:
    """Return the images of a series in the order of acquisition.

    If every image has an acquisition time, images are sorted by that time, then by InstanceNumber;
    otherwise by InstanceNumber first. Scanners number images in different orders. Times of one date
    with a gap of more than half a day span midnight.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID, or ``series_key`` of a series without one.

    Raises
    ------
    SeriesNotFound
        The warehouse has no such series.
    NoPixels
        None of its instances has pixel data.
    """
    require_names(series_uid)
    scans, high_bits, offsets, *_ = _found(catalog, series_uid)
    if series_uid not in scans:
        if session_of(catalog, "series", series_uid).execute(_FIND_SERIES, [series_uid]).fetchall():
            raise NoPixels(series_uid)
        raise SeriesNotFound(series_uid)
    instances, files, first, last = scans[series_uid]
    of_series, of_files = pl.collect_all([
        instances.filter(pl.col("series_key") == series_uid, pl.col("pixel_offset").is_not_null())
        .drop("series_key"),
        files.filter(pl.col("instance_id").is_between(first, last)),
    ])  # fmt: skip
    seen = {row[0]: row[1:] for row in of_files.rows()}
    images = []
    for row in of_series.rows():
        *state, unknown = seen[row[0]]
        images.append(Image._make((*row, *state, high_bits.get(row[0], unknown), False)))
    keys = _order(images, offsets)
    return [image for _, image in sorted(zip(keys, images, strict=True), key=lambda pair: pair[0])]


def _order(images: list[Image], offsets: dict[int, int]) -> list[tuple[float, float, int, str]]:
    """Return the sort key of each image: time, number, place in its concatenation, instance key.

    Parts of a concatenation have one Instance Number (PS3.3 C.7.6.16).
    """
    times = over_midnight([image.acquired_us for image in images])
    is_timed = None not in times
    keys = []
    for image, stated in zip(images, times, strict=True):
        number = math.inf if image.InstanceNumber is None else image.InstanceNumber
        time = math.inf if stated is None else stated
        first, second = (time, number) if is_timed else (number, time)
        keys.append((first, second, offsets.get(image.instance_id, 0), image.instance_key))
    return keys


def _found(catalog: Catalog, series_uid: str) -> _Found:
    """Return UID → reader of the images of series with pixels.

    A LazyFrame caches metadata of its files, and is shared by the series in them.
    """
    with _FINDING:
        found = _FOUND.setdefault(catalog, _Found({}, {}, {}, {}, set()))
        if not {series_uid, None} & found.asked:
            enough = len(catalog.snapshot.parts["elements"]) // _PARTS_A_SERIES
            if is_noted(catalog) and len(found.asked) < enough:
                _find(found, session_of(catalog, "series", series_uid), series_uid)
                found.asked.add(series_uid)
            else:
                _find(found, catalog.connection, None)
                found.asked.add(None)
        return found


def _find(found: _Found, connection: duckdb.DuckDBPyConnection, series_uid: str | None) -> None:
    """Query one series, or all, in a session."""

    def scan(parts: list[str], columns: Sequence[pl.Expr]) -> pl.LazyFrame:
        key = tuple(sorted(parts))
        if key not in found.frames:
            frame = pl.scan_parquet(parts, hive_partitioning=False).select(columns)
            found.frames[key] = frame
        return found.frames[key]

    found.high_bits.update(connection.execute(statement("high_bits", "pixels")).fetchall())
    found.offsets.update(connection.execute(statement("frame_offsets", "pixels")).fetchall())
    rows = connection.execute(statement("parts", "pixels"), [series_uid]).fetchall()
    for uid, instances, files, first, last in rows:
        found.scans[uid] = (scan(instances, _INSTANCES), scan(files, _FILES), first, last)


def spaces_of(catalog: Catalog, series_uid: str) -> set[str]:
    """Return the frames of reference of a series; empty if none is stated."""
    session = session_of(catalog, "series", series_uid)
    rows = session.execute(_SPACES, [series_uid]).fetchall()
    return {uid for (uid,) in rows if uid}
