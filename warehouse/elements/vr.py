"""Tag, stated VR and private creator → the VR of an element, as pydicom finds it.

In: what tells kinds of elements apart. Out: a VR, or what stands in place of one: that other
elements decide (``US_SS``), that it holds a sequence, that pydicom has to say.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache

from pydicom.datadict import private_dictionary_VR
from pydicom.filewriter import _AMBIGUOUS_US_SS_TAGS
from pydicom.tag import Tag

from warehouse.dicom.grammar import VRS, dictionary_vr
from warehouse.elements.values import ALL_VRS

_UN = VRS.index("UN")
LONG_UN = len(VRS)
"""Stands for a UN so long that pydicom does not look up its VR."""

GIVE_UP = "?"
"""In place of a VR: what pydicom makes of this element is left to pydicom."""

INNER_SEQUENCE = "SQ in UN"
"""In place of a VR: a sequence in an element that does not say so."""

US_SS = "US or SS"

SETTLED = {"as US": "US", "as OW": "OW", "as OB": "OB"}
"""Ambiguous VRs that do not depend on other elements, if the element is not empty."""


@lru_cache(maxsize=65_536)
def vr_of(tag: int, number: int, creator: str | None) -> str:
    """Return the VR of one kind of element, as pydicom's ``raw_element_vr`` finds it."""
    if number == LONG_UN:
        return _private_vr(tag, creator, explicit=True) if tag >> 16 & 1 else "UN"
    if number not in {0, _UN}:
        return VRS[number]
    explicit = number == _UN
    vr = dictionary_vr(tag)
    if tag >> 16 & 1:
        # A private tag can stand in the public dictionary (retired ones do).
        if vr is None or explicit:
            return _private_vr(tag, creator, explicit=explicit)
    elif vr is None:
        vr = "UL" if not explicit and tag & 0xFFFF == 0 else "UN"
    return _checked(vr or "UN", tag, explicit=explicit)


def _private_vr(tag: int, creator: str | None, *, explicit: bool) -> str:
    vr = "UN"
    if Tag(tag).is_private_creator:
        vr = "LO"
    elif creator is not None and tag & 0xFF00:
        if not creator.isascii():
            return GIVE_UP
        with contextlib.suppress(KeyError):
            vr = str(private_dictionary_VR(tag, creator))
    return _checked(vr, tag, explicit=explicit)


def _checked(vr: str, tag: int, *, explicit: bool) -> str:
    """Return the VR if it is supported here."""
    if vr == "SQ":
        return INNER_SEQUENCE
    if " or " in vr:
        if explicit:
            return GIVE_UP
        if vr == US_SS:
            return US_SS if tag in _AMBIGUOUS_US_SS_TAGS else "as US"
        if tag in {0x7FE00010, 0x54000110, 0x54000112, 0x5400100A, 0x54001010} or (
            0x6000 <= tag >> 16 <= 0x601E and tag & 0xFFFF == 0x3000
        ):
            return "as OW"
        if tag == 0x00283006:
            return vr
        return "as OB" if vr == "OB or OW" else "as OW"
    return vr if vr in ALL_VRS else GIVE_UP
