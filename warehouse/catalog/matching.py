"""Translate the value of a matching key into an SQL condition (PS3.4 C.2.2.2). Pure functions.

QIDO-RS and C-FIND both use this module, so that the same query has the same result.

In: the SQL expression of an attribute, its VR, and the value to match. Out: a condition. The value
is bound as a parameter and never becomes SQL text.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any

from warehouse.dicom.dictionary import LEADING_SPACES
from warehouse.errors import UnknownFilter

_NUMBERS = {"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"}
# Also with the delimiters of ACR-NEMA, which some senders still write (PS3.5, 6.2).
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}(?:\d\d){0,5}(?:\.\d{1,6})?", re.ASCII)
_INTEGER_DIGITS = 30
_MICRO = dt.timedelta(microseconds=1)
AROUND_COMPONENTS = re.compile(r" *([\^=]) *")
"""Delimiters of a person's name with the insignificant spaces around them; group 1 is without."""
_NUMBER = re.compile(r"[+-]?(?:(\d+)|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_WORDS = re.compile(r"[\s^,=*?\\.-]+")


@dataclass(slots=True)
class Binder:
    """Parameters of a statement, by name."""

    values: dict[str, Any] = field(default_factory=dict)
    prefix: str = "q"

    def bind(self, value: object) -> str:
        """Bind a value; return its parameter name."""
        name = f"{self.prefix}{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def condition(c: str, vr: str, value: str, binder: Binder, *, fuzzy: bool = False) -> str:
    """Return the SQL condition for the value of a matching key.

    Parameters
    ----------
    c
        SQL expression of the stored value: a DATE for DA, a TIME for TM, a TIMESTAMP for DT, a
        number for numeric VRs, text for all others; for a name, all of its component groups.
    vr
        Value Representation.
    value
        Value to match; not empty.
    binder
        Collects the parameters.
    fuzzy
        Names also match by word prefixes, ignoring accents; text matches ignoring case.

    Raises
    ------
    UnknownFilter
        The value is not valid for the VR.
    """
    if vr == "DA":
        return _range(c, value, _date, _date, binder, "date as 20241231 or 20240101-20241231")
    if vr == "TM":
        return _range(c, value, _time, _time_end, binder, "time as 1030, or 10-1159")
    if vr == "DT":
        return _range(
            c,
            value,
            _moment,
            _moment_end,
            binder,
            "time as 20241231, or 2024-202506, without an offset from UTC",
        )
    if vr in _NUMBERS:
        return f"{c} = {binder.bind(_number(value))}"
    if vr == "UI":
        wanted = [part.strip() for part in re.split(r"[,\\]", value) if part.strip()]
        # Of a file with several UIDs where one is expected, all of them are the identifier.
        wanted += [value.strip()] if "\\" in value else []
        if len(wanted) == 1:
            # An equality is what DuckDB looks for in the statistics of a part.
            return f"{c} = {binder.bind(wanted[0])}"
        return f"list_contains({binder.bind(wanted)}, {c})"
    if vr == "PN":
        return _name(c, trimmed(vr, value), binder, fuzzy=fuzzy)
    if vr == "CS":
        wanted = [part.strip() for part in re.split(r"[,\\]", value) if part.strip()]
        tests = [_text(_folded(c) if fuzzy else c, part, binder, folded=fuzzy) for part in wanted]
        return f"({' or '.join(tests) or 'false'})"
    return _text(_folded(c) if fuzzy else c, trimmed(vr, value), binder, folded=fuzzy)


def trimmed(vr: str, value: str) -> str:
    """Return a value without insignificant padding (PS3.5, 6.2).

    Examples
    --------
    >>> trimmed("LO", " A "), trimmed("LT", "  A ")
    ('A', '  A')
    """
    value = value.rstrip(" \0")
    return value if vr in LEADING_SPACES else value.lstrip(" ")


def _folded(c: str) -> str:
    """Return the SQL expression of a text without case.

    Both texts of a comparison are folded by DuckDB: Python maps İ to two characters and a final Σ
    to ς, and DuckDB does neither. ``upper`` comes first, as ς and the other small sigma have the
    same capital letter.
    """
    return f"lower(upper({c}))"


def _text(c: str, value: str, binder: Binder, *, folded: bool) -> str:
    """Return the condition for text; ``*`` matches any characters, ``?`` matches one.

    With ``folded``, ``c`` is without case, and so becomes the value.
    """

    def bind(text: str) -> str:
        return _folded(binder.bind(text)) if folded else binder.bind(text)

    if "*" not in value and "?" not in value:
        return f"{c} = {bind(value)}"
    inner = value.strip("*")
    if "*" not in inner and "?" not in inner:
        if value.startswith("*") and value.endswith("*"):
            return f"contains({c}, {bind(inner)})"
        function = "ends_with" if value.startswith("*") else "starts_with"
        return f"{function}({c}, {bind(inner)})"
    # Use a regular expression, which is linear even with many wildcards, unlike LIKE.
    pattern = re.escape(re.sub(r"\*+", "*", value)).replace(r"\*", ".*").replace(r"\?", ".")
    return f"regexp_full_match({c}, {bind(pattern)}, 's')"


def _name(c: str, value: str, binder: Binder, *, fuzzy: bool) -> str:
    # Match the whole name or one of its component groups, or each group that a key of several
    # states. Trailing delimiters are insignificant (PS3.5, 6.2.1.1), and so are spaces around
    # components; names are stored without these spaces.
    asked = AROUND_COMPONENTS.sub(r"\1", value).rstrip("^=")
    groups = f"string_split({_folded(c)}, '=')"
    if "=" in asked:
        found = " and ".join(
            _text(f"rtrim({groups}[{number}], '^ ')", group.rstrip("^"), binder, folded=True)
            for number, group in enumerate(asked.split("="), 1) if group.strip("*^")
        ) or "true"  # fmt: skip
    else:
        test = _text("rtrim(g, '^= ')", asked, binder, folded=True)
        whole = f"list_append({groups}, {_folded(c)})"
        found = f"len(list_filter({whole}, lambda g: {test})) > 0"
    words = [word for word in _WORDS.split(value) if word]
    if not fuzzy or not words:
        return f"({found})"
    plain = f"' ' || regexp_replace(strip_accents({_folded(c)}), '[\\s^,=.-]+', ' ', 'g')"
    starts = " and ".join(
        f"contains({plain}, ' ' || strip_accents({_folded(binder.bind(word))}))" for word in words
    )
    return f"(({found}) or ({starts}))"


def _number(value: str) -> float | int:
    text = value.strip(" ")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UnknownFilter("the attribute is a number, but the value is not; give a number")
    # DuckDB takes no larger integers; as a float, such a number equals no stored integer.
    is_integer = match[1] is not None and len(match[1]) < _INTEGER_DIGITS
    return int(text) if is_integer else float(text)


def _range(c: str, value: str, first: Any, last: Any, binder: Binder, form: str) -> str:
    """Return the condition for an inclusive range, or for one date or time."""
    low, dash, high = value.strip().partition("-")
    low, high = (low.strip(), high.strip()) if dash else (low, low)
    try:
        if not (low or high):
            first("")
        tests = [f"{c} >= {binder.bind(first(low))}"] if low else []
        tests += [f"{c} <= {binder.bind(last(high))}"] if high else []
    except (ValueError, OverflowError):
        raise UnknownFilter(f"not a {form}") from None
    return f"({' and '.join(tests)})"


def _date(text: str) -> dt.date:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError
    return dt.date(*map(int, match.groups()))


def _time(text: str) -> dt.time:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError
    hour, minute, second, fraction = match.groups()
    # Asked as 59, because 60 is not a time of day.
    whole = min(int(second or 0), 59)
    return dt.time(int(hour), int(minute or 0), whole, int((fraction or "0").ljust(6, "0")))


def _time_end(text: str) -> dt.time:
    """Return the last microsecond of the interval that a text of reduced precision denotes."""
    begin, match = _time(text), _TIME.fullmatch(text)
    assert match is not None
    _, minute, second, fraction = match.groups()
    if fraction:
        step = 10 ** (6 - len(fraction)) - 1
        return begin.replace(microsecond=begin.microsecond + step)
    last = begin.replace(microsecond=999_999)
    if second is None:
        last = last.replace(second=59)
    return last if minute else last.replace(minute=59)


def _moment(text: str) -> dt.datetime:
    # Of 20240101-0500 the end is an offset from UTC (PS3.5 6.2), which is not supported.
    if not _DATE_TIME.fullmatch(text) or int(text[:4]) <= 1400:
        raise ValueError
    digits, _, fraction = text.partition(".")
    day = dt.date(int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1))
    time = _time(digits[8:] + (f".{fraction}" if fraction else "")) if digits[8:] else dt.time()
    return dt.datetime.combine(day, time)


def _moment_end(text: str) -> dt.datetime:
    begin = _moment(text)
    digits, _, fraction = text.partition(".")
    if len(digits) > 8:
        rest = digits[8:] + (f".{fraction}" if fraction else "")
        return dt.datetime.combine(begin.date(), _time_end(rest))
    if len(digits) == 8:
        after = begin + dt.timedelta(days=1)
    elif len(digits) == 6:
        after = (begin.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    else:
        after = begin.replace(year=begin.year + 1)
    return after - _MICRO
