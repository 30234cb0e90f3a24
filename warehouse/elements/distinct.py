"""Decode many distinct value fields at once, with the results of ``values.decode``.

In: distinct value fields of one VR. Out: ``Decoded``: the number of values of each, and the values
as columns. Arrow and NumPy decode ordinary fields in bulk; all others are decoded one by one by
``decode``, so that ``warehouse.elements.values`` defines all results.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.elements.schema import INLINE_BYTES
from warehouse.elements.values import (
    _PARSERS,
    BINARY,
    CHARSET_TEXT,
    MAX_VALUES,
    SINGLE_TEXT,
    STRIPPED,
    TEXT,
    Value,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NUMBER_COLUMNS = {
    "integer": np.int64, "real": np.float64, "date": np.int32, "time_us": np.int64,
    "timestamp": np.int64, "length": np.int64,
}  # fmt: skip
TEXT_COLUMNS = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "sha256": pa.string(),
    "warning": pa.string(),
}

_ESCAPE = 0x1B
_DTYPES = {
    "US": "<u2",
    "SS": "<i2",
    "UL": "<u4",
    "SL": "<i4",
    "SV": "<i8",
    "FL": "<f4",
    "FD": "<f8",
}
_DS = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\z"
_IS = r"^[+-]?\d{1,18}\z"
_TM = r"^\d{6}(?:\.\d{1,6})?\z"


@dataclass(slots=True)
class Decoded:
    """Values of some value fields, in the order of the fields."""

    count: NDArray[np.int64]
    """Number of values of each field."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Column → array (Arrow for text, NumPy pair of values and validity for numbers)."""


def decode_distinct(
    vr: str, raws: pa.Array, charsets: Sequence[str], tag: str
) -> list[tuple[NDArray[np.int64], Decoded]]:
    """Decode non-empty value fields of one VR; yield parts, each with the indices of its fields."""
    everything = np.arange(len(raws))
    if vr in BINARY:
        return [(everything, _binary(raws))]
    if vr in TEXT:
        slow = _unusual_text(raws)
        make = _text
    elif vr in _DTYPES and not tag:
        size = np.dtype(_DTYPES[vr]).itemsize
        lengths = pc.binary_length(raws).to_numpy()
        slow = (lengths % size != 0) | (lengths > size * MAX_VALUES)
        make = _numbers
    else:
        slow = np.ones(len(raws), bool)
        make = _numbers
    parts = []
    if slow.any():
        rare = np.flatnonzero(slow)
        parts.append((rare, _one_by_one(vr, raws.take(pa.array(rare)).to_pylist(), charsets, tag)))
    usual = everything[~slow]
    if usual.size:
        some = raws if usual.size == len(raws) else raws.take(pa.array(usual))
        parts.append((usual, make(vr, some)))
    return parts


def from_values(count: list[int], values: list[Value]) -> Decoded:
    """Return values that were decoded one by one as columns."""
    columns: dict[str, Any] = {}
    for name, cells in zip(Value._fields, zip(*values, strict=True), strict=False):
        if name in TEXT_COLUMNS:
            if any(cell is not None for cell in cells):
                columns[name] = pa.array(cells, TEXT_COLUMNS[name])
        else:
            valid = np.array([cell is not None for cell in cells], bool)
            if valid.any():
                filled = [0 if cell is None else cell for cell in cells]
                columns[name] = (np.array(filled, NUMBER_COLUMNS[name]), valid)
    return Decoded(np.array(count, np.int64), columns)


def _one_by_one(vr: str, raws: list[bytes], charsets: Sequence[str], tag: str) -> Decoded:
    decoded = [decode(vr, raw, charsets=charsets, tag=tag) for raw in raws]
    return from_values(
        [len(values) for values in decoded], [v for values in decoded for v in values]
    )


def _binary(raws: pa.Array) -> Decoded:
    fields = raws.to_pylist()
    length = pc.binary_length(raws).to_numpy().astype(np.int64)
    short = pc.if_else(pa.array(length <= INLINE_BYTES), raws, pa.scalar(None, raws.type))
    return Decoded(
        np.ones(len(raws), np.int64),
        {
            "bytes": short.cast(pa.binary()),
            "length": (length, np.ones(len(raws), bool)),
            "sha256": pa.array([hashlib.sha256(raw).hexdigest() for raw in fields], pa.string()),
        },
    )


def content(raws: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the data buffer of an Arrow array of byte strings, and its offsets."""
    _, offsets, data = raws.buffers()
    wide = np.dtype(np.int64 if pa.types.is_large_binary(raws.type) else np.int32)
    at = np.frombuffer(offsets, wide)[raws.offset : raws.offset + len(raws) + 1].astype(np.int64)
    joined = (
        np.frombuffer(data, np.uint8)[at[0] : at[-1]] if data is not None else np.zeros(0, np.uint8)
    )
    return joined, at - at[0]


def _unusual_text(raws: pa.Array) -> NDArray[np.bool_]:
    """Return which fields are not plain ASCII, have escape sequences, or are extremely long."""
    joined, at = content(raws)
    unusual = np.diff(at) > MAX_VALUES
    odd = np.flatnonzero((joined >= 0x80) | (joined == _ESCAPE))
    unusual[np.searchsorted(at, odd, side="right") - 1] = True
    return unusual


def _text(vr: str, raws: pa.Array) -> Decoded:
    """Remove padding, split at backslashes, parse; ASCII only."""
    text = raws.cast(pa.large_string())
    trim = pc.utf8_trim if vr in STRIPPED else pc.utf8_rtrim
    text = trim(text, characters="\0 ")
    filled = pc.not_equal(text, "").to_numpy(zero_copy_only=False)
    count = filled.astype(np.int64)
    parts = text if filled.all() else text.filter(pa.array(filled))
    if vr not in SINGLE_TEXT:
        slashes = pc.count_substring(parts, "\\").to_numpy().astype(np.int64)
        if slashes.any():
            count[filled] += slashes
            parts = trim(pc.split_pattern(parts, "\\").flatten(), characters="\0 ")
    parts = parts.cast(pa.string())
    columns: dict[str, Any] = {"text": parts}
    if vr == "DS":
        _parse_fast(vr, parts, _DS, _floats, "real", columns)
    elif vr == "IS":
        _parse_fast(vr, parts, _IS, _integers, "integer", columns)
    elif vr == "TM":
        _parse_fast(vr, parts, _TM, _times, "time_us", columns)
    elif vr in _PARSERS and vr not in STRIPPED:
        parse = _PARSERS[vr]
        parsed = (
            from_values([], [parse(part) for part in parts.to_pylist()]) if len(parts) else None
        )
        columns = parsed.columns if parsed else columns
    return Decoded(count, columns)


def _parse_fast(
    vr: str, parts: pa.Array, pattern: str, parse: Any, name: str, columns: dict[str, Any]
) -> None:
    """Parse text of the usual form in bulk, and all other text one by one."""
    usual = pc.match_substring_regex(parts, pattern).to_numpy(zero_copy_only=False)
    values, valid = parse(parts, usual)
    columns[name] = (values, valid)
    rare = np.flatnonzero(~valid)
    if not rare.size:
        return
    warning: list[str | None] = [None] * len(parts)
    texts = parts.to_pylist()
    for i in rare.tolist():
        value = _PARSERS[vr](texts[i])
        number = getattr(value, name)
        if number is not None:
            values[i], valid[i] = number, True
        texts[i], warning[i] = value.text, value.warning
    columns["text"] = pa.array(texts, pa.string())
    if any(warning):
        columns["warning"] = pa.array(warning, pa.string())


def _floats(parts: pa.Array, usual: NDArray[np.bool_]) -> tuple[Any, Any]:
    values = np.zeros(len(parts))
    values[usual] = [float(part) for part in parts.filter(pa.array(usual)).to_pylist()]
    return values, usual & np.isfinite(values)


def _integers(parts: pa.Array, usual: NDArray[np.bool_]) -> tuple[Any, Any]:
    values = np.zeros(len(parts), np.int64)
    values[usual] = [int(part) for part in parts.filter(pa.array(usual)).to_pylist()]
    return values, usual.copy()


def _times(parts: pa.Array, usual: NDArray[np.bool_]) -> tuple[Any, Any]:
    values = np.zeros(len(parts), np.int64)
    values[usual] = [
        (int(part[:2]) * 3600 + int(part[2:4]) * 60 + int(part[4:6])) * 1_000_000
        + int(part[7:].ljust(6, "0"))
        if part[:2] < "24" and part[2:4] < "60" and part[4:6] < "60" else -1
        for part in parts.filter(pa.array(usual)).to_pylist()
    ]  # fmt: skip
    return values, usual & (values >= 0)


def _numbers(vr: str, raws: pa.Array) -> Decoded:
    joined, at = content(raws)
    numbers = np.frombuffer(joined.tobytes(), _DTYPES[vr])
    count = np.diff(at) // numbers.dtype.itemsize
    name = "real" if vr in {"FL", "FD"} else "integer"
    values = numbers.astype(NUMBER_COLUMNS[name])
    return Decoded(count, {name: (values, np.ones(len(values), bool))})


def needs_charset(raws: pa.Array) -> NDArray[np.bool_]:
    """Return which fields depend on the character set: those that are not plain ASCII."""
    return _unusual_text(raws)


def depends_on_charset(vr: str) -> bool:
    """Return whether Specific Character Set applies to a VR."""
    return vr in CHARSET_TEXT
