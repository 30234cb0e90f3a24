"""Standardized uptake values of PET, which depend on more than the header of an image.

In: a catalog and a series. Out: headers whose frames have an additional mapping, such as ``SUVbw``.
The factor and its conditions come from the view ``pt_suv``, the slope of a frame from its file. A
real world value mapping of the same name in the header takes precedence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from warehouse.catalog.few import session_of
from warehouse.errors import NoSingleUnit, UsageError
from warehouse.pixels.facts import FrameFacts, Headers
from warehouse.pixels.mappings import Mapping
from warehouse.pixels.units import SUV_UNITS

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.facts import Facts
    from warehouse.pixels.image import Image
    from warehouse.pixels.values import Values

SUV = {
    "SUVbw": ("suv_bw_factor", "BW"),
    "SUVlbm": ("suv_lbm_factor", "LBM"),
    "SUVlbm(James128)": ("suv_lbm_james128_factor", "LBMJAMES128"),
    "SUVlbm(Janma)": ("suv_lbm_janma_factor", "LBMJANMA"),
    "SUVbsa": ("suv_bsa_factor", "BSA"),
}
"""What can be asked for as ``rescale``: column of ``pt_suv``, and SUV Type."""


class UptakeHeaders(Headers):
    """Headers of a PET series whose frames can be mapped to uptake values."""

    def __init__(self, series_uid: str, name: str, factor: float | None, why_not: str) -> None:
        super().__init__()
        self.name = name
        self._series_uid, self._factor, self._why_not = series_uid, factor, why_not

    def of(self, image: Image) -> Facts:
        """Return the facts of an image, and the mapping to uptake values.

        Raises
        ------
        NoSingleUnit
            There is no factor; the message says why.
        SourceChanged, PixelsUnreadable
        """
        facts = super().of(image)
        return replace(facts, frames=tuple(self._with_uptake(frame) for frame in facts.frames))

    def _with_uptake(self, frame: FrameFacts) -> FrameFacts:
        stated, modality = frame.real_world, frame.modality
        if isinstance(stated, str) or isinstance(modality, str):
            return frame  # refused with its own reason
        if any(self.name in (one.label, one.unit) for one in stated):
            return frame
        if self._factor is None or modality.table is not None:
            why = self._why_not if self._factor is None else "their modality LUT is a table"
            raise NoSingleUnit(f"{self.name} of series {self._series_uid}", why)
        unit = SUV_UNITS[SUV[self.name][1]]
        slope, intercept = modality.slope * self._factor, modality.intercept * self._factor
        return replace(frame, real_world=(*stated, Mapping(self.name, unit, slope, intercept)))


def require_known(headers: Headers, values: Values) -> None:
    """Raise if uptake values are requested of headers that were opened without them.

    Raises
    ------
    UsageError
    """
    name = values.rescale
    is_known = isinstance(headers, UptakeHeaders) and headers.name == name
    if isinstance(name, str) and name in SUV and not is_known:
        raise UsageError(
            f"{name} needs more than the headers of the images: open the series with it, "
            f"as in wh.volume(series, rescale={name!r})"
        )


def headers_for(catalog: Catalog, series_uid: str, values: Values | None) -> Headers | None:
    """Return headers with uptake values if these are requested, else None."""
    if values is None or not isinstance(values.rescale, str) or values.rescale not in SUV:
        return None
    column, kind = SUV[values.rescale]
    question = (
        f"select {column}, suv_why_not, body_why_not, not_read from pt_suv where series_key = $1"
    )
    # The view reads only the instances of the series.
    session = session_of(catalog, "series", series_uid)
    found = session.execute(question, [series_uid]).fetchall()
    if not found:
        return UptakeHeaders(series_uid, values.rescale, None, "it is not a PET series")
    factor, weight_why, body_why, not_read = found[0]
    why = not_read or weight_why or (None if kind == "BW" else body_why) or "it is not known"
    return UptakeHeaders(series_uid, values.rescale, factor, why)
