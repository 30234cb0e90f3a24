"""An example value of every JSON kind."""

from __future__ import annotations

from typing import Any

_VERSION = {"major": 1, "minor": 0}


def _single(label: str, **shape: Any) -> dict[str, Any]:
    return {"version": _VERSION, "type": label, "name": "first", "probability": 0.9, **shape}


def _multiple(label: str, key: str, **shape: Any) -> dict[str, Any]:
    items = [{"name": "first", "probability": 0.9, **shape}, shape]
    return {"version": _VERSION, "type": label, "name": "all", key: items}


_BOX: dict[str, Any] = {"corners": [[10, 20, 0.5], [40, 20, 0.5], [40, 60, 0.5], [10, 60, 0.5]]}
_ENDS: dict[str, Any] = {"start": [10, 20, 0.5], "end": [13, 24, 0.5]}
_POINT: dict[str, Any] = {"point": [10, 20, 0.5]}
_POLYGON: dict[str, Any] = {
    "seed_point": [10, 20, 0.5], "path_points": [[10, 20, 0.5], [40, 20, 0.5], [40, 60, 0.5]],
    "sub_type": "brush", "groups": ["manual"],
}  # fmt: skip
_LINE: dict[str, Any] = {
    "seed_points": [[10, 20, 0.5]], "path_point_lists": [[[10, 20, 0.5], [40, 20, 0.5]]],
}  # fmt: skip
_ANGLE: dict[str, Any] = {
    "lines": [[[10, 20, 0.5], [40, 20, 0.5]], [[10, 20, 0.5], [10, 60, 0.5]]],
}  # fmt: skip
_ELLIPSE: dict[str, Any] = {
    "major_axis": [[10, 20, 0.5], [50, 20, 0.5]], "minor_axis": [[30, 10, 0.5], [30, 30, 0.5]],
}  # fmt: skip
_THREE: dict[str, Any] = {"angle": [[40, 20, 0.5], [10, 20, 0.5], [10, 60, 0.5]]}

EXAMPLES: dict[str, Any] = {
    "STR": "text",
    "INT": 7,
    "FLT": 0.5,
    "BOOL": True,
    "JSON": {"any": ["thing", None]},
    "CHART": {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": [{"x": "a", "y": 1}, {"x": "b", "y": 3}]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "x", "type": "nominal"}, "y": {"field": "y", "type": "quantitative"},
        },
    },
    "2DBB": _single("2D bounding box", **_BOX),
    "M2DB": _multiple("Multiple 2D bounding boxes", "boxes", **_BOX),
    "DIST": _single("Distance measurement", **_ENDS),
    "MDIS": _multiple("Multiple distance measurements", "lines", **_ENDS),
    "POIN": _single("Point", **_POINT),
    "MPOI": _multiple("Multiple points", "points", **_POINT),
    "POLY": _single("Polygon", **_POLYGON),
    "MPOL": _multiple("Multiple polygons", "polygons", **_POLYGON),
    "LINE": _single("Line", **_LINE),
    "MLIN": _multiple("Multiple lines", "lines", **_LINE),
    "ANGL": _single("Angle", **_ANGLE),
    "MANG": _multiple("Multiple angles", "angles", **_ANGLE),
    "ELLI": _single("Ellipse", **_ELLIPSE),
    "MELL": _multiple("Multiple ellipses", "ellipses", **_ELLIPSE),
    "3ANG": _single("Three-point angle", **_THREE),
    "M3AN": _multiple("Multiple three-point angles", "angles", **_THREE),
    "ATRG": {"3d_affine_transform": [[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
    "CHOI": "benign",
    "MCHO": ["left", "right"],
}  # fmt: skip
