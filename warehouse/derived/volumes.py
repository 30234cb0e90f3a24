"""Measure the volumes of segments that are new or have changed.

In: a catalog, and a function that appends rows. Out: ``Measured``, and rows of
``measured_segments``. Segmentations that were measured with the same file and the same images are
skipped; the view ``segment_volumes`` has the rows that are still valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.derived.segmentation import (
    Described,
    Segmentation,
    described,
    open_segmentation,
)
from warehouse.errors import NoPixels, NotAVolume, NotInGeometry, WarehouseError, WrongObject
from warehouse.sqlfiles import statement
from warehouse.store.tables import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from warehouse.catalog.connect import Catalog

TABLE = "measured_segments"
NO_NUMBER = -1
"""SegmentNumber in the row of an object without any segment number."""
_OBJECTS_PER_APPEND = 200
"""Number of objects whose rows are appended together; a stopped run keeps them."""
_OBJECTS_PER_QUERY = 20
"""Number of objects whose headers are queried together; some have 100,000 frames."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of measuring segments."""

    objects: int
    """Number of segmentations that were measured."""
    segments: int
    """Number of rows that were added."""
    without_volume: int
    """Added rows without a volume; the reason is ``segment_volumes.volume_why_not``."""
    failures: dict[str, str]
    """SOPInstanceUID → why its frames could not be read; retried by the next run."""


def measure_segments(
    catalog: Catalog, append: Callable[[pa.Table], object], series: Iterable[str] | None = None
) -> Measured:
    """Measure the segmentations that have no valid rows in ``measured_segments``.

    Parameters
    ----------
    catalog
        Open catalog.
    append
        Function that appends rows to ``measured_segments``.
    series
        SeriesInstanceUIDs of segmentations; None for all in the warehouse.
    """
    chosen = None if series is None else sorted(set(series))
    unmeasured = catalog.connection.execute(statement("unmeasured", "runs"), [chosen]).fetchall()
    objects = segments = without_volume = 0
    failures: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    pending = 0
    for key, description, numbers in _described_objects(catalog, unmeasured):
        instance_key, state, series_uid, sop_instance_uid, _ = key
        try:
            new_rows = list(
                _measured_rows(catalog, series_uid, sop_instance_uid, numbers, description)
            )
        except WarehouseError as error:
            # Not stored: missing files or decoders may be available in the next run.
            failures[sop_instance_uid] = str(error)
            continue
        rows += [row | {"instance_key": instance_key, "state": state} for row in new_rows]
        objects, segments, pending = (
            objects + 1,
            segments + len(new_rows),
            pending + 1,
        )
        without_volume += sum(row["volume_ml"] is None for row in new_rows)
        if pending == _OBJECTS_PER_APPEND:
            append(_table(rows))
            rows, pending = [], 0
    if rows:
        append(_table(rows))
    return Measured(objects, segments, without_volume, failures)


def _described_objects(
    catalog: Catalog, unmeasured: list[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], Described, list[int]]]:
    """Yield key, header attributes and segment numbers of each object."""
    objects = [(key, list(rows)) for key, rows in groupby(unmeasured, itemgetter(0, 1, 2, 3, 4))]
    for start in range(0, len(objects), _OBJECTS_PER_QUERY):
        portion = objects[start : start + _OBJECTS_PER_QUERY]
        descriptions = described(catalog, [key[4] for key, _ in portion])
        for key, rows in portion:
            yield key, descriptions[key[4]], sorted({row[5] for row in rows if row[5] is not None})


def _measured_rows(
    catalog: Catalog,
    series_uid: str,
    sop_instance_uid: str,
    numbers: list[int],
    description: Described,
) -> Iterator[dict[str, Any]]:
    """Yield a row per segment of one object, or rows with the reason if it has no volumes."""
    try:
        segmentation, warnings = _open_on_grid(catalog, series_uid, sop_instance_uid, description)
        volumes = segmentation.volumes().iter_rows(named=True)
    except (WrongObject, NotInGeometry, NoPixels, NotAVolume) as error:
        for number in numbers or [NO_NUMBER]:
            yield _row(number, None, None, None, str(error), [])
        return
    has_rows = False
    for row in volumes:
        has_rows = True
        yield _row(
            row["SegmentNumber"], row["voxel_count"], row["volume_ml"], segmentation.source_uid,
            row["why_not"], warnings,
        )  # fmt: skip
    if not has_rows:
        yield _row(
            NO_NUMBER, None, None, segmentation.source_uid, "no segment has a number", warnings
        )


def _open_on_grid(
    catalog: Catalog, series_uid: str, uid: str, description: Described
) -> tuple[Segmentation, list[str]]:
    """Open an object on the grid of its images, or else on its own grid; return warnings too."""
    try:
        segmentation = open_segmentation(
            catalog, series_uid, sop_instance_uid=uid, description=description
        )
    except NotInGeometry as error:
        segmentation = open_segmentation(
            catalog, series_uid, sop_instance_uid=uid, own_grid=True, description=description
        )
        return segmentation, [*segmentation.warnings, f"measured on its own grid: {error.why}"]
    why = segmentation.own_grid_why
    return segmentation, [
        *segmentation.warnings,
        *([f"measured on its own grid: {why}"] if why else []),
    ]


def _row(
    number: int, voxels: float | None, volume: float | None, grid: str | None, why: str | None,
    warnings: list[str],
) -> dict[str, Any]:  # fmt: skip
    return {
        "SegmentNumber": number, "voxel_count": voxels, "volume_ml": volume,
        "grid_series_uid": grid, "why_not": why, "warnings": warnings or None,
    }  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=named(TABLE).stored_schema)
