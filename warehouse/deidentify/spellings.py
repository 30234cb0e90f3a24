"""Spellings in which names, IDs and dates may occur elsewhere.

In: a name or ID, or a text that may contain a date. Out: the name in lower case, without accents,
transliterated (ä as ae), in every character set; the dates that a text may mean. No file is read.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from warehouse.dicom.charset import DEFAULT, decode_text, encodings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARSETS = (
    "utf-8", "latin-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6",
    "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "tis-620", "shift_jis", "iso2022_jp",
    "iso2022_jp_2", "euc_jp", "iso2022_kr", "euc_kr", "gb18030", "gbk", "cp1252",
)  # fmt: skip
_WIDE = ("utf-16-le", "utf-16-be")
_TRANSLITERATIONS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe", "ß": "ss",
     "þ": "th", "ð": "d", "đ": "d", "ł": "l",
     "\u0131": "i"}
)  # fmt: skip
_BASE_LETTERS = str.maketrans(
    {
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "ß": "ss",
        "þ": "th",
        "ð": "d",
        "đ": "d",
        "ł": "l",
        "\u0131": "i",
    }
)
_SPLIT = re.compile("[\\^=\\\\,\\s\N{REPLACEMENT CHARACTER}]+")
"""Characters that could not be decoded also separate words."""
_INNER = re.compile(r"[-'\u2019`\u00b4.\u00b7]+")
_SHORTEST = 3
"""Smallest number of letters of a name that is searched for on its own."""
_MONTHS = (
    "jan(?:uary|uar)?", "feb(?:ruary|ruar)?", "mar(?:ch)?|märz", "apr(?:il)?", "may|mai",
    "june?|juni", "july?|juli", "aug(?:ust)?", "sept?(?:ember)?", "o[ck]t(?:ober)?",
    "nov(?:ember)?", "de[cz](?:ember)?",
)  # fmt: skip
_MONTH = f"(?<![a-z])(?:{'|'.join(_MONTHS)})(?![a-z])"
_GAP = "[-./_ ,]{0,3}"
DATE_LIKE = re.compile(
    r"(?<!\d)(?:\d{8}(?:\d{4}|\d{6})?(?!\d)|\d{4}:\d\d:\d\d(?!\d)"
    r"|\d{1,4}\s?([-./_ ])\s?\d{1,2}\s?\1\s?\d{1,4}(?!\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?{_GAP}{_MONTH}(?:{_GAP}\d{{2,4}}(?!\d))?)"
    rf"|{_MONTH}{_GAP}\d{{1,2}}(?!\d)(?:st|nd|rd|th)?(?:[-./_ ,]{{1,3}}\d{{2,4}}(?!\d))?"
    r"|(?<!\d)\d{1,2}/\d{1,2}(?!\d)",
    re.IGNORECASE,
)
"""Text that may be a date, also one with its time as 14 digits, or a day without its year."""
_PARTS = re.compile(r"\d+|[a-zä]{3,}", re.IGNORECASE)


def text_of(content: bytes, charset: str) -> str:
    """Decode a stored value to text.

    Parameters
    ----------
    content
        Value as it is stored.
    charset
        Specific Character Set (0008,0005) of the file, as it is stored.
    """
    if content.isascii() and b"\x1b" not in content:
        return content.decode("ascii")
    return decode_text(content, _encodings(charset))


def _encodings(charset: str) -> tuple[str, ...]:
    try:
        return encodings_of(tuple(name.strip() for name in charset.split("\\")))
    except (LookupError, ValueError):
        return (DEFAULT,)


def spellings(text: str) -> set[str]:
    """Return a text in lower case: with and without accents, and transliterated.

    >>> sorted(spellings("Müller") & {"mueller", "muller", "müller"})
    ['mueller', 'muller', 'müller']
    """
    lowered = unicodedata.normalize("NFC", text).lower()
    if lowered.isascii():
        return {lowered}
    decomposed = unicodedata.normalize("NFD", lowered)
    plain = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f").translate(_BASE_LETTERS)
    return {
        lowered,
        decomposed,
        unicodedata.normalize("NFC", plain),
        lowered.translate(_TRANSLITERATIONS),
    }


def parts_of_name(text: str) -> set[str]:
    """Return the texts to search for of a name (PN): its words, and short ones combined.

    >>> sorted(parts_of_name("Ng^Bo"))
    ['bo ng', 'bo, ng', 'bo_ng', 'bong', 'ng bo', 'ng, bo', 'ng^bo', 'ng_bo', 'ngbo']
    """
    texts: set[str] = set()
    name = text.strip(" \0")
    if len(name) > _SHORTEST:
        texts |= spellings(name)
    for group in name.split("="):
        words = [word for word in _SPLIT.split(group) if word and not word.isdigit()]
        for word in words:
            subwords = [subword for subword in _INNER.split(word) if subword]
            for part in {word, *subwords, "".join(subwords)}:
                if _is_long(part):
                    texts |= spellings(part)
        if len(words) > 1 and not (_is_long(words[0]) and _is_long(words[1])):
            for first, second in ((words[0], words[1]), (words[1], words[0])):
                for between in (" ", ", ", "_", ""):
                    if len(first) + len(second) > _SHORTEST:
                        texts |= spellings(f"{first}{between}{second}")
    return texts


def _is_long(word: str) -> bool:
    # Two Chinese characters can be a name.
    return len(word) >= _SHORTEST or (len(word) > 1 and not word.isascii())


@lru_cache(8192)
def encoded(small: str) -> frozenset[bytes]:
    """Encode a lower-case text in each character set that has its characters.

    ASCII letters are in lower case, other letters in each case.
    """
    if small.isascii():
        return frozenset({small.encode("ascii")})
    encodings = set()
    for text in (small, small.upper(), small.title()):
        for charset in (*CHARSETS, *_WIDE):
            with suppress(UnicodeEncodeError):
                encodings.add(text.encode(charset).lower())
    return frozenset(encodings)


def written(text: str) -> Iterator[bytes]:
    """Encode a text as written in each character set that has its characters."""
    for charset in ("ascii",) if text.isascii() else CHARSETS:
        with suppress(UnicodeEncodeError):
            yield text.encode(charset)


def dates_in(text: str) -> set[str]:
    """Return the dates that a text may mean, as YYYYMMDD; two-digit years in both centuries.

    >>> sorted(dates_in("seen 3/4/1953, again on 7 May 2020, b 0 50 1000"))
    ['19530304', '19530403', '20200507']
    """
    return {day for match in DATE_LIKE.finditer(text) for day in _dates_of(match[0])}


def without_dates(text: str) -> str:
    """Return a text with a space for each possible date or day.

    >>> without_dates("T1 3/4/1953 axial 12/3 b 0 50 1000, Dec 24")
    'T1   axial   b 0 50 1000,  '
    """
    return DATE_LIKE.sub(lambda match: " " if _is_date(match[0]) else match[0], text)


def _is_date(text: str) -> bool:
    return len(_PARTS.findall(text)) == 2 or bool(_dates_of(text))


def _dates_of(text: str) -> set[str]:
    """Return the dates that a date-like text may mean, as YYYYMMDD."""
    parts = [number for part in _PARTS.findall(text) if (number := _number_or_month(part))]
    if len(parts) == 1:
        digits = parts[0][:8]
        days = {digits, digits[4:] + digits[2:4] + digits[:2], digits[4:] + digits[:4]}
    else:
        days = set(_dates_of_numbers(*parts)) if len(parts) == 3 else set()
    return {
        day
        for day in days
        if "1850" <= day[:4] <= "2150" and "01" <= day[4:6] <= "12" and "01" <= day[6:] <= "31"
    }


def _number_or_month(part: str) -> str:
    if part.isdigit():
        return part
    for number, month in enumerate(_MONTHS, 1):
        if re.fullmatch(month, part, re.IGNORECASE):
            return f"m{number:02}"
    return ""


def _dates_of_numbers(first: str, second: str, third: str) -> Iterator[str]:
    """Yield the dates that three numbers may mean, in the common orders."""
    for year, month, day in (
        (first, second, third),
        (third, second, first),
        (third, first, second),
    ):
        if len(year) not in {2, 4} or year.startswith("m") or day.startswith("m"):
            continue
        months = month.removeprefix("m")
        if len(months) > 2 or len(day) > 2:
            continue
        for century in ("",) if len(year) == 4 else ("19", "20"):
            yield f"{century}{year}{months.zfill(2)}{day.zfill(2)}"
