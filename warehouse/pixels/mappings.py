"""Mappings of stored values to numbers with a unit: rescale, LUT, dose grid, real world values.

In: a data set of the header, its functional groups. Out: ``Mapping``. Sources: PS3.3 C.11.1
(modality LUT), C.7.6.16.2.9 (Pixel Value Transformation), C.7.6.16.2.11 (Real World Value Mapping),
C.8.8.3 (dose).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from warehouse.pixels import units
from warehouse.pixels.lut import Damaged, Table, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"

MODALITY = "modality"
"""Label of the mapping by modality LUT, rescale or dose grid scaling."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Stored values → numbers: slope and intercept, or a table.

    Attributes
    ----------
    label
        LUT Label, or ``modality`` for modality LUT, rescale or dose grid scaling.
    unit
        Unit of the numbers: UCUM code or ``HU``; None if the header does not state it.
    slope, intercept
        Used if there is no table.
    table
        Number for each stored value, starting at ``table.first``.
    bounds
        Inclusive range of stored values that are mapped; others become NaN.
    """

    label: str
    unit: str | None = None
    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = None
    bounds: tuple[float, float] | None = None

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """Return the numbers, float64."""
        if self.table is None:
            made: np.ndarray = stored * np.float64(self.slope) + self.intercept
        else:
            made = self.table.look_up(stored).astype(np.float64)
        if self.bounds is not None:
            outside = (stored < self.bounds[0]) | (stored > self.bounds[1])
            if outside.any():
                made = np.where(outside, np.nan, made)
        return made

    def gives_integers(self, stored: np.dtype) -> bool:
        """Return whether the numbers of stored values of this dtype are whole."""
        if self.table is not None:
            return bool((self.table.entries == np.rint(self.table.entries)).all())
        is_whole = float(self.slope).is_integer() and float(self.intercept).is_integer()
        return is_whole and stored.kind in "iub"

    def holds(self, stored: np.ndarray) -> bool:
        """Return whether all of these stored values are in the range of the mapping."""
        if self.bounds is None or not stored.size:
            return True
        return bool(stored.min() >= self.bounds[0] and stored.max() <= self.bounds[1])

    def range_of(self, lowest: float, highest: float) -> tuple[float, float]:
        """Return minimum and maximum of the mapped values of a range."""
        if self.table is not None:
            return float(self.table.entries.min()), float(self.table.entries.max())
        ends = [lowest * self.slope + self.intercept, highest * self.slope + self.intercept]
        return min(ends), max(ends)

    @property
    def key(self) -> tuple[object, ...]:
        """Key that is equal for equivalent mappings."""
        table = self.table and (self.table.first, self.table.entries.tobytes())
        return self.unit, self.slope, self.intercept, table, self.bounds


def modality_of(
    header: Dataset, groups: Sequence[Dataset], stored: tuple[float, float]
) -> Mapping:  # fmt: skip
    """Return the mapping by modality LUT, rescale or dose grid scaling of a frame.

    Parameters
    ----------
    header
        The image.
    groups
        Functional groups of the frame, per-frame groups first.
    stored
        Smallest and largest value that can be stored.

    Raises
    ------
    Damaged
    """
    if header.get("SOPClassUID") == _DOSE:
        return _dose(header)
    is_ct = header.get("SOPClassUID") == _CT_IMAGE
    if sequence := header.get("ModalityLUTSequence"):
        unit = units.RESCALE_TYPES.get(str(sequence[0].get("ModalityLUTType") or "").strip())
        table = table_of(sequence[0]).starting_within(*stored)
        return Mapping(MODALITY, unit, table=table)
    for place in (*(_item(group, "PixelValueTransformationSequence") for group in groups), header):
        if place is not None and ("RescaleSlope" in place or "RescaleIntercept" in place):
            slope, intercept = number(place, "RescaleSlope"), number(place, "RescaleIntercept")
            return Mapping(
                MODALITY, units.of_rescale(header, place, is_ct_image=is_ct),
                1.0 if slope is None else slope, 0.0 if intercept is None else intercept,
            )  # fmt: skip
    return Mapping(MODALITY, units.of_rescale(header, header, is_ct_image=False))


def real_world_of(
    header: Dataset, groups: Sequence[Dataset], *, is_signed: bool
) -> tuple[Mapping, ...]:
    """Return the distinct real world value mappings of a frame.

    Raises
    ------
    Damaged
    """
    for place in (*groups, header):
        if items := place.get("RealWorldValueMappingSequence"):
            made = [_real_world(item, number, is_signed) for number, item in enumerate(items, 1)]
            return tuple({(one.label, *one.key): one for one in made}.values())
    return ()


def chosen(modality: Mapping, real_world: Sequence[Mapping], asked: bool | str) -> Mapping:
    """Return the requested mapping.

    Parameters
    ----------
    modality, real_world
        Mappings of the frame.
    asked
        A label or a unit. True selects the modality LUT if its unit is known, else the real world
        value mapping if there is one, else the modality LUT without a unit.

    Raises
    ------
    Unclear
        No mapping matches, or several do.
    """
    every = (modality, *real_world)
    if isinstance(asked, str):
        found = [one for one in every if asked in (one.label, one.unit)]
        if len(found) != 1:
            many = "no" if not found else "more than one"
            raise Unclear(f"{many} mapping is called {asked!r}; there are: {_names(every)}")
        return found[0]
    if modality.unit is not None or not real_world:
        return modality
    if len(real_world) > 1:
        raise Unclear(f"they have several mappings, choose one (rescale='…'): {_names(real_world)}")
    return real_world[0]


class Unclear(ValueError):
    """None or several of the mappings match; the message names them."""


def number(place: Dataset, keyword: str) -> float | None:
    """Return a number from a header; None if it is missing.

    Raises
    ------
    Damaged
        The value is not a finite number.
    """
    try:
        value = place.get(keyword)
        if value is None or value == "":
            return None
        made = float(value)
    except (ValueError, TypeError, OverflowError):
        raise Damaged(f"{keyword} is not a number") from None
    if not math.isfinite(made):
        raise Damaged(f"{keyword} is not a finite number")
    return made


def _names(mappings: Sequence[Mapping]) -> str:
    return ", ".join(f"{one.label} [{one.unit or 'no unit'}]" for one in mappings)


def _item(group: Dataset, keyword: str) -> Dataset | None:
    found = group.get(keyword)
    return found[0] if found else None


def _dose(header: Dataset) -> Mapping:
    scaling = number(header, "DoseGridScaling")
    if scaling is None:
        raise Damaged("DoseGridScaling is missing")
    term = str(header.get("DoseUnits") or "").strip().upper()
    return Mapping(MODALITY, units.DOSE_UNITS.get(term), scaling)


def _real_world(item: Dataset, place: int, is_signed: bool) -> Mapping:
    unit = units.of_code(item)
    label = str(item.get("LUTLabel") or "").strip() or unit or str(place)
    first = number(item, "DoubleFloatRealWorldValueFirstValueMapped")
    last = number(item, "DoubleFloatRealWorldValueLastValueMapped")
    if first is None or last is None:
        first = _mapped(item, "RealWorldValueFirstValueMapped", is_signed)
        last = _mapped(item, "RealWorldValueLastValueMapped", is_signed)
    if first > last:
        raise Damaged("a real world value mapping ends before it begins")
    slope, intercept = number(item, "RealWorldValueSlope"), number(item, "RealWorldValueIntercept")
    if slope is not None and intercept is not None:
        return Mapping(label, unit, slope, intercept, bounds=(first, last))
    entries = np.atleast_1d(np.array(item.get("RealWorldValueLUTData") or [], np.float64))
    if entries.size != last - first + 1:
        raise Damaged(
            "a real world value mapping without slope and intercept, or a table of its length"
        )
    return Mapping(label, unit, table=Table(int(first), entries, 64), bounds=(first, last))


def _mapped(item: Dataset, keyword: str, is_signed: bool) -> float:
    found = number(item, keyword)
    if found is None:
        raise Damaged(f"a real world value mapping without {keyword}")
    # US or SS, as the pixels; writers often use the wrong sign.
    return found - 65536 if is_signed and found >= 32768 else found
