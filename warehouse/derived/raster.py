"""Rasterize closed outlines by the even-odd rule: pixels whose center is inside.

In: points as (row, column), from 0 at the center of the first pixel. Out: a mask. NumPy only;
memory is bounded for any number of points.

Each edge is intersected with the center lines of the rows. An intersection toggles all pixels to
its right, so that a pixel is inside if an odd number of intersections is left of it: outlines of
one plane combine by XOR, and a keyhole removes its hole. Pixel centers exactly on an outline count
as inside at its upper and left edges only, so that adjacent outlines share no pixel and leave no
gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_INTERSECTIONS = 1 << 20
"""Maximum number of intersections of edges with rows in memory."""


def filled(outlines: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of the pixels inside outlines of one plane, combined by XOR.

    Parameters
    ----------
    outlines
        (n, 2) float each: row and column of the points; the last is connected to the first.
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
    """Toggle the first pixel to the right of each intersection of an outline with a row."""
    start, end = outline, np.roll(outline, -1, axis=0)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    # Rows r with low <= r < high: from first to last - 1.
    first = np.clip(np.ceil(low), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(high), 0, rows).astype(np.int64)
    counts = np.maximum(last - first, 0)
    edges = np.flatnonzero(counts)
    while edges.size:
        fits = max(
            1, int(np.searchsorted(np.cumsum(counts[edges]), _MAX_INTERSECTIONS, side="right"))
        )
        selected, edges = edges[:fits], edges[fits:]
        edge_of = np.repeat(selected, counts[selected])
        starts = np.cumsum(counts[selected]) - counts[selected]
        row = first[edge_of] + np.arange(edge_of.size) - np.repeat(starts, counts[selected])
        a, b = start[edge_of], end[edge_of]
        column = a[:, 1] + (row - a[:, 0]) * (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0])
        first_inside = np.clip(np.ceil(column), 0, columns).astype(np.int64)
        np.bitwise_xor.at(toggles, (row, first_inside), 1)
