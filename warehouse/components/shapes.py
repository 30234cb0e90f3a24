"""Convert annotations to one row per shape, and back.

In: a valid value of one of the 16 annotation kinds. Out: Arrow rows of ``ANNOTATIONS``, and a head:
the type, version and name of the value. ``rebuilt`` restores the JSON without loss. Coordinates are
float64; shapes with integers that float64 cannot represent also have their JSON in ``as_written``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.components import json_text
from warehouse.components.kinds import Kind, find_kind
from warehouse.errors import ValueRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Shape = dict[str, Any]

POINTS = pa.list_(pa.list_(pa.float64()))
_LENGTHS = pa.list_(pa.int64())

ANNOTATIONS = pa.schema(
    [
        ("value_id", pa.string()),
        ("index", pa.int64()),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("probability", pa.float64()),
        ("sub_type", pa.string()),
        ("groups", pa.list_(pa.string())),
        ("has_type", pa.bool_()),
        ("seed_points", POINTS),
        ("points", POINTS),
        ("part_lengths", pa.list_(pa.int64())),
        ("as_written", pa.string()),
    ]
)
"""One row per shape; the columns are described in sql/1_long/annotations.sql."""

_EXACT = 2**53
"""Integers up to this size are exact in float64."""


def head_of(kind: Kind, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the head of a value: type, version, and the name of a Multiple* annotation.

    >>> head_of(find_kind("POIN"), {"type": "Point", "version": {"major": 1}, "point": [1, 2, 3]})
    {'type': 'Point', 'version': {'major': 1}}
    """
    keys = {"type", "version"} | ({"name"} if kind.item_kind else set())
    return {key: entry for key, entry in value.items() if key in keys}


def items_of(kind: Kind, value: Mapping[str, Any]) -> list[Shape]:
    """Return the shapes of a value."""
    if kind.item_kind:
        items: list[Shape] = value[kind.items_key]
        return items
    return [{key: entry for key, entry in value.items() if key not in {"type", "version"}}]


def rows_of(value_id: str, kind: Kind, shapes: Sequence[Shape], first: int = 0) -> pa.Table:
    """Convert shapes of a value to rows of ``ANNOTATIONS``.

    Parameters
    ----------
    value_id
        Id of the value.
    kind
        Kind of the value; its shapes have the kind ``kind.shape_kind``.
    shapes
        Valid shapes.
    first
        Index of the first shape in the value.

    Raises
    ------
    ValueRefused
        A coordinate exceeds the range of float64.
    """
    code = kind.shape_kind
    seeds, points, lengths = _COORDINATES[code](shapes)
    arrays, is_exact = _points(points, len(shapes))
    seed_arrays, seeds_exact = _points(seeds, len(shapes))
    json_texts: list[str | None] = [None] * len(shapes)
    if not (is_exact and seeds_exact):
        json_texts = [None if _is_exact(shape) else json_text.canonical(shape) for shape in shapes]
    count = len(shapes)
    columns = [
        pa.array([value_id] * count, pa.string()),
        pa.array(np.arange(first, first + count)),
        pa.array([code] * count, pa.string()),
        pa.array([shape.get("name") for shape in shapes], pa.string()),
        pa.array([shape.get("probability") for shape in shapes], pa.float64()),
        pa.array([shape.get("sub_type") for shape in shapes], pa.string()),
        pa.array([shape.get("groups") for shape in shapes], pa.list_(pa.string())),
        pa.array(["type" in shape for shape in shapes], pa.bool_()),
        seed_arrays,
        arrays,
        pa.nulls(count, _LENGTHS) if lengths is None else pa.array(lengths, _LENGTHS),
        pa.array(json_texts, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=ANNOTATIONS)


def rebuilt(kind: Kind, head: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> Any:
    """Restore a value from its head and its rows, which are ordered by index.

    >>> kind = find_kind("POIN")
    >>> value = {"type": "Point", "version": {"major": 1, "minor": 0}, "point": [1.0, 2.0, 3.0]}
    >>> rows = rows_of("id", kind, items_of(kind, value)).to_pylist()
    >>> rebuilt(kind, head_of(kind, value), rows) == value
    True
    """
    shapes = [_shape(row) for row in rows]
    if kind.item_kind:
        return {**head, kind.items_key: shapes}
    (shape,) = shapes
    return {**head, **shape}


def _shape(row: Mapping[str, Any]) -> Shape:
    if row["as_written"] is not None:
        original: Shape = json.loads(row["as_written"])
        return original
    code, points = row["kind"], row["points"]
    shape: Shape = {key: row[key] for key in ("name", "probability") if row[key] is not None}
    if row["has_type"]:
        shape["type"] = find_kind(code).label
    if code == "POLY":
        shape |= {
            "seed_point": row["seed_points"][0], "path_points": points,
            "sub_type": row["sub_type"], "groups": row["groups"],
        }  # fmt: skip
    elif code == "LINE":
        parts, begin = [], 0
        for length in row["part_lengths"]:
            parts.append(points[begin : begin + length])
            begin += length
        shape |= {"seed_points": row["seed_points"], "path_point_lists": parts}
    elif code == "DIST":
        shape |= {"start": points[0], "end": points[1]}
    elif code == "POIN":
        shape["point"] = points[0]
    elif code == "ANGL":
        shape["lines"] = [points[:2], points[2:]]
    elif code == "ELLI":
        shape |= {"major_axis": points[:2], "minor_axis": points[2:]}
    else:
        shape[{"2DBB": "corners", "3ANG": "angle"}[code]] = points
    return shape


_Lists = list[list[list[float]]]
_Coordinates = tuple[_Lists | None, _Lists, list[list[int]] | None]


def _line_coordinates(shapes: Sequence[Shape]) -> _Coordinates:
    flat = [[p for part in s["path_point_lists"] for p in part] for s in shapes]
    lengths = [[len(part) for part in s["path_point_lists"]] for s in shapes]
    return [s["seed_points"] for s in shapes], flat, lengths


_COORDINATES: dict[str, Callable[[Sequence[Shape]], _Coordinates]] = {
    "2DBB": lambda shapes: (None, [s["corners"] for s in shapes], None),
    "DIST": lambda shapes: (None, [[s["start"], s["end"]] for s in shapes], None),
    "POIN": lambda shapes: (None, [[s["point"]] for s in shapes], None),
    "POLY": lambda shapes: (
        [[s["seed_point"]] for s in shapes], [s["path_points"] for s in shapes], None,
    ),
    "LINE": _line_coordinates,
    "ANGL": lambda shapes: (None, [[*s["lines"][0], *s["lines"][1]] for s in shapes], None),
    "ELLI": lambda shapes: (None, [[*s["major_axis"], *s["minor_axis"]] for s in shapes], None),
    "3ANG": lambda shapes: (None, [s["angle"] for s in shapes], None),
}  # fmt: skip
"""Kind of shape → function that returns seed points, points, and points per part."""


def _points(shapes: _Lists | None, count: int) -> tuple[pa.Array, bool]:
    """Return lists of points as an Arrow array, and whether they are exact in float64."""
    if shapes is None:
        return pa.nulls(count, POINTS), True
    offsets = np.zeros(len(shapes) + 1, np.int32)
    np.cumsum([len(points) for points in shapes], out=offsets[1:])
    flat = [number for points in shapes for point in points for number in point]
    try:
        numbers: NDArray[np.float64] = np.array(flat, np.float64)
    except OverflowError:
        raise ValueRefused("a coordinate exceeds the range of float64") from None
    points_array = pa.ListArray.from_arrays(
        pa.array(np.arange(0, numbers.size + 3, 3, dtype=np.int32)[: numbers.size // 3 + 1]),
        pa.array(numbers),
    )
    is_exact = bool(numbers.size == 0 or np.abs(numbers).max() < _EXACT)
    return pa.ListArray.from_arrays(pa.array(offsets), points_array), is_exact


def _is_exact(value: Any) -> bool:
    """Return whether every integer of a shape is exact in float64."""
    if isinstance(value, dict):
        return all(map(_is_exact, value.values()))
    if isinstance(value, list):
        return all(map(_is_exact, value))
    return not isinstance(value, int) or int(float(value)) == value
