"""JSON Schemas (draft 7) of the JSON kinds.

In: a kind. Out: its schema, as Grand Challenge documents it. Schemas of shapes are composed of
those of points, names, probabilities and versions; a Multiple* kind has a list of items, which have
no version and need no type.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib import resources
from typing import Any

from warehouse.components.kinds import Kind, find_kind

Schema = dict[str, Any]

CHART_SCHEMA = "v5.23.0.json.gz"
"""Vega-Lite 5.23.0 (BSD-3-Clause, license beside it); see ``vega_lite/ORIGIN.txt``."""

POINT: Schema = {
    "type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3,
}  # fmt: skip


def _list(items: Schema, count: int | None = None) -> Schema:
    schema: Schema = {"type": "array", "items": items}
    return schema if count is None else schema | {"minItems": count, "maxItems": count}


_TEXT: Schema = {"type": "string"}
_SEGMENT = _list(POINT, 2)
_STEP: Schema = {"type": "number", "minimum": 0, "multipleOf": 1}

SHAPES: dict[str, Schema] = {
    "2DBB": {"corners": _list(POINT, 4)},
    "DIST": {"start": POINT, "end": POINT},
    "POIN": {"point": POINT},
    "POLY": {
        "seed_point": POINT, "path_points": _list(POINT), "sub_type": _TEXT, "groups": _list(_TEXT),
    },
    "LINE": {"seed_points": _list(POINT), "path_point_lists": _list(_list(POINT))},
    "ANGL": {"lines": _list(_SEGMENT, 2)},
    "ELLI": {"major_axis": _SEGMENT, "minor_axis": _SEGMENT},
    "3ANG": {"angle": _list(POINT, 3)},
}  # fmt: skip
"""Keys that a shape of each kind must have, besides version and type."""

_PLAIN: dict[str, Schema] = {
    "STR": _TEXT,
    "INT": {"type": "integer"},
    "FLT": {"type": "number"},
    "BOOL": {"type": "boolean"},
    "JSON": {},
    "CHOI": _TEXT,
    "MCHO": _list(_TEXT),
    "ATRG": {
        "type": "object",
        "properties": {"3d_affine_transform": _list(_list({"type": "number"}, 4), 4)},
        "required": ["3d_affine_transform"],
    },
}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": False,
    }  # fmt: skip


def item_schema(code: str) -> Schema:
    """Return the schema of an item of a Multiple* kind, by the kind of its shape.

    >>> item_schema("POIN")["required"]
    ['point']
    """
    shape = SHAPES[code]
    optional = {
        "name": _TEXT,
        "type": {"const": find_kind(code).label},
        "probability": _PROBABILITY,
    }
    return _object(shape | optional, list(shape))


def head_schema(kind: Kind, properties: Schema) -> Schema:
    """Return the schema of an annotation with these properties besides name, type and version."""
    common = {
        "name": _TEXT, "type": {"const": kind.label},
        "version": _object({"major": _STEP, "minor": _STEP}, ["major", "minor"]),
    }  # fmt: skip
    return _object(properties | common, ["version", "type", *properties])


_PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}


@cache
def kind_schema(code: str) -> Schema:
    """Return the schema of the values of a JSON kind.

    >>> kind_schema("MCHO")
    {'type': 'array', 'items': {'type': 'string'}}
    """
    kind = find_kind(code)
    if code == "CHART":
        file = resources.files("warehouse.components").joinpath("vega_lite", CHART_SCHEMA)
        chart: Schema = json.loads(gzip.decompress(file.read_bytes()))
        return chart
    if code in _PLAIN:
        return _PLAIN[code]
    if kind.item_kind:
        return head_schema(kind, {kind.items_key: _list(item_schema(kind.item_kind))})
    schema = head_schema(kind, SHAPES[code])
    return schema | {"properties": schema["properties"] | {"probability": _PROBABILITY}}
