"""Names and numbers that were taken out of a file → where they stand in what is kept.

In: values of attributes that say who a person is. Out: elements that hold one of them, in whatever
attribute: a name in a label, an ID in a manufacturer's field.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from warehouse.deidentify.values import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from warehouse.deidentify.facts import Known

CHARSETS = (
    "utf-8", "latin-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6",
    "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "tis-620", "shift_jis", "iso2022_jp",
    "iso2022_jp_2", "euc_jp", "iso2022_kr", "euc_kr", "gb18030", "gbk", "cp1252",
)  # fmt: skip
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
_SHORTEST_BASE64 = 6


def says_who(tag: int, keyword: str, vr: str) -> bool:
    """Return whether an attribute names a person, a place or a number of somebody."""
    if vr == "PN" or tag in _BY_TAG:
        return True
    is_id = tag >> 16 in _GROUPS and vr in {"LO", "SH", "UC", "UT"}
    return is_id and _SAYS_WHO.search(keyword) is not None


def known_of(rows: Iterable[tuple[str, list[str] | None, list[str] | None]]) -> dict[str, Known]:
    """Return what a warehouse knows of patients, by their key.

    Parameters
    ----------
    rows
        Key of each, names and IDs.
    """
    made: dict[str, Known] = {}
    for patient, names, ids in rows:
        if patient != "none":  # instances without a patient have nobody in common
            found = [("PN", one) for one in names or ()] + [("LO", one) for one in ids or ()]
            made[patient] = tuple((vr, coded) for vr, one in found for coded in _encoded(one))
    return made


def _encoded(text: str) -> set[bytes]:
    """Return a text as it may be written, in each character set that has its characters."""
    made = set()
    for charset in ("ascii",) if text.isascii() else CHARSETS:
        with suppress(UnicodeEncodeError):
            made.add(text.encode(charset))
    return made


def in_base64(content: bytes) -> Iterator[bytes]:
    """Yield what is certain of the Base64 of some bytes, wherever they begin."""
    for before, first in ((0, 0), (1, 2), (2, 3)):
        coded = base64.b64encode(bytes(before) + content)
        last = (before + len(content)) // 3 * 4
        if last - first >= _SHORTEST_BASE64:
            yield coded[first:last]


@lru_cache(4096)
def _coded(part: bytes) -> tuple[bytes, ...]:
    """Return a longer part in Base64."""
    return tuple(in_base64(part)) if len(part) >= _UNBOUNDED else ()


def _wide(part: bytes) -> tuple[bytes, ...]:
    """Return a longer part with two bytes for each character."""
    if len(part) < _UNBOUNDED or not part.isascii():
        return ()
    text = part.decode("ascii")
    return text.encode("utf-16-le"), text.encode("utf-16-be")


class Identity:
    """What identifies the people of one file, in the bytes of the file."""

    def __init__(self, patient: str) -> None:
        self.found: set[bytes] = set()
        """In lower case."""
        self._written: set[bytes] = set()
        """The same as they are written."""
        if not patient.startswith("missing:"):
            self._id(patient.encode("utf-8", "surrogateescape"))

    def add(self, tag: int, keyword: str, vr: str, content: bytes) -> None:
        """Remember a value that goes."""
        if vr == "PN":
            whole = content.strip(b" \0")
            if len(whole) >= _SHORTEST_ID:
                self._add(whole)
            for part in _SPLIT.split(whole):
                if len(part) >= _SHORTEST_NAME and not part.isdigit():
                    self._add(part)
        elif vr in {"LO", "SH", "ST", "UT", "UC"}:
            if says_who(tag, keyword, vr):
                for one in content.split(b"\\"):
                    self._id(one)
        elif vr == "DA" and tag >> 16 == 0x0010:
            self._id(content)

    def _id(self, content: bytes) -> None:
        written = content.strip(b" \0")
        text = written.lower()
        # Words of imaging are no identity, and short numbers are everywhere.
        if text.decode("latin-1") in words() or (text.isdigit() and len(text) < _UNBOUNDED):
            return
        if len(text) >= _SHORTEST_ID:
            self._add(written)

    def _add(self, written: bytes) -> None:
        self.found.add(written.lower())
        self._written.add(written)

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
        written = b"\0".join(content for *_, content in kept)
        # Without zeros text of two bytes for a character is as plain as other text.
        plain = written.translate(None, b"\0").lower()
        here = [part for part in self.found if part in plain]
        coded = [code for part in self._written for code in _coded(part) if code in written]
        if not here and not coded:
            return frozenset()
        wide = [code for part in here for code in _wide(part)]
        return frozenset(
            (path, tag)
            for path, tag, vr, content in kept
            if any(self._holds(content.lower(), part, vr) for part in here)
            or any(code in content.lower() for code in wide)
            or any(code in content for code in coded)
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
