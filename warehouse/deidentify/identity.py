"""Names and numbers that were taken out of a file → where they stand in what is kept.

In: values of attributes that say who a person is. Out: elements that hold one of them, in whatever
attribute: a name in a label, an ID in a manufacturer's field.
"""

from __future__ import annotations

import re

from warehouse.deidentify.values import words

_BY_TAG = frozenset({0x00080050, 0x00080080, 0x00080081, 0x00080082, 0x00200010})
"""Accession number, institution and its address, study ID."""
_GROUPS = frozenset({0x0010, 0x0032, 0x0038, 0x0040})
"""Patient, order, visit, procedure."""
_SAYS_WHO = re.compile(
    r"(IDs?|Numbers?|Names?|Address|Residence|Religion|Locations?|Location|Issuer|Identifier"
    r"|RankTrial|Employer|Insurance.*|Occupation)$|Telephone|^Issuer|^EthnicGroups?$"
)
_SPLIT = re.compile(rb"[\^=\\, ]+")
_SHORTEST_NAME, _SHORTEST_ID, _UNBOUNDED = 3, 4, 5


def says_who(tag: int, keyword: str, vr: str) -> bool:
    """Return whether an attribute names a person, a place or a number of somebody."""
    if vr == "PN" or tag in _BY_TAG:
        return True
    is_id = tag >> 16 in _GROUPS and vr in {"LO", "SH", "UC", "UT"}
    return is_id and _SAYS_WHO.search(keyword) is not None


class Identity:
    """What identifies the people of one file, in the bytes of the file."""

    def __init__(self, patient: str) -> None:
        self.found: set[bytes] = set()
        if not patient.startswith("missing:"):
            self._id(patient.encode("utf-8", "surrogateescape"))

    def add(self, tag: int, keyword: str, vr: str, content: bytes) -> None:
        """Remember a value that goes."""
        if vr == "PN":
            whole = content.strip(b" \0").lower()
            if len(whole) >= _SHORTEST_ID:
                self.found.add(whole)
            for part in _SPLIT.split(whole):
                if len(part) >= _SHORTEST_NAME and not part.isdigit():
                    self.found.add(part)
        elif vr in {"LO", "SH", "ST", "UT", "UC"}:
            if says_who(tag, keyword, vr):
                for one in content.split(b"\\"):
                    self._id(one)
        elif vr == "DA" and tag >> 16 == 0x0010:
            self._id(content)

    def _id(self, content: bytes) -> None:
        text = content.strip(b" \0").lower()
        # Words of imaging are no identity, and short numbers are everywhere.
        if text.decode("latin-1") in words() or (text.isdigit() and len(text) < _UNBOUNDED):
            return
        if len(text) >= _SHORTEST_ID:
            self.found.add(text)

    @property
    def words(self) -> frozenset[str]:
        """Words of the identity so far, for cleaning text."""
        return frozenset(part.decode("latin-1") for part in self.found)

    def found_in(self, kept: list[tuple[str, int, str, bytes]]) -> frozenset[tuple[str, int]]:
        """Return path and tag of the elements that hold a part of the identity.

        Parameters
        ----------
        kept
            Path, tag, VR and value of each.
        """
        everything = b"\0".join(content for *_, content in kept).lower()
        here = [part for part in self.found if part in everything]
        return frozenset(
            (path, tag)
            for path, tag, vr, content in kept
            for part in here
            if self._holds(content.lower(), part, vr)
        )

    @staticmethod
    def _holds(content: bytes, part: bytes, vr: str) -> bool:
        if part not in content:
            return False
        if vr in {"DS", "IS"}:  # an ID that is a number; not a part of a longer one
            return part in {one.strip(b" \0") for one in content.split(b"\\")}
        if vr == "CS" and part.decode("latin-1") in words():
            return False  # a part of the body that is somebody's name as well
        if len(part) >= _UNBOUNDED:
            return True
        return (
            re.search(rb"(?<![a-z0-9])" + re.escape(part) + rb"(?![a-z0-9])", content) is not None
        )

    def is_in(self, content: bytes) -> bool:
        """Return whether a part that cannot be there by chance is in bytes of lower case."""
        return any(
            part in content
            for part in self.found
            if len(part) > _UNBOUNDED
            and not part.isdigit()
            and part.decode("latin-1") not in words()
        )
