"""Measure the volumes of segments that are new or have changed.

In: a catalog, and what appends rows. Out: ``Measured``, and rows of ``measured_segments``. What is
counted already, of the same file and the same images, is not counted again; the view
``segment_volumes`` has the rows that hold.
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
"""Stands for an object none of whose segments has a number."""
_AT_ONCE = 200
"""Objects whose rows are appended together: what a run that is stopped has done stays."""
_DESCRIBED_AT_ONCE = 20
"""Objects whose headers are asked for together: some have a hundred thousand frames."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of measuring segments."""

    objects: int
    """Segmentations that have rows now and had none."""
    segments: int
    """Rows that were added."""
    without_volume: int
    """Of these, rows whose volume is not known; ``segment_volumes.volume_why_not`` says why."""
    failures: dict[str, str]
    """SOPInstanceUID → why its frames could not be read; these are tried again the next time."""


def measure_segments(
    catalog: Catalog, append: Callable[[pa.Table], object], series: Iterable[str] | None = None
) -> Measured:
    """Count the frames of segmentations that were not counted as they are now.

    Parameters
    ----------
    catalog
        Open catalog.
    append
        What appends rows to ``measured_segments``.
    series
        SeriesInstanceUIDs of segmentations; None for all that the warehouse has.
    """
    chosen = None if series is None else sorted(set(series))
    found = catalog.connection.execute(statement("unmeasured", "runs"), [chosen]).fetchall()
    objects = segments = unknown = 0
    failures: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    waiting = 0
    for key, description, numbers in _described_objects(catalog, found):
        instance_key, state, series_uid, sop_instance_uid, _ = key
        try:
            made = list(_rows(catalog, series_uid, sop_instance_uid, numbers, description))
        except WarehouseError as error:
            # Of files that are away, or cannot be decoded here: that may be mended.
            failures[sop_instance_uid] = str(error)
            continue
        rows += [row | {"instance_key": instance_key, "state": state} for row in made]
        objects, segments, waiting = objects + 1, segments + len(made), waiting + 1
        unknown += sum(row["volume_ml"] is None for row in made)
        if waiting == _AT_ONCE:
            append(_table(rows))
            rows, waiting = [], 0
    if rows:
        append(_table(rows))
    return Measured(objects, segments, unknown, failures)


def _described_objects(
    catalog: Catalog, found: list[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], Described, list[int]]]:
    """Yield each object, what its header says, and the numbers of its segments."""
    objects = [(key, list(rows)) for key, rows in groupby(found, itemgetter(0, 1, 2, 3, 4))]
    for begin in range(0, len(objects), _DESCRIBED_AT_ONCE):
        some = objects[begin : begin + _DESCRIBED_AT_ONCE]
        descriptions = described(catalog, [key[4] for key, _ in some])
        for key, rows in some:
            yield key, descriptions[key[4]], sorted({row[5] for row in rows if row[5] is not None})


def _rows(
    catalog: Catalog,
    series_uid: str,
    sop_instance_uid: str,
    numbers: list[int],
    description: Described,
) -> Iterator[dict[str, Any]]:
    try:
        found, warnings = _opened(catalog, series_uid, sop_instance_uid, description)
        volumes = found.volumes().iter_rows(named=True)
    except (WrongObject, NotInGeometry, NoPixels, NotAVolume) as error:
        for number in numbers or [NO_NUMBER]:
            yield _row(number, None, None, None, str(error), [])
        return
    counted = False
    for row in volumes:
        counted = True
        yield _row(
            row["SegmentNumber"], row["voxel_count"], row["volume_ml"], found.source_uid,
            row["why_not"], warnings,
        )  # fmt: skip
    if not counted:
        yield _row(NO_NUMBER, None, None, found.source_uid, "no segment has a number", warnings)


def _opened(
    catalog: Catalog, series_uid: str, uid: str, description: Described
) -> tuple[Segmentation, list[str]]:
    """Open an object on the grid of its images; on its own if frames do not lie on that one."""
    try:
        found = open_segmentation(
            catalog, series_uid, sop_instance_uid=uid, description=description
        )
    except NotInGeometry as error:
        found = open_segmentation(
            catalog, series_uid, sop_instance_uid=uid, own_grid=True, description=description
        )
        return found, [*found.warnings, f"measured on its own grid: {error.why}"]
    why = found.own_grid_why
    return found, [*found.warnings, *([f"measured on its own grid: {why}"] if why else [])]


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
