"""De-identify one DICOM file, and list every change.

In: the bytes of a file, a profile, a key, the patient. Out: ``Result``, the bytes of another file.
The function is pure: the same input gives the same output. Each element is treated by the profile,
at any depth; elements without an action are kept if they are in the dictionary. Kept values are
then searched for the removed names and numbers; elements that contain one are removed, too.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from warehouse.deidentify import elements as el
from warehouse.deidentify.marks import IMPLICIT, finished
from warehouse.deidentify.walk import Walk
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from warehouse.deidentify.facts import Pixels, Result
    from warehouse.deidentify.identity import Known
    from warehouse.deidentify.key import Key
    from warehouse.deidentify.profile import Profile

DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT = "1.2.840.10008.1.2.1"
_UNREADABLE = {
    "1.2.840.10008.1.2.2": "it is big endian",
    "1.2.840.113619.5.2": "its transfer syntax is one of GE with two byte orders",
}
MAX_INFLATED = 1 << 30


def deidentify(
    data: bytes, profile: Profile, key: Key, patient: str, pixels: Pixels | None = None,
    known: Known = (),
) -> Result:  # fmt: skip
    """Return a de-identified file.

    Parameters
    ----------
    data
        Content of a DICOM file; may be memory-mapped.
    profile
        Action for each attribute.
    key
        Derives the new identities.
    patient
        ``instances.patient_key``, which determines the pseudonym and the shift of dates.
    pixels
        Function that treats the pixel data; by default they are copied.
    known
        Names (PN) and IDs (LO) of the patient in other files, which are also searched for.

    Raises
    ------
    NotDeidentified
        The file cannot be de-identified with certainty; has the reason.
    """
    syntax, start = _read_meta(data)
    if syntax in _UNREADABLE:
        raise NotDeidentified(f"{_UNREADABLE[syntax]}, which is not supported")
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-15)
        try:
            data = inflater.decompress(bytes(data[start:]), MAX_INFLATED)
        except zlib.error:
            raise NotDeidentified("its deflated data set cannot be inflated") from None
        if inflater.unconsumed_tail:
            raise NotDeidentified(f"it inflates to more than {MAX_INFLATED} bytes")
        start, syntax = 0, EXPLICIT
    forced: frozenset[tuple[str, int]] = frozenset()
    for _ in range(4):
        walk = Walk(data, profile, key, patient, pixels, forced)
        walk.facts.transfer_syntax = syntax
        walk.identity.know(known)
        entries = walk.top(start, implicit=syntax == IMPLICIT)
        leaks = walk.identity.found_in(walk.kept, walk.facts.text("charset"))
        if not leaks:
            return finished(walk, entries, syntax)
        forced |= leaks
    raise NotDeidentified("an identifying value cannot be removed from its element")


def _read_meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and the offset of the data set."""
    pos, syntax, limit = 132, "", len(data)
    if bytes(data[:4]) == b"\2\0\0\0":
        pos = 0
    elif bytes(data[128:132]) != b"DICM":
        if bytes(data[:2]) != b"\x08\0" or len(data) < 8:
            raise NotDeidentified("it has no preamble and no file meta information")
        return EXPLICIT if bytes(data[4:6]) in el.VRS else IMPLICIT, 0
    while pos + 8 <= limit and data[pos] == 2 and data[pos + 1] == 0:
        element = el.read_element(data, pos, limit, implicit=False)
        if element.end is None:
            raise NotDeidentified("its file meta information is damaged")
        if element.tag == 0x00020010:
            syntax = bytes(data[element.value : element.end]).strip(b" \0").decode("latin-1")
        pos = element.end
    if not syntax:
        raise NotDeidentified("it has no Transfer Syntax UID")
    return syntax, pos
