"""``Identity``: find removed names and numbers in the rest of a file.

In: values of identifying attributes. Out: elements of any attribute that contain one of them: a
name in a label, an ID in a manufacturer's field.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from warehouse.deidentify.spellings import (
    dates_in,
    encoded,
    parts_of_name,
    spellings,
    text_of,
    written,
)  # fmt: skip
from warehouse.deidentify.values import REMOVED, words
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Known: TypeAlias = tuple[tuple[str, str], ...]
"""Names (PN) and IDs (LO) of a patient in other files of the warehouse."""

_IDENTIFYING_TAGS = frozenset({0x00080050, 0x00080080, 0x00080081, 0x00080082, 0x00200010})
"""Accession number, institution and its address, study ID."""
_GROUPS = frozenset({0x0010, 0x0032, 0x0038, 0x0040})
"""Patient, order, visit, procedure."""
_IDENTIFYING_KEYWORD = re.compile(
    r"(IDs?|Numbers?|Names?|Address|Residence|Religion|Locations?|Location|Issuer|Identifier"
    r"|RankTrial|Employer|Insurance.*|Occupation)$|Telephone|^Issuer|^EthnicGroups?$"
)
_SHORTEST_NAME, _SHORTEST_ID, _UNBOUNDED = 3, 4, 5
_DATES = frozenset({"DA", "DT"})
_SHORTEST_DATE = 6
_BINARY = frozenset({"FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "UL", "US"})
"""VRs in which a few bytes may match by chance."""
_PRINTABLE, _TEXT = re.compile(rb"[ -~]+"), 8
_NUMBERS = _BINARY | {"DS", "IS", "AT"}
_SHORTEST_BASE64 = 6
_MOST_SEARCHED = 10_000_000_000
"""Largest product of identifying values and bytes to search in one file; takes some ten seconds."""
_DUMMY_WORDS = frozenset({REMOVED.decode("ascii").lower()})
"""Names that this and other software write in place of removed ones: they identify nobody."""


def is_identifying(tag: int, keyword: str, vr: str) -> bool:
    """Return whether an attribute is a name, place or number that identifies a person."""
    if vr == "PN" or tag in _IDENTIFYING_TAGS:
        return True
    is_id = tag >> 16 in _GROUPS and vr in {"LO", "SH", "UC", "UT"}
    return is_id and _IDENTIFYING_KEYWORD.search(keyword) is not None


def known_of(rows: Iterable[tuple[str, list[str] | None, list[str] | None]]) -> dict[str, Known]:
    """Return the names and IDs of patients in a warehouse, by patient key.

    Parameters
    ----------
    rows
        Key, names and IDs of each patient.
    """
    # Instances without PatientID belong to different patients.
    return {
        patient: (*(("PN", text) for text in names or ()), *(("LO", text) for text in ids or ()))
        for patient, names, ids in rows
        if patient != "none"
    }


def tokens_of(patient: str, names: Iterable[str], ids: Iterable[str]) -> set[str]:
    """Return the lower-case texts to search for in the columns of a patient.

    Parameters
    ----------
    patient
        Key of the patient.
    names, ids
        All names and IDs in its instances.
    """
    tokens = {part for name in names for part in parts_of_name(name)} - _DUMMY_WORDS
    tokens |= {
        spelling
        for text in (*(part for one in ids for part in one.split("\\")), *_patient_id(patient))
        if _is_id(text)
        for spelling in spellings(text.strip())
    }
    return {
        text for text in tokens if len(text.encode("utf-8", "surrogateescape")) >= _SHORTEST_NAME
    }


def _patient_id(patient: str) -> tuple[str, ...]:
    """Return the ID in the key of a patient, and each value of an ID that has several."""
    if patient.startswith("missing:") or patient == "none":
        return ()
    return tuple(dict.fromkeys((patient, *patient.split("\\"))))


def _is_id(text: str) -> bool:
    """Return whether a text may identify a person: not a word of imaging, not a short number."""
    stripped = text.strip(" \0")
    return (
        len(stripped) >= _SHORTEST_ID
        and stripped.lower() not in _DUMMY_WORDS
        and stripped.lower() not in words()
        and not (stripped.isdigit() and len(stripped) < _UNBOUNDED)
    )


def in_base64(content: bytes) -> Iterator[bytes]:
    """Yield the fixed part of the Base64 of bytes at each of the three alignments."""
    for padding, first in ((0, 0), (1, 2), (2, 3)):
        encoded_text = base64.b64encode(bytes(padding) + content)
        last = (padding + len(content)) // 3 * 4
        if last - first >= _SHORTEST_BASE64:
            yield encoded_text[first:last]


@lru_cache(4096)
def _name_tokens(text: str) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return every encoded spelling of the parts of a name, and the parts as written."""
    tokens = {
        token for spelling in parts_of_name(text) - _DUMMY_WORDS for token in encoded(spelling)
    }
    parts = {
        part for part in re.split(r"[\^=\\, \0]+", text)
        if not part.isdigit() and part.lower() not in _DUMMY_WORDS
    }  # fmt: skip
    as_written = {token for part in parts for token in written(part)}
    return (
        frozenset(token for token in tokens if len(token) >= _SHORTEST_NAME),
        frozenset(token for token in as_written if len(token) >= _UNBOUNDED),
    )


@lru_cache(4096)
def _base64_variants(part: bytes) -> tuple[bytes, ...]:
    """Return a part in Base64, unless it is short."""
    return tuple(in_base64(part)) if len(part) >= _UNBOUNDED else ()


def _utf16_variants(part: bytes) -> tuple[bytes, ...]:
    """Return a part in UTF-16, unless it is short or not ASCII."""
    if len(part) < _UNBOUNDED or not part.isascii():
        return ()
    text = part.decode("ascii")
    return text.encode("utf-16-le"), text.encode("utf-16-be")


def _with_spellings(vr: str, content: bytes, charset: str) -> bytes:
    """Append the spellings of a text, as a name may be written without accents."""
    if vr in _NUMBERS or content.isascii():
        return content
    # Bytes may be in another character set than the file declares.
    variants = sorted(spellings(text_of(content, charset)) | spellings(content.decode("latin-1")))
    return b"\0".join(
        (content, *(variant.encode("utf-8", "surrogatepass") for variant in variants))
    )


def _is_text(content: bytes, first: int, last: int) -> bool:
    """Return whether a match in a binary value is part of a text, and not by chance."""
    length_before = len(content[max(first - _TEXT, 0) : first].rpartition(b"\0")[2])
    context = content[first - length_before : last + _TEXT]
    match = _PRINTABLE.match(context)
    return match is not None and match.end() >= min(_TEXT, len(content))


class Identity:
    """Identifying values of one file, as bytes to search for."""

    def __init__(self, patient: str) -> None:
        self.found: set[bytes] = set()
        """Names and IDs in every encoded spelling, in lower case."""
        self.dates: set[str] = set()
        """Removed dates, as YYYYMMDD."""
        self._as_written: set[bytes] = set()
        """Names and IDs as written, in every encoding."""
        for identifier in _patient_id(patient):
            self._add_id(identifier)

    def add(self, tag: int, keyword: str, vr: str, content: bytes, charset: str = "") -> None:
        """Add a removed value, as it is stored."""
        if vr in _DATES:
            for value in content.split(b"\\"):
                day = value.strip(b" \0").replace(b".", b"")[:8]
                if len(day) == 8 and day.isdigit():
                    self.dates.add(day.decode("ascii"))
        if vr == "PN":
            for text in text_of(content, charset).split("\\"):
                self._add_name(text)
        elif (vr in {"LO", "SH", "ST", "UT", "UC"} and is_identifying(tag, keyword, vr)) or (
            vr == "DA" and tag >> 16 == 0x0010
        ):
            for text in text_of(content, charset).split("\\"):
                self._add_id(text)

    def know(self, known: Known) -> None:
        """Add names and IDs in other files of the patient."""
        for vr, text in known:
            if vr == "PN":
                self._add_name(text)
            else:
                for part in text.split("\\"):
                    self._add_id(part)

    def _add_name(self, text: str) -> None:
        tokens, as_written = _name_tokens(text)
        self.found |= tokens
        self._as_written |= as_written

    def _add_id(self, text: str) -> None:
        identifier = text.strip(" \0")
        if not _is_id(identifier):
            return
        for spelling in spellings(identifier):
            self.found |= encoded(spelling)
        self._as_written |= set(written(identifier))

    @property
    def words(self) -> frozenset[str]:
        """Identifying words collected so far, for cleaning text."""
        return frozenset(part.decode("latin-1") for part in self.found)

    def found_in(
        self, kept: list[tuple[str, int, str, bytes]], charset: str = ""
    ) -> frozenset[tuple[str, int]]:
        """Return path and tag of the elements that contain an identifying value.

        Parameters
        ----------
        kept
            Path, tag, VR and value of each.
        charset
            Specific Character Set of the file, as it is stored.

        Raises
        ------
        NotDeidentified
            The file has so many names, and so much text, that the search would take minutes.
        """
        if len(self.found) * sum(len(content) for *_, content in kept) > _MOST_SEARCHED:
            raise NotDeidentified(
                f"{len(self.found)} identifying values would have to be searched for in too much "
                "text"
            )
        kept = [
            (path, tag, vr, _with_spellings(vr, content, charset))
            for path, tag, vr, content in kept
        ]
        joined = b"\0".join(content for *_, content in kept)
        lowered = joined.lower()
        # After removing zeros, two-byte text can be searched like other text.
        without_zeros = lowered.translate(None, b"\0")
        parts = [part for part in self.found if part in without_zeros or part in lowered]
        base64_parts = [
            part_code
            for part in self._as_written
            for part_code in _base64_variants(part)
            if part_code in joined
        ]
        with_dates = self._elements_with_dates(kept)
        if not parts and not base64_parts:
            return with_dates
        utf16_parts = [part_code for part in parts for part_code in _utf16_variants(part)]
        return with_dates | frozenset(
            (path, tag)
            for path, tag, vr, content in kept
            if any(self._contains(content.lower(), part, vr) for part in parts)
            or any(part_code in content.lower() for part_code in utf16_parts)
            or any(part_code in content for part_code in base64_parts)
        )

    def _elements_with_dates(
        self, kept: list[tuple[str, int, str, bytes]]
    ) -> frozenset[tuple[str, int]]:
        """Return path and tag of the elements that contain a removed date."""
        if not self.dates:
            return frozenset()
        days = {day.encode("ascii") for day in self.dates}
        return frozenset(
            (path, tag)
            for path, tag, vr, content in kept
            if (
                vr in {"DS", "IS"}
                and any(value.strip(b" \0") in days for value in content.split(b"\\"))
            )
            or (
                vr not in _NUMBERS
                and len(content) >= _SHORTEST_DATE
                and self.dates & dates_in(content.decode("latin-1"))
            )
        )

    @staticmethod
    def _contains(content: bytes, part: bytes, vr: str) -> bool:
        if part not in content:
            return False
        if vr in {"DS", "IS"}:  # a numeric ID, not part of a longer number
            return part in {value.strip(b" \0") for value in content.split(b"\\")}
        if vr == "CS" and part.decode("latin-1") in words():
            return False  # a body part that is also a name
        if len(part) >= _UNBOUNDED:
            return True
        matches = re.finditer(rb"(?<![a-z0-9])" + re.escape(part) + rb"(?![a-z0-9])", content)
        return any(vr not in _BINARY or _is_text(content, *match.span()) for match in matches)

    def is_in(self, content: bytes) -> bool:
        """Return whether lower-case bytes contain a value that is too long to match by chance."""
        return any(
            part in content
            for part in self.found
            if len(part) > _UNBOUNDED
            and not part.isdigit()
            and part.decode("latin-1") not in words()
        )
