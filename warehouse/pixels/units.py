"""Units: UCUM codes for the terms of DICOM, and HU for Hounsfield units.

In: attributes of a header. Out: a unit, or None if the header does not state it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors import NoSingleUnit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

HOUNSFIELD = "HU"

RESCALE_TYPES = {
    "HU": HOUNSFIELD, "HU_MOD": "HU_MOD", "OD": "10*-3{OD}", "MGML": "mg/ml", "Z_EFF": "{Z_EFF}",
    "ED": "10*23/ml", "EDW": "{EDW}", "PCT": "%",
}  # fmt: skip
"""Defined terms of Rescale Type and Modality LUT Type (PS3.3 C.11.1.1.2); US is unspecified."""

PET_UNITS = {
    "CNTS": "{counts}", "NONE": "1", "CM2": "cm2", "CM2ML": "cm2/ml", "PCNT": "%",
    "CPS": "{counts}/s", "BQML": "Bq/ml", "MGMINML": "mg/min/ml", "UMOLMINML": "umol/min/ml",
    "MLMING": "ml/min/g", "MLG": "ml/g", "1CM": "/cm", "UMOLML": "umol/ml",
    "PROPCNTS": "{propcounts}", "PROPCPS": "{propcounts}/s", "MLMINML": "ml/min/ml",
    "MLML": "ml/ml", "STDDEV": "{stddev}",
}  # fmt: skip
"""Defined terms of Units (PS3.3 C.8.9.1.1.3)."""

SUV_UNITS = {
    "BW": "{SUVbw}g/ml", "LBM": "{SUVlbm}g/ml", "LBMJANMA": "{SUVlbm(Janma)}g/ml",
    "IBW": "{SUVibw}g/ml", "LBMJAMES128": "{SUVlbm(James128)}g/ml", "BSA": "{SUVbsa}cm2/ml",
}  # fmt: skip
"""SUV Type → unit, for Units GML; the default is body weight (C.8.9.1)."""

DOSE_UNITS = {"GY": "Gy", "RELATIVE": "RELATIVE"}
"""Dose Units (PS3.3 C.8.8.3): RELATIVE is relative to a dose that the header does not give."""

_UCUM_ALIASES = {"[hnsf'U]": HOUNSFIELD}


def of_rescale(header: Dataset, group: Dataset, *, is_ct_image: bool) -> str | None:
    """Return the unit of the modality LUT.

    Parameters
    ----------
    header
        The image, which may be a PET image: its Units are those of rescaled values.
    group
        Where Rescale Type stands: the image, or a functional group.
    is_ct_image
        A CT image needs no Rescale Type if it is HU (PS3.3 C.8.2.1).
    """
    if (term := _term(header, "Units")) is not None:
        if term == "GML":
            return SUV_UNITS.get(_term(header, "SUVType") or "BW")
        return PET_UNITS.get(term)
    term = _term(group, "RescaleType")
    if term is None and is_ct_image and "RescaleSlope" in group:
        return HOUNSFIELD
    return RESCALE_TYPES.get(term or "")


def of_code(item: Dataset) -> str | None:
    """Return the unit of a real world value mapping: its code, which is one of UCUM."""
    coded = item.get("MeasurementUnitsCodeSequence") or []
    if len(coded) != 1:
        return None
    code = _text(coded[0], "CodeValue") or _text(coded[0], "LongCodeValue")
    scheme = _text(coded[0], "CodingSchemeDesignator")
    if code is None or scheme in {None, "UCUM"}:
        return _UCUM_ALIASES.get(code or "", code)
    return f"{code} ({scheme})"


def one_unit(series_uid: str, units: Iterable[str | None]) -> str | None:
    """Return the unit that frames of a series have in common.

    Raises
    ------
    NoSingleUnit
        They have several.
    """
    found = dict.fromkeys(units)
    if len(found) > 1:
        named = ", ".join(unit or "no unit" for unit in found)
        raise NoSingleUnit(f"frames of series {series_uid}", f"they have {named}")
    return next(iter(found), None)


def _text(header: Dataset, keyword: str) -> str | None:
    return str(header.get(keyword) or "").strip() or None


def _term(header: Dataset, keyword: str) -> str | None:
    found = _text(header, keyword)
    return found.upper() if found else None
