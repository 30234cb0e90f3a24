"""Places of values in an arena → each distinct sequence of bytes once, and who has it.

In: an arena, begin and length of each value. Out: ``Raws``. Headers repeat: half a million values
of two thousand files hold some ten thousand distinct ones, and only those are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.heads import Heads

_VIEW_INLINE = 12
"""Bytes up to which Arrow keeps a value inside its view."""

_LOW = np.array([(1 << 8 * min(k, 8)) - 1 for k in range(_VIEW_INLINE + 1)], np.uint64)
_HIGH = np.array([(1 << 8 * max(k - 8, 0)) - 1 for k in range(_VIEW_INLINE + 1)], np.uint64)
_BITS = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Raws:
    """Distinct value fields."""

    bytes: pa.BinaryArray
    of_value: NDArray[np.int64]
    """For each value given, its place in ``bytes``."""


def distinct_raws(heads: Heads, at: NDArray[np.int64], length: NDArray[np.int64]) -> Raws:
    """Find the distinct ones among many values in the arena; all compared byte by byte."""
    encoded = _views(heads, at, length).cast(pa.large_binary()).dictionary_encode()
    return Raws(encoded.dictionary, encoded.indices.to_numpy().astype(np.int64))


def _views(heads: Heads, at: NDArray[np.int64], length: NDArray[np.int64]) -> pa.Array:
    """Wrap the values as an Arrow array without copying the long ones."""
    views = np.empty((len(at), 2), "<u8")
    short = length <= _VIEW_INLINE
    kept = np.minimum(length, _VIEW_INLINE)
    low = heads.words[at] & np.where(short, _LOW[kept], np.uint64(0xFFFFFFFF))
    high = heads.halves[at + 8] & _HIGH[kept]
    views[:, 0] = length.view(np.uint64) | low << _BITS
    views[:, 1] = np.where(short, low >> _BITS | high << _BITS, at.view(np.uint64) << _BITS)
    return pa.Array.from_buffers(
        pa.binary_view(), len(at), [None, pa.py_buffer(views), pa.py_buffer(heads.arena)]
    )
