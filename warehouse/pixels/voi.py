"""Apply a window or VOI LUT to rescaled values, for display (PS3.3 C.11.2).

In: the module VOI LUT of an image or of a functional group. Out: ``Voi``. The arithmetic of windows
is pydicom's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from warehouse.pixels.lut import Damaged, Table, table_of
from warehouse.pixels.mappings import number

if TYPE_CHECKING:
    from collections.abc import Sequence

_FULL = 255.0
_FUNCTIONS = {"LINEAR", "LINEAR_EXACT", "SIGMOID"}


@dataclass(frozen=True, slots=True, eq=False)
class Voi:
    """A window, or a table where there is one."""

    center: float = 0.0
    width: float = 1.0
    function: str = "LINEAR"
    table: Table | None = None

    def apply(self, values: np.ndarray, *, inverted: bool = False) -> np.ndarray:
        """Return uint8, 0 to 255; NaN becomes 0."""
        if self.table is not None:
            top = 2.0**self.table.bits - 1
            return as_bytes(self.table.look_up(values) * (_FULL / top), inverted=inverted)
        # pydicom assigns to items, which a single value does not have.
        shown = apply_windowing(np.atleast_1d(values), self._window())
        return as_bytes(shown, inverted=inverted).reshape(np.shape(values))

    def _window(self) -> Dataset:
        """Return the window as pydicom takes it, from 0 to 255 whatever was stored."""
        facts = Dataset()
        facts.BitsStored, facts.BitsAllocated, facts.PixelRepresentation = 8, 8, 0
        facts.PhotometricInterpretation = "MONOCHROME2"
        facts.WindowCenter, facts.WindowWidth = float(self.center), float(self.width)
        facts.VOILUTFunction = self.function
        return facts


def given(window: tuple[float, float], *, whole: bool) -> Voi:
    """Return a window of the caller, who states no function.

    LINEAR is defined for whole numbers: it leaves out the last 1 of a window, which may be most of
    it in g/ml or Gy (PS3.3 C.11.2.1.2.1, C.11.2.1.3.2).
    """
    return Voi(*window, "LINEAR" if whole else "LINEAR_EXACT")


def voi_of(
    header: Dataset, groups: Sequence[Dataset], values: tuple[float, float]
) -> Voi | None:  # fmt: skip
    """Return the first VOI LUT or window that is stated for a frame, None without one.

    Parameters
    ----------
    header
        The image.
    groups
        Functional groups of the frame, those of its own first.
    values
        Least and largest value that the modality LUT gives.

    Raises
    ------
    Damaged
    """
    for place in (*(group.get("FrameVOILUTSequence") for group in groups), [header]):
        if place and (found := _stated(place[0], values)) is not None:
            return found
    return None


def _stated(place: Dataset, values: tuple[float, float]) -> Voi | None:
    if tables := place.get("VOILUTSequence"):
        return Voi(table=table_of(tables[0]).starting_within(*values))
    center, width = _first(place, "WindowCenter"), _first(place, "WindowWidth")
    if center is None or width is None:
        return None
    function = str(place.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in _FUNCTIONS:
        raise Damaged("VOILUTFunction is not LINEAR, LINEAR_EXACT or SIGMOID")
    if width < 1 and (function == "LINEAR" or width <= 0):
        raise Damaged("WindowWidth is less than 1")
    return Voi(center, width, function)


def _first(place: Dataset, keyword: str) -> float | None:
    try:
        value: Any = place.get(keyword)
    except (ValueError, TypeError, OverflowError):
        raise Damaged(f"{keyword} is not a number") from None
    if isinstance(value, str | bytes | float | int) or value is None:
        return number(place, keyword)
    facts = Dataset()
    if len(value):
        facts.add_new("WindowCenter", "DS", value[0])
    return number(facts, "WindowCenter")


def spread(values: np.ndarray, *, inverted: bool = False) -> np.ndarray:
    """Scale values linearly from their minimum and maximum to 0 and 255."""
    finite = values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    # Halved first, to avoid overflow near the largest float64.
    width = highest / 2 - lowest / 2
    with np.errstate(all="ignore"):
        shown = (values / 2 - lowest / 2) * (_FULL / (width or 1.0))
    return as_bytes(shown, inverted=inverted)


def as_bytes(shown: np.ndarray, *, inverted: bool) -> np.ndarray:
    """Return numbers from 0 to 255 as bytes, 255 less that if inverted."""
    finite = np.nan_to_num(np.clip(shown, 0, _FULL), copy=False)
    made: np.ndarray = np.rint(finite).astype(np.uint8)
    return np.uint8(255) - made if inverted else made
