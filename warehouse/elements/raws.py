"""Deduplicate value fields, compared byte by byte.

In: an arena and the elements found in it. Out: ``Raws``. Values repeat between headers: half a
million values of two thousand files have some ten thousand distinct ones, and only these are
decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.found import Found
    from warehouse.dicom.heads import Heads

_VIEW_INLINE = 12
"""Largest value that Arrow stores inside its view."""

_LOW = np.array([(1 << 8 * min(k, 8)) - 1 for k in range(_VIEW_INLINE + 1)], np.uint64)
_HIGH = np.array([(1 << 8 * max(k - 8, 0)) - 1 for k in range(_VIEW_INLINE + 1)], np.uint64)
_BITS = np.uint64(32)
_BLOCK = 1 << 15


@dataclass(frozen=True, slots=True)
class Raws:
    """Distinct value fields."""

    bytes: pa.BinaryArray
    of_value: NDArray[np.int32]
    """For each element, the position of its value in ``bytes``."""


def distinct_raws(heads: Heads, found: Found) -> Raws:
    """Find the distinct values in the arena, compared byte by byte.

    An element without a value there (empty, or a sequence) counts as zero bytes.
    """
    encoded = _views(heads, found).cast(pa.large_binary()).dictionary_encode()
    return Raws(encoded.dictionary, encoded.indices.to_numpy())


def _views(heads: Heads, found: Found) -> pa.Array:
    """Wrap the values as an Arrow array without copying the long ones."""
    views = np.empty((len(found.file), 2), "<u8")
    # Process blocks that fit in the CPU cache.
    for start in range(0, len(views), _BLOCK):
        block = slice(start, start + _BLOCK)
        at = found.value_at[block]
        length = np.where(at < 0, 0, np.maximum(found.length[block], 0))
        short = length <= _VIEW_INLINE
        kept = np.minimum(length, _VIEW_INLINE)
        low = found.low[block] & np.where(short, _LOW[kept], np.uint64(0xFFFFFFFF))
        high = found.high[block] & _HIGH[kept]
        views[block, 0] = low << _BITS | length.astype(np.uint64)
        views[block, 1] = np.where(
            short, low >> _BITS | high << _BITS, at.astype(np.uint64) << _BITS
        )
    return pa.Array.from_buffers(
        pa.binary_view(), len(views), [None, pa.py_buffer(views), pa.py_buffer(heads.arena)]
    )
