r"""Decode value fields into typed values, by VR.

In: the VR of an element, its value field as stored, and the character sets in effect. Out: one
``Value`` per value of the element; none if the element is empty.

The rules are those of PS3.5 §6.2. The stored form is kept (``text`` or ``bytes``). The typed form
(``integer``, ``real``, ``date``, ``time_us``, ``timestamp``) is added if the value conforms
strictly; otherwise ``warning`` has the reason. Nothing is guessed. Padding is removed as in
pydicom: trailing spaces and NULs from every value, leading spaces only if they are insignificant by
the standard and pydicom removes them, too (AE, IS, DS).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from warehouse.dicom import dictionary
from warehouse.dicom.charset import DEFAULT, DELIMITERS, UNREADABLE, decode_text
from warehouse.elements.schema import INLINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_VALUES = 1 << 18
"""An element with more values is kept as bytes, so that one file cannot exhaust the memory."""

EPOCH = date(1970, 1, 1)

SINGLE_TEXT = frozenset({"LT", "ST", "UT", "UR"})
"""Text VRs in which a backslash is not a separator."""
STRIPPED = frozenset({"AE", "DS", "IS"})
"""Text VRs in which leading spaces of each value are also insignificant (PS3.5 6.2)."""

LEADING_SPACES = dictionary.LEADING_SPACES

CHARSET_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs decoded with Specific Character Set (0008,0005); all others are ASCII."""

TEXT = (
    frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"}) | SINGLE_TEXT | CHARSET_TEXT
)

SEPARATED = TEXT - SINGLE_TEXT
"""Text VRs in which backslashes separate values."""

NUMBERS = {
    "US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d",
    "AT": "HH",
}  # fmt: skip
"""Binary number VRs and the struct format of one value."""

BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

ALL_VRS = TEXT | set(NUMBERS) | BINARY | {"SQ"}
"""The 34 VRs of PS3.5 §6.2."""

LUT_DESCRIPTORS = frozenset({"00281101", "00281102", "00281103", "00283002"})
"""LUT descriptors, whose first value is unsigned with any VR (PS3.3 C.11.1.1), as in pydicom."""

# Each digit can match in only one way; "\d+\.?\d*" would take quadratic time.
_DS = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_IS = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
_AS = re.compile(r"(\d{3})([DWMY])", re.ASCII)
_DA = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_DA_ACR = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)", re.ASCII)
_TM = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_TM_ACR = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?", re.ASCII)
_DT = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?)?)?)?"
    r"(?:([+-])(\d\d)(\d\d))?",
    re.ASCII,
)
_EARLIEST_OFFSET, _LATEST_OFFSET = timedelta(hours=-12), timedelta(hours=14)  # PS3.5 6.2
_AGE_IN_YEARS = {"D": 365.2422, "W": 52.1429, "M": 12.0, "Y": 1.0}
_PN_GROUPS = ("alphabetic", "ideographic", "phonetic")
_PN_PARTS = ("family_name", "given_name", "middle_name", "name_prefix", "name_suffix")


class Value(NamedTuple):
    """One value, in the typed columns of the long table."""

    text: str | None = None
    integer: int | None = None
    real: float | None = None
    date: int | None = None
    """Days since 1970-01-01."""
    time_us: int | None = None
    """Microseconds since midnight."""
    timestamp: int | None = None
    """Microseconds since 1970-01-01T00:00; UTC if the value has an offset, else as written."""
    bytes: bytes | None = None
    length: int | None = None
    sha256: str | None = None
    warning: str | None = None


def decode(
    vr: str, raw: bytes, *, charsets: Sequence[str] = (DEFAULT,), little: bool = True,
    tag: str = "",
) -> list[Value]:  # fmt: skip
    """Read one value field.

    Parameters
    ----------
    vr
        Value Representation; an unknown one is kept as bytes.
    raw
        The value field as in the file, including padding.
    charsets
        Python encodings for Specific Character Set, as returned by pydicom's
        ``convert_encodings``.
    little
        Byte order of binary numbers.
    tag
        Eight hex digits; only the LUT descriptors need it.

    Returns
    -------
    list of Value
        In stored order; empty if the element is empty or has only padding.
    """
    if not raw:
        return []
    if vr in TEXT:
        return _decode_text(vr, raw, charsets)
    if vr in NUMBERS:
        return _decode_numbers(vr, raw, little=little, tag=tag)
    if vr in BINARY:
        return [binary(raw)]
    return [binary(raw)._replace(warning=f"unknown VR: kept as {len(raw)} bytes")]


def binary(raw: bytes) -> Value:
    """Return a binary value: the bytes if they are short, else length and digest."""
    return Value(
        bytes=raw if len(raw) <= INLINE_BYTES else None,
        length=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def _decode_text(vr: str, raw: bytes, charsets: Sequence[str]) -> list[Value]:
    """Decode a text value field, remove padding, split at backslashes, parse each value."""
    warning = None
    if vr in CHARSET_TEXT:
        text = decode_text(raw, charsets, DELIMITERS.get(vr, b""))
        if UNREADABLE in text:
            warning = "not readable in the declared character set: bytes kept"
    else:
        text = raw.decode(DEFAULT)
    text = text.rstrip("\0 ")
    if vr in STRIPPED:
        text = text.strip("\0 ")
    if not text:
        return []
    if vr in SINGLE_TEXT:
        parts = [text]
    elif text.count("\\") >= MAX_VALUES:
        return [binary(raw)._replace(warning=f"more than {MAX_VALUES} values: kept as bytes")]
    else:
        parts = text.split("\\")
    parse = _PARSERS.get(vr, _plain)
    values = [parse(part) for part in parts]
    if warning:
        kept = binary(raw)
        values = [
            v._replace(warning=warning, bytes=kept.bytes, length=kept.length, sha256=kept.sha256)
            for v in values
        ]
    return values


def _decode_numbers(vr: str, raw: bytes, *, little: bool, tag: str) -> list[Value]:
    """Unpack binary numbers; a value field of the wrong length is returned as bytes."""
    size = number_size(vr)
    if len(raw) % size:
        return [
            binary(raw)._replace(
                warning=f"{len(raw)} bytes are no multiple of {size}: kept as bytes"
            )
        ]
    count = len(raw) // size
    if count > MAX_VALUES:
        return [binary(raw)._replace(warning=f"more than {MAX_VALUES} values: kept as bytes")]
    numbers = struct.unpack(("<" if little else ">") + NUMBERS[vr] * count, raw)
    if vr == "AT":
        tags = [
            group << 16 | element
            for group, element in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        return [Value(text=f"{number:08X}", integer=number) for number in tags]
    if vr in {"FL", "FD"}:
        return [Value(real=number) for number in numbers]
    if vr == "UV":
        return [Value(text=str(n), integer=n if n < 1 << 63 else None) for n in numbers]
    if tag in LUT_DESCRIPTORS and numbers[0] < 0:
        numbers = (numbers[0] + 65536, *numbers[1:])
    return [Value(integer=number) for number in numbers]


def number_size(vr: str) -> int:
    """Return the size in bytes of a binary number of a VR."""
    return struct.calcsize("=" + NUMBERS[vr])


def _plain(text: str) -> Value:
    return Value(text=text.rstrip("\0 "))


def _title(text: str) -> Value:
    return Value(text=text.strip("\0 "))


def _decimal(text: str) -> Value:
    text = text.strip("\0 ")
    if not text:
        return Value(text=text)
    number = float(text) if _DS.fullmatch(text) else math.inf
    if math.isinf(number):
        return Value(text=text, warning="not a decimal string")
    return Value(text=text, real=number)


def _integer(text: str) -> Value:
    text = text.strip("\0 ")
    if not text:
        return Value(text=text)
    if not _IS.fullmatch(text):
        return Value(text=text, warning="not an integer string")
    digits = text.partition(".")[0].lstrip("+-0")
    # Python refuses to parse thousands of digits; 64-bit integers have 19.
    number = int(digits or "0") if len(digits) <= 19 else 1 << 64
    number = -number if text[0] == "-" else number
    if not -(1 << 63) <= number < 1 << 63:
        return Value(text=text, warning="integer beyond 64 bits")
    return Value(text=text, integer=number)


def _age(text: str) -> Value:
    text = text.rstrip("\0 ")
    match = _AS.fullmatch(text)
    if match is None:
        return Value(text=text, warning="not an age: nnnD, nnnW, nnnM or nnnY" if text else None)
    return Value(text=text, real=int(match[1]) / _AGE_IN_YEARS[match[2]])


def _date(text: str) -> Value:
    text = text.rstrip("\0 ")
    if not text:
        return Value(text=text)
    match = _DA.fullmatch(text)
    warning = None
    if match is None:
        match = _DA_ACR.fullmatch(text)
        warning = "date written as in ACR-NEMA, YYYY.MM.DD"
    try:
        days = (date(*map(int, match.groups())) - EPOCH).days if match else None
    except ValueError:
        days = None
    if days is None:
        return Value(text=text, warning="not a date: YYYYMMDD")
    return Value(text=text, date=days, warning=warning)


LEAP_SECOND = "leap second: valid, but kept as text only"
"""Warning for SS = 60 (PS3.5 6.2), which neither a time of day nor a timestamp can express."""


def _micros(fraction: str | None) -> int:
    return int(fraction.ljust(6, "0")) if fraction else 0


def _time(text: str) -> Value:
    text = text.rstrip("\0 ")
    if not text:
        return Value(text=text)
    match = _TM.fullmatch(text)
    warning = None
    if match is None:
        match = _TM_ACR.fullmatch(text)
        warning = "time written as in ACR-NEMA, HH:MM:SS"
    if match is not None:
        hour, minute, second = (int(part or 0) for part in match.groups()[:3])
        if hour < 24 and minute < 60 and second == 60:
            return Value(text=text, warning=LEAP_SECOND)
        if hour < 24 and minute < 60 and second < 60:
            total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + _micros(match[4])
            return Value(text=text, time_us=total, warning=warning)
    return Value(text=text, warning="not a time: HHMMSS.FFFFFF")


def _datetime(text: str) -> Value:
    text = text.rstrip("\0 ")
    if not text:
        return Value(text=text)
    match = _DT.fullmatch(text)
    try:
        if match is None:
            raise ValueError  # noqa: TRY301
        year, month, day, hour, minute, second, fraction, sign, off_hour, off_minute = (
            match.groups()
        )
        is_leap = second == "60"
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            59 if is_leap else int(second or 0), _micros(fraction), tzinfo=UTC,
        )  # fmt: skip
        if sign:
            if int(off_minute) > 59:
                raise ValueError  # noqa: TRY301
            offset = timedelta(hours=int(off_hour), minutes=int(off_minute))
            offset = -offset if sign == "-" else offset
            if not _EARLIEST_OFFSET <= offset <= _LATEST_OFFSET:
                raise ValueError  # noqa: TRY301
            moment = moment.replace(tzinfo=timezone(offset)).astimezone(UTC)
    except OverflowError:
        return Value(text=text, warning="in UTC not in the years 1 to 9999: kept as text only")
    except ValueError:
        return Value(text=text, warning="not a date and time: YYYYMMDDHHMMSS.FFFFFF&ZZXX")
    if is_leap:
        return Value(text=text, warning=LEAP_SECOND)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Value(text=text, timestamp=since // timedelta(microseconds=1))


def _person_name(text: str) -> Value:
    """Parse a PN value into JSON of its components, with a key for every delimiter written."""
    text = text.rstrip("\0 ")
    if not text:
        return Value(text=text)
    groups = text.split("=", 2)
    name: dict[str, dict[str, str]] = {}
    warning = "more than three groups" if "=" in groups[-1] and len(groups) == 3 else None
    for group, written in zip(_PN_GROUPS, groups, strict=False):
        parts = written.split("^", 4) if written else []
        if len(parts) == 5 and "^" in parts[4]:
            warning = "more than five name components"
        name[group] = dict(zip(_PN_PARTS, parts, strict=False))
    return Value(text=json.dumps(name, ensure_ascii=False, separators=(",", ":")), warning=warning)


def person_name_text(components: str) -> str:
    """Return the original PN value for such JSON: ``Family^Given=...``."""
    groups = json.loads(components)
    return "=".join("^".join(groups[group].values()) for group in _PN_GROUPS if group in groups)


_PARSERS: dict[str, Callable[[str], Value]] = {
    "AE": _title,
    "AS": _age,
    "DA": _date,
    "DS": _decimal,
    "DT": _datetime,
    "IS": _integer,
    "PN": _person_name,
    "TM": _time,
}
