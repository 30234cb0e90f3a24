"""Display settings of segmentations and heat maps: overlay segments and look-up tables.

In: JSON written by a user. Out: the same, normalized, or ``SocketRefused``.
"""

from __future__ import annotations

import math
import re
from typing import Any

from warehouse.errors import SocketRefused

MAX_SEGMENTS = 64

Segments = list[dict[str, Any]]

_SEGMENT = {"voxel_value": int, "name": str, "visible": bool}
_INTERPOLATIONS = ("RGB", "HLS", "HLSpos", "HLSneg", "Constant")
_INT16 = range(-32768, 32768)


def checked_segments(segments: Any, *, is_segmentation: bool) -> Segments:
    """Validate and normalize the overlay segments of a socket.

    Parameters
    ----------
    segments
        A list of ``{"voxel_value": 1, "name": "Lung", "visible": true}``, optionally with
        ``metric_template`` of the older edition.
    is_segmentation
        Whether the socket is for segmentations, which need segments; others must have none.

    Raises
    ------
    SocketRefused
    """
    field = "overlay_segments"
    if not isinstance(segments, list):
        raise SocketRefused(field, "has to be a list")
    if is_segmentation != bool(segments):
        raise SocketRefused(
            field, "of a segmentation must not be empty" if is_segmentation
            else "is for segmentations only",
        )  # fmt: skip
    if len(segments) > MAX_SEGMENTS:
        raise SocketRefused(field, f"has more than {MAX_SEGMENTS} entries")
    checked = [_segment(segment, number) for number, segment in enumerate(segments)]
    values = [segment["voxel_value"] for segment in checked]
    if len(set(values)) != len(values):
        raise SocketRefused(field, "has two entries for one voxel value")
    all_values = {*values, 0}
    if values and max(all_values) - min(all_values) + 1 != len(all_values):
        raise SocketRefused(
            field, "leaves out a voxel value: together with 0 they have to be consecutive"
        )
    return checked


def _segment(segment: Any, number: int) -> dict[str, Any]:
    field = f"overlay_segments[{number}]"
    if not isinstance(segment, dict) or set(segment) - {"metric_template"} != set(_SEGMENT):
        raise SocketRefused(field, "has exactly the keys voxel_value, name and visible")
    value = segment["voxel_value"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    checked = segment | {"voxel_value": value}
    for key, kind in (*_SEGMENT.items(), ("metric_template", str)):
        if key in checked and (type(checked[key]) is not kind):
            raise SocketRefused(f"{field}.{key}", f"has to be of type {kind.__name__}")
    return checked


def require_extended(before: Segments, after: Segments) -> None:
    """Check that an edit only adds segments, or shows or hides them, as the socket has values.

    Raises
    ------
    SocketRefused
    """
    names = {segment["voxel_value"]: segment["name"] for segment in after}
    for segment in before:
        if names.get(segment["voxel_value"]) != segment["name"]:
            raise SocketRefused(
                "overlay_segments",
                "cannot be changed or removed while values use them; new ones may be added, and "
                "visible may change",
            )


def checked_table(table: Any) -> dict[str, Any]:
    """Validate a look-up table and add the defaults of missing fields.

    Parameters
    ----------
    table
        ``title``, ``color`` (four numbers per entry: ``[0 0 0 0, 255 0 0 4095]``) and ``alpha``
        (two per entry); the other fields of Grand Challenge's look-up tables have defaults.

    Raises
    ------
    SocketRefused
    """
    field = "look_up_table"
    defaults = {
        "title": None, "slug": "", "description": "", "color": None, "alpha": None,
        "color_invert": "", "alpha_invert": "", "range_min": 0, "range_max": 4095,
        "relative": False, "color_interpolation": "RGB", "color_interpolation_invert": "RGB",
    }  # fmt: skip
    if not isinstance(table, dict) or set(table) - {*defaults, "pk"}:
        raise SocketRefused(field, f"is an object of {', '.join(defaults)}")
    checked: dict[str, Any] = defaults | {k: v for k, v in table.items() if k != "pk"}
    for name, value in checked.items():
        if name not in {"range_min", "range_max", "relative"} and not isinstance(value, str):
            raise SocketRefused(f"{field}.{name}", "has to be a text")
    if not checked["title"]:
        raise SocketRefused(f"{field}.title", "must not be empty")
    for name in ("range_min", "range_max"):
        if type(checked[name]) is not int or checked[name] not in _INT16:
            raise SocketRefused(f"{field}.{name}", "has to be an integer of 16 bits")
    if type(checked["relative"]) is not bool:
        raise SocketRefused(f"{field}.relative", "has to be true or false")
    for name in ("color_interpolation", "color_interpolation_invert"):
        if checked[name] not in _INTERPOLATIONS:
            raise SocketRefused(f"{field}.{name}", f"is one of {', '.join(_INTERPOLATIONS)}")
    for end in ("", "_invert"):
        color, alpha = checked[f"color{end}"], checked[f"alpha{end}"]
        if end and not color and not alpha:
            continue
        counts = (
            _count_entries(color, 4, f"{field}.color{end}"),
            _count_entries(alpha, 2, f"{field}.alpha{end}"),
        )
        if counts[0] != counts[1]:
            raise SocketRefused(f"{field}.alpha{end}", "and color have different numbers of points")
    return checked


def _count_entries(text: str, size: int, field: str) -> int:
    """Return the number of entries of a bracketed list, each of ``size`` numbers."""
    message = f"is written [{' '.join(['n'] * size)}, {' '.join(['n'] * size)}, …]"
    if not re.fullmatch(r"\[[-+0-9.eE ,]*\]", text):
        raise SocketRefused(field, message)
    entries = text[1:-1].split(",")
    for entry in entries:
        try:
            numbers = [float(number) for number in entry.split()]
        except ValueError:
            raise SocketRefused(field, message) from None
        if len(numbers) != size or not all(map(math.isfinite, numbers)):
            raise SocketRefused(field, message)
    return len(entries)
