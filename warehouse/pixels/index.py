"""Normalize NumPy's basic indexing to one part per axis. Pure functions.

In: an index and a shape. Out: one part per axis, and the positions of new axes.
"""

from __future__ import annotations

import operator
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Part = int | slice


def expand(index: Any, shape: Sequence[int]) -> tuple[list[Part], tuple[int, ...]]:
    """Return one part per axis for a basic index, and the positions of new axes.

    >>> expand((..., 2), (4, 5, 6))
    ([slice(None, None, None), slice(None, None, None), 2], ())
    >>> expand((None, 1), (4, 5))
    ([1, slice(None, None, None)], (0,))
    """
    given = list(index) if isinstance(index, tuple) else [index]
    used = sum(1 for part in given if part is not None and part is not Ellipsis)
    dots = sum(1 for part in given if part is Ellipsis)
    if dots > 1 or used > len(shape):
        raise IndexError(f"too many indices: this volume has {len(shape)} axes")
    if not dots:
        given.append(Ellipsis)
    parts: list[Part] = []
    new_axes: list[int] = []
    axis = 0
    for part in given:
        if part is None:
            new_axes.append(axis)
            axis += 1
        elif isinstance(part, EllipsisType):
            rest = len(shape) - used
            parts += [slice(None)] * rest
            axis += rest
        elif isinstance(part, slice):
            parts.append(part)
            axis += 1
        else:
            parts.append(_integer(part, shape[len(parts)], len(parts)))
    return parts, tuple(new_axes)


def _integer(part: Any, length: int, axis: int) -> int:
    if isinstance(part, bool | np.bool_):
        raise _not_basic()
    try:
        number = operator.index(part)
    except TypeError:
        raise _not_basic() from None
    if not -length <= number < length:
        raise IndexError(f"index {number} is out of bounds for axis {axis} with size {length}")
    return number % length


def _not_basic() -> IndexError:
    return IndexError(
        "a lazy volume takes integers, slices, ... and None; np.asarray(volume)[...] takes the rest"
    )


def length_of(part: Part, length: int) -> int | None:
    """Return the length of an axis after indexing; None for an integer, which removes it."""
    return len(range(*part.indices(length))) if isinstance(part, slice) else None
