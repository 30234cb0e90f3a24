"""Replacement values: dummies, shifted dates, capped ages, cleaned text.

In: bytes as stored, their VR, a key. Out: bytes, or None where nothing may be kept. Nothing is
guessed: dates that cannot be parsed and unknown words are not kept.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog.dictionaries import rule_rows
from warehouse.deidentify.spellings import without_dates

if TYPE_CHECKING:
    from warehouse.deidentify.key import Key

REMOVED = b"REMOVED"
OLDEST_YEARS = 89
"""Higher ages become 90 years, as few people have them (45 CFR 164.514 (b) (2) (i) (C))."""
_DUMMIES = {
    "AE": REMOVED, "AS": b"000Y", "CS": REMOVED, "DA": b"19000101", "DS": b"0", "IS": b"0",
    "DT": b"19000101000000", "LO": REMOVED, "LT": REMOVED, "PN": REMOVED, "SH": REMOVED,
    "ST": REMOVED, "TM": b"000000", "UC": REMOVED, "UR": b"urn:removed", "UT": REMOVED,
    "FL": bytes(4), "FD": bytes(8), "SL": bytes(4), "UL": bytes(4), "SS": bytes(2),
    "US": bytes(2), "AT": bytes(4), "SV": bytes(8), "UV": bytes(8), "OF": bytes(4),
    "OD": bytes(8), "OL": bytes(4), "OV": bytes(8),
}  # fmt: skip
_SIZES = {"FL": 4, "FD": 8, "SL": 4, "UL": 4, "SS": 2, "US": 2}
_DIGITS = b"0123456789+-.eE \\\0"
_AGE = re.compile(rb"(\d{3})([DWMY])")
_PER_YEAR = {b"D": 365, b"W": 52, b"M": 12, b"Y": 1}
_DATE = re.compile(rb"(\d{4})\.?(\d\d)\.?(\d\d)")
PLACEHOLDERS = ("19000101", "19700101")
FIRST_YEAR, LAST_YEAR = 1900, 2100
"""``PLACEHOLDERS``, and dates outside of these years such as 00010101, 16010101 and 99991231, stand
for unknown ones; shifted, they would tell the days of the patient."""
_TIME = re.compile(rb"\d\d(:?\d\d(:?\d\d(\.\d{1,6})?)?)?")
_STAMP = re.compile(rb"(\d{8})(\d{0,6}(?:\.\d{1,6})?)([+-]\d{4})?")
# A number is kept with its unit, or if it is too small to be an age, a day or an ID.
_NUMBER = re.compile(r"(\d{1,4}(\.\d{1,2})?(mm|cm|ms|kv|ml|t)|b\d{1,4}|\d\.\d{1,2}|\d|1\d|[234]d)")


def is_of(usual: str, vm: str, vr: str, content: bytes) -> bool:
    """Return whether a private value has the VR and VM that the list of safe elements states.

    Parameters
    ----------
    usual, vm
        VR and number of values in the list; empty for an element that is not in it.
    vr
        VR of the file; empty in implicit VR.
    content
        The value.
    """
    if vr not in {"", "UN", usual}:
        return False
    if usual in _SIZES:
        count, remainder = divmod(len(content), _SIZES[usual])
        return not remainder and (count == int(vm) if vm.isdigit() else True)
    if usual in {"DS", "IS"}:
        return not content.translate(None, _DIGITS)
    return usual in {"CS", "LO", "SH"} and _is_short(usual, content)


def _is_short(usual: str, content: bytes) -> bool:
    longest = {"CS": 16, "SH": 16, "LO": 64}[usual]
    return all(len(value.strip(b" \0")) <= longest for value in content.split(b"\\"))


def dummy(vr: str, value: bytes, *, is_name: bool, key: Key) -> bytes:
    """Return a dummy value that is valid for a VR; for an identifier, a pseudonym."""
    if is_name and vr in {"LO", "SH", "UT", "UC", "ST", "LT"}:
        text = value.strip(b" \0")
        return f"d-{key.pseudonym('name', text.decode('latin-1'))[:14]}".encode()
    return _DUMMIES.get(vr, bytes(2))


def shifted(vr: str, value: bytes, days: int) -> bytes | None:
    """Shift dates into the past; None if one of them is not a complete date, or is a placeholder.

    >>> shifted("DT", b"20240301120000.5+0100", 1)
    b'20240229120000.5+0100'
    """
    results = []
    for single_value in value.strip(b" \0").split(b"\\"):
        text = single_value.strip(b" \0")
        if vr == "TM":
            if text and not _TIME.fullmatch(text):
                return None
            results.append(text)
            continue
        match = _DATE.fullmatch(text) if vr == "DA" else _STAMP.fullmatch(text)
        if not text:
            results.append(text)
            continue
        if match is None:
            return None
        day = b"".join(match.groups()) if vr == "DA" else match[1]
        if day.decode() in PLACEHOLDERS or not FIRST_YEAR <= int(day[:4]) <= LAST_YEAR:
            return None
        try:
            date = dt.date(int(day[:4]), int(day[4:6]), int(day[6:])) - dt.timedelta(days=days)
        except (ValueError, OverflowError):
            return None
        new_day = f"{date.year:04}{date:%m%d}"
        if new_day in PLACEHOLDERS:
            return None
        rest = b"" if vr == "DA" else match[2] + (match[3] or b"")
        results.append(new_day.encode() + rest)
    return b"\\".join(results)


def capped_age(value: bytes) -> bytes | None:
    """Return an age, capped to 90 years if above 89; None if it is invalid.

    >>> capped_age(b"101Y"), capped_age(b"006M")
    (b'090Y', b'006M')
    """
    text = value.strip(b" \0")
    if not text:
        return b""
    match = _AGE.fullmatch(text)
    if match is None:
        return None
    return b"090Y" if int(match[1]) > OLDEST_YEARS * _PER_YEAR[match[2]] else text


@cache
def words() -> frozenset[str]:
    """Return the words of imaging that name nobody."""
    return frozenset(row[0] for row in rule_rows("descriptor_words.csv"))


def clean_text(value: bytes, identity: frozenset[str]) -> bytes:
    """Return the known words of a text that are not identifying; empty if there are none.

    >>> clean_text(b"T1 axial Doe 3mm", frozenset())
    b'T1 axial 3mm'
    """
    words_kept: list[str] = []
    known = words()
    # Dates first: their numbers are small enough to be kept as imaging parameters.
    text = without_dates(value.decode("latin-1"))
    for part in re.split(r"[^A-Za-z0-9.\x80-\xff]+", text):
        word = part.strip(".").lower()
        if word and word not in identity and (word in known or _NUMBER.fullmatch(word)):
            words_kept.append(part.strip("."))
    return " ".join(words_kept).encode("ascii")
