"""Assign several frames at each position to volumes, and label the volumes.

In: attributes of each frame, from the views ``image_slices`` and ``frame_slices``. Out: indices of
volumes, or the reason why there are none, and labels. Uses only NumPy, no files.

All frames of a volume have the same value of each *condition* (echo time, b-value, image type …),
and of each time that all positions share. The n-th frame at each position belongs to the n-th
volume. Frames are sorted by the first of the *orders* (times before numbers, Instance Number last)
that satisfies these rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.pixels.image import DAY_US, over_midnight
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image

CONDITIONS = {
    "kind": "image_type",
    "echo_time": "echo_time_ms",
    "echo_number": "echo_number",
    "inversion_time": "inversion_time_ms",
    "flip_angle": "flip_angle_degrees",
    "b_value": "b_value",
    "direction": "direction",
    "segment": "segment",
    "cardiac_percent": "cardiac_phase_percent",
    "respiratory_ms": "respiratory_delay_ms",
    "respiratory_percent": "respiratory_phase_percent",
    "vectors": "vectors",
}
"""Column that must be constant within a volume → name of its label."""
SHARED = {
    "temporal_position": "temporal_position",
    "acquired_us": "time_s",
    "elapsed_ms": "elapsed_ms",
    "trigger_ms": "trigger_time_ms",
    "acquisition_number": "acquisition_number",
    "repetition_time": "repetition_time_ms",
    "tube_voltage": "tube_voltage_kv",
    "kernel": "kernel",
}
"""The same for columns that may differ between slices; used if all positions share the values."""
ORDERS = (
    "temporal_position", "acquired_us", "elapsed_ms", "trigger_ms", "acquisition_number",
    "content_us", "number",
)  # fmt: skip
"""Columns by which frames at one position are sorted, best first."""
VECTORS = (
    "energy_window", "detector", "phase", "rotation", "rr_interval", "time_slot", "angular_view",
    "time_slice",
)  # fmt: skip
"""Meaning of the values of ``vectors`` (PS3.3 C.8.4.8)."""
_AXES = {
    "TemporalPositionIndex": "temporal_position",
    "NominalCardiacTriggerDelayTime": "trigger_ms",
    "NominalPercentageOfCardiacPhase": "cardiac_percent",
    "NominalRespiratoryTriggerDelayTime": "respiratory_ms",
    "NominalPercentageOfRespiratoryPhase": "respiratory_percent",
    "DiffusionBValue": "b_value",
    "DiffusionGradientOrientation": "direction",
    "EffectiveEchoTime": "echo_time",
    "InversionTimes": "inversion_time",
    "FlipAngle": "flip_angle",
    "RepetitionTime": "repetition_time",
    "FrameType": "kind",
    "ComplexImageComponent": "kind",
}
"""Dimension index pointer → column with the values that its indices represent."""
_MR = "1.2.840.10008.5.1.4.1.1.4"
"""MR images, classic and enhanced."""


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute of all frames: values, and their ranks."""

    values: list[Any]
    ranks: np.ndarray
    """Ranks from 0; missing values come first."""
    is_complete: bool

    @property
    def is_stated(self) -> bool:
        """Whether any frame states it."""
        return any(value is not None for value in self.values)

    @property
    def varies(self) -> bool:
        """Whether there is more than one value; a missing value counts as one."""
        return bool(self.ranks.max(initial=0) > 0)


Stated = dict[str, Column]
"""By column of the view."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of positions along axes that are not spatial.

    Attributes
    ----------
    values
        By name; a list per axis that the label depends on.
    dims
        By name: these axes.
    """

    values: dict[str, list[Any]] = field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)


def stated_of(
    catalog: Catalog, name: str, series_uid: str, images: Sequence[Image],
    frames: Sequence[tuple[int, int]],
) -> Stated:  # fmt: skip
    """Return the columns of a view as attributes of frames.

    Parameters
    ----------
    catalog, series_uid, images
        The series.
    name
        ``image_slices`` or ``frame_slices``.
    frames
        Image index and frame index, from 0, of each frame, in the order of the result.
    """
    ids = [image.instance_id for image in images]
    asked = [series_uid, min(ids), max(ids)]
    keys = [(ids[image], frame + 1) for image, frame in frames]
    stated = _columns(catalog, name, asked, keys)
    if _may_lack_weighting(stated) and (images[0].SOPClassUID or "").startswith(_MR):
        # Searching private elements of several vendors is expensive; skip it if standard elements
        # say all, or there are no candidates.
        may_be = statement("may_be_weighted", "pixels")
        if catalog.connection.execute(may_be, [series_uid]).fetchall()[0][0]:
            stated |= _columns(catalog, "diffusion", asked, keys)
    for clock in ("acquired_us", "content_us"):  # values with and without a date are not comparable
        times = [value for value in stated[clock].values if value is not None]
        if times and min(times) < DAY_US <= max(times):
            stated[clock] = column([None] * len(frames))
        else:
            stated[clock] = column(over_midnight(stated[clock].values))
    return stated


def _may_lack_weighting(stated: Stated) -> bool:
    """Return whether private elements may say what standard ones do not.

    Some scanners state a standard b-value and a private direction.
    """
    b_values = stated["b_value"]
    if not b_values.is_stated:
        return True
    is_weighted = any(value is not None and value > 0 for value in b_values.values)
    return is_weighted and not stated["direction"].is_stated


def _columns(
    catalog: Catalog, name: str, asked: list[Any], keys: Sequence[tuple[int, int]]
) -> Stated:
    answer = catalog.connection.execute(statement(name, "pixels"), asked)
    names = [described[0] for described in answer.description or ()][2:]
    rows = {row[:2]: row[2:] for row in answer.fetchall()}
    listed = [rows.get(key, (None,) * len(names)) for key in keys]
    return {
        name: column([_fixed(row[number]) for row in listed]) for number, name in enumerate(names)
    }


def column(values: list[Any]) -> Column:
    """Return values with their ranks.

    >>> column([30.0, None, 10.0]).ranks.tolist()
    [2, 0, 1]
    """
    ordered = sorted(set(values), key=_order)
    ranks = {value: rank for rank, value in enumerate(ordered)}
    return Column(values, np.array([ranks[value] for value in values], int), None not in ranks)


def numbered(stated: Stated, levels: np.ndarray) -> np.ndarray | str:
    """Return the index of the volume of each frame, or why there are no volumes.

    Parameters
    ----------
    stated
        Attributes of the frames.
    levels
        Slice index of each frame; every slice has the same number of frames.
    """
    depth = int(levels.max()) + 1

    def table(ranks: np.ndarray, order: np.ndarray) -> np.ndarray:
        made: np.ndarray = ranks[order].reshape(depth, -1)
        return made

    def is_shared(ranks: np.ndarray) -> bool:
        sorted_ranks = table(ranks, np.lexsort((ranks, levels)))
        return bool((sorted_ranks == sorted_ranks[0]).all())

    alike = [
        found.ranks
        for name in SHARED
        if (found := stated[name]).varies and is_shared(found.ranks)
    ]  # fmt: skip
    alike += [stated[name].ranks for name in CONDITIONS if stated[name].varies]
    times = [stated[name].ranks for name in ORDERS if stated[name].is_complete]
    for keys in [*([time] for time in times), alike, *([*alike, time] for time in times)]:
        if not keys:
            continue
        order = np.lexsort((*reversed(keys), levels))
        same = np.array([table(ranks, order) for ranks in keys])
        if (same[..., 1:] == same[..., :-1]).all(axis=0).any():
            continue  # it does not distinguish all frames
        tables = (table(ranks, order) for ranks in alike)
        if all((ranks == ranks[0]).all() for ranks in tables):
            volumes = np.empty(len(levels), np.int64)
            volumes[order] = np.tile(np.arange(len(levels) // depth), depth)
            return volumes
    times_each = f"each position occurs {len(levels) // depth} times"
    if not alike:
        return f"{times_each}, and no number or time says in which order"
    names = [name for name in (*SHARED, *CONDITIONS) if any(stated[name].ranks is r for r in alike)]
    reasons = [SHARED.get(name) or CONDITIONS[name] for name in names]
    return f"{times_each}, in no common order of {', '.join(reasons)}"


def mixed(stated: Stated, places: Sequence[tuple[int, ...]]) -> list[str]:
    """Return the attributes that differ between frames at one position."""
    found: list[str] = []
    for name, label in CONDITIONS.items():
        if stated[name].varies:
            pairs = set(zip(places, stated[name].ranks.tolist(), strict=True))
            if len(pairs) > len(set(places)):
                found.append(label)
    return found


def labels_of(stated: Stated, grid: np.ndarray, dims: Sequence[str]) -> Labels:
    """Return the labels of the positions along the axes before the slices.

    Parameters
    ----------
    stated
        Attributes of the frames.
    grid
        (axes …, slice): the frame at each position; -1 if there is none.
    dims
        Names of the axes, without that of the slices.
    """
    made = Labels()
    for name, values in _per_place(stated, grid):
        _put(made, name, values, dims)
    for axis in dims:
        source = _AXES.get(axis)
        label = source and (SHARED.get(source) or CONDITIONS.get(source))
        if label and made.dims.get(label) == (axis,):
            _put(made, axis, _array(made.values[label]), [axis])
    return made


def _per_place(stated: Stated, grid: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each label that has one value per position."""
    places = grid.reshape(-1, grid.shape[-1])
    for name in ("acquired_us", "elapsed_ms"):
        if stated[name].varies and stated[name].is_complete:
            # Slices are acquired one after another, so a volume starts with its first slice.
            taken = np.array(stated[name].values, np.float64)
            begins = np.where(places < 0, np.inf, taken[places]).min(axis=1)
            begins = (begins - begins.min()) / (1e6 if name == "acquired_us" else 1e3)
            yield "time_s", _array(begins.round(6).tolist()).reshape(grid.shape[:-1])
            break
    for name, label in {**SHARED, **CONDITIONS}.items():
        if name in {"acquired_us", "elapsed_ms"} or not stated[name].varies:
            continue
        known, ranks = stated[name].values, stated[name].ranks
        there = np.where(places < 0, -1, ranks[places])
        one = there.max(axis=1)
        if ((there != one[:, None]) & (places >= 0)).any():
            continue
        first = [int(place[place >= 0][0]) for place in places]
        values = [known[frame] for frame in first]
        if name == "vectors":
            for number, counter in enumerate(VECTORS):
                parts = [None if value is None else value[number] for value in values]
                yield counter, _array(parts).reshape(grid.shape[:-1])
        else:
            if name == "inversion_time" and all(len(value or [0]) == 1 for value in values):
                values = [value and value[0] for value in values]
            yield label, _array(values).reshape(grid.shape[:-1])


def _put(made: Labels, name: str, values: np.ndarray, dims: Sequence[str]) -> None:
    """Add a label with the axes along which it varies; a constant is not a label."""
    kept = list(dims)
    for axis in range(len(dims) - 1, -1, -1):
        first = values.take([0], axis)
        same = [a == b for a, b in zip(values.ravel(), np.broadcast_to(first, values.shape).ravel(),
                                       strict=True)]  # fmt: skip
        if all(same):
            values = values.take(0, axis)
            del kept[axis]
    if kept:
        made.values[name] = _listed(values)
        made.dims[name] = tuple(kept)


def _listed(values: np.ndarray) -> list[Any]:
    if values.ndim > 1:
        return [_listed(part) for part in values]
    return [list(value) if isinstance(value, tuple) else value for value in values]


def _array(values: Sequence[Any]) -> np.ndarray:
    """Return values of any kind as an array of objects, lists as tuples."""
    made = np.empty(len(values), object)
    for number, value in enumerate(values):
        made[number] = _fixed(value)
    return made


def _fixed(value: Any) -> Any:
    """Return a list as a tuple, and NaN, which equals nothing, and infinity as None."""
    if isinstance(value, list):
        return tuple(_fixed(part) for part in value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _order(value: Any) -> tuple[Any, ...]:
    """Return the sort key of a value: None first, also within lists."""
    if isinstance(value, tuple):
        return (True, tuple(_order(part) for part in value))
    return (False,) if value is None else (True, value)
