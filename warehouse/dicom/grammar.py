"""Lookup tables of the DICOM encoding (PS3.5 §7.1, §7.5).

In: nothing. Out: arrays indexed by the two bytes of an explicit VR or by a hash of the tag.
A head is the first 8 bytes of an element as one little-endian number, a tag its group and element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.datadict import dictionary_VR

from warehouse.dicom.element import PIXEL_TAGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNDEFINED = 0xFFFFFFFF

SHORT, LONG, SEQUENCE, BAD = range(4)
"""Element classes: length in 16 bits; in 32 bits after the VR; SQ; none of these."""

MAX_LEVEL = 48
"""Maximum nesting of data sets and sequences; deeper ones fall back to the reference reader."""

ITEM_HEAD, ITEM_END_HEAD, SEQUENCE_END_HEAD = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE
"""Tags of PS3.5 §7.5 as written in the file, read as one number."""

PIXEL_NUMBERS = tuple(sorted(int(tag, 16) for tag in PIXEL_TAGS))

EXTERNAL_BYTES = 32 << 10
"""Values longer than this that extend beyond the window are skipped, and read separately."""

MAX_HEADER_BYTES = 12
"""Bytes of the longest element header; closer than this to an end, all checks are made."""

TAKEN, REFERENCE, LATER, REFUSED = 0, 1, 2, 3
"""State of a file: scanned; falls back to pydicom; postponed (buffers full); beyond a limit."""

MAX_FOUND = 1_700_000
"""Maximum number of elements, or items, of a scan; unfinished files wait for the next one."""

LONGEST = (1 << 31) - 1
"""Placeholder for the length of longer values; the actual one is in ``Found.outside``."""

SHORT_VRS = [
    "AE",
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "DT",
    "FL",
    "FD",
    "IS",
    "LO",
    "LT",
    "PN",
    "SH",
    "SL",
    "SS",
    "ST",
    "TM",
    "UI",
    "UL",
    "US",
]
LONG_VRS = ["OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UN", "UR", "UT", "UV"]

VRS = ("", *SHORT_VRS, *LONG_VRS, "SQ")
"""VRs by their small number; 0 if the file states none (implicit VR)."""


def vr_bytes(vr: str) -> int:
    """Return a VR as the integer value of its two letters in a little-endian file."""
    return ord(vr[0]) | ord(vr[1]) << 8


def _explicit() -> NDArray[np.uint8]:
    table = np.full(1 << 16, BAD, np.uint8)
    for vr in SHORT_VRS:
        table[vr_bytes(vr)] = SHORT
    for vr in LONG_VRS:
        table[vr_bytes(vr)] = LONG
    table[vr_bytes("SQ")] = SEQUENCE
    return table


def _vr_numbers() -> NDArray[np.uint8]:
    table = np.zeros(1 << 16, np.uint8)
    for number, vr in enumerate(VRS):
        if vr:
            table[vr_bytes(vr)] = number
    return table


def _looks_explicit() -> NDArray[np.bool_]:
    letters = np.zeros(256, bool)
    letters[0x41:0x5B] = True
    return (letters[:, None] & letters[None, :]).ravel()


SEQUENCE_TAGS = frozenset(
    [tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ"]
    + [
        int(mask.replace("x", digit), 16)
        for mask, entry in RepeatersDictionary.items()
        if entry[0] == "SQ"
        for digit in "0123456789ABCDEF"
    ]
)


EXPLICIT_CLASS = _explicit()
"""Class by the two VR bytes."""
LOOKS_EXPLICIT = _looks_explicit()
"""Whether pydicom accepts two bytes as a VR when it guesses the encoding."""
VR_NUMBER = _vr_numbers()


def dictionary_vr(tag: int) -> str | None:
    """Return the VR of a public tag, None if the dictionary has none."""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None
