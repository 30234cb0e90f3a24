"""Rasterize closed outlines by the even-odd rule: pixels whose center lies inside.

In: points in (row, column), from 0 at the center of the first pixel. Out: a mask. NumPy only, and
memory is bounded however many points there are.

Each edge is cut with the center lines of the rows. Every cut toggles the pixels to its right, so
that a pixel is inside if an odd number of cuts lies left of it: outlines of one plane combine by
XOR, and a keyhole takes its hole away. A center on an outline belongs to the pixel on its right
and below it, so that outlines that touch share no pixel and leave none out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

_CUTS_AT_ONCE = 1 << 20
"""Cuts of edges with rows in memory."""


def filled(outlines: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels inside of outlines that lie in one plane, combined by XOR.

    Parameters
    ----------
    outlines
        (n, 2) float: rows and columns of the points of each; the last is joined to the first.
    shape
        Rows, columns.

    Returns
    -------
    numpy.ndarray
        (row, column) bool.

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])
    >>> filled([square], (4, 4)).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    rows, columns = shape
    toggles = np.zeros((rows, columns + 1), np.uint8)
    for outline in outlines:
        _toggle(toggles, outline, rows, columns)
    inside: np.ndarray = np.bitwise_xor.accumulate(toggles[:, :columns], axis=1).astype(bool)
    return inside


def _toggle(toggles: np.ndarray, outline: np.ndarray, rows: int, columns: int) -> None:
    begin, end = outline, np.roll(outline, -1, axis=0)
    low, high = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
    # Rows r with low <= r < high.
    first = np.clip(np.ceil(low), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(high), 0, rows).astype(np.int64)
    counts = np.maximum(last - first, 0)
    edges = np.flatnonzero(counts)
    while edges.size:
        fits = max(1, int(np.searchsorted(np.cumsum(counts[edges]), _CUTS_AT_ONCE, side="right")))
        some, edges = edges[:fits], edges[fits:]
        which = np.repeat(some, counts[some])
        starts = np.cumsum(counts[some]) - counts[some]
        row = first[which] + np.arange(which.size) - np.repeat(starts, counts[some])
        a, b = begin[which], end[which]
        column = a[:, 1] + (row - a[:, 0]) * (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0])
        place = np.clip(np.ceil(column), 0, columns).astype(np.int64)
        np.bitwise_xor.at(toggles, (row, place), 1)
