r"""Keys of a DICOM query → conditions over columns (PS3.4 C.2.2.2).

In: the text of a key, the VR of its attribute and the type of the column that holds it. Out:
``Condition``, SQL with parameters; no text of a key becomes SQL. Nothing is asked here, and nothing
of the network is known: QIDO-RS has the same rules.

===================  ==========================================================================
empty, or only ``*``  universal: no condition
``\`` between values  any of them (of UIDs by the standard; of other values, too)
``*`` and ``?``       any text, any character, in AE, CS, LO, LT, PN, SH, ST, UC, UR and UT
``a-b``, ``a-``, ``-b``  range of dates or times, both ends included
PN                    in upper or lower case; the whole name or one of its component groups
===================  ==========================================================================

A time that states hours or minutes only covers all of them, alone and as an end of a range.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?", re.ASCII)


class KeyRefused(ValueError):
    """A key cannot be a value of its attribute; says which and why, without the value."""

    def __init__(self, keyword: str, why: str) -> None:
        super().__init__(f"{keyword}: {why}")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row has to fulfil."""

    sql: str
    values: dict[str, Any]
    """Parameters by the name under which ``sql`` has them."""


def condition(keyword: str, vr: str, column_type: str, key: str) -> Condition | None:
    r"""Return the condition that a key puts on a column of its name, None if it matches all.

    Parameters
    ----------
    keyword
        Keyword of the attribute, which is the name of the column.
    vr, column_type
        Its VR, and the DuckDB type of the column: text, number, ``DATE``, ``TIME``, or a list.
    key
        Text as the query has it.

    Raises
    ------
    KeyRefused

    Examples
    --------
    >>> condition("StudyDate", "DA", "DATE", "20260101-").sql
    '("StudyDate" >= $StudyDate_0_from)'
    >>> condition("Modality", "CS", "VARCHAR", r"CT\MR").values
    {'Modality_0': 'CT', 'Modality_1': 'MR'}
    >>> condition("PatientName", "PN", "VARCHAR", "*") is None
    True
    """
    keys = [part.strip(" \0") for part in key.split("\\")]
    if vr in WILDCARD_VRS and any(part and not part.strip("*") for part in keys):
        return None
    keys = [part for part in keys if part]
    if not keys:
        return None
    is_list, kind = column_type.endswith("[]"), column_type.removesuffix("[]")
    values: dict[str, Any] = {}
    # A lambda of DuckDB stands for each value of a list.
    of = "v" if is_list else f'"{keyword}"'
    tests = [
        _test(keyword, vr, kind)(part, of, f"{keyword}_{place}", values)
        for place, part in enumerate(keys)
    ]
    holds = f"({' or '.join(tests)})"
    if is_list:
        holds = f'(len(list_filter("{keyword}", lambda v: {holds})) > 0)'
    return Condition(holds, values)


def _test(keyword: str, vr: str, kind: str) -> Callable[[str, str, str, dict[str, Any]], str]:
    if kind == "DATE":
        return lambda *given: _range(keyword, _dates, *given)
    if kind == "TIME":
        return lambda *given: _range(keyword, _times, *given)
    if kind != "VARCHAR":
        return lambda *given: _number(keyword, *given)
    if vr == "PN":
        return _name
    return _wild if vr in WILDCARD_VRS else _equal


def _equal(key: str, of: str, name: str, values: dict[str, Any]) -> str:
    values[name] = key
    return f"{of} = ${name}"


def _wild(key: str, of: str, name: str, values: dict[str, Any]) -> str:
    if not set("*?") & set(key):
        return _equal(key, of, name, values)
    values[name] = pattern(key)
    return f"regexp_full_match({of}, ${name}, 's')"


def _name(key: str, of: str, name: str, values: dict[str, Any]) -> str:
    """Match a name, or one of its groups; delimiters at the end mean nothing (PS3.5 6.2.1.1)."""
    values[name] = pattern(key.rstrip("^= "))
    groups = f"list_append(string_split({of}, '='), {of})"
    test = f"regexp_full_match(rtrim(g, '^= '), ${name}, 'si')"
    return f"len(list_filter({groups}, lambda g: {test})) > 0"


def pattern(key: str) -> str:
    r"""Return a key with wildcards as a regular expression.

    Not as a pattern of LIKE, which takes ever longer for many wildcards.

    >>> pattern("50%**?")
    '50%.*.'
    """
    return re.escape(re.sub(r"\*+", "*", key)).replace(r"\*", ".*").replace(r"\?", ".")


def _number(keyword: str, key: str, of: str, name: str, values: dict[str, Any]) -> str:
    try:
        values[name] = int(key)
    except ValueError:
        try:
            values[name] = float(key)
        except ValueError:
            raise KeyRefused(keyword, "the key is no number") from None
    return f"{of} = ${name}"


def _range(
    keyword: str, ends: Callable[[str, str], tuple[Any, Any]], key: str, of: str, name: str,
    values: dict[str, Any],
) -> str:  # fmt: skip
    first, dash, last = key.partition("-")
    first, last = first.strip(), last.strip()
    if not first and not last:
        raise KeyRefused(keyword, "the range has no end")
    tests = []
    if first:
        values[f"{name}_from"], until = ends(keyword, first)
        tests.append(f"{of} >= ${name}_from")
    if last or not dash:
        values[f"{name}_to"] = ends(keyword, last)[1] if last else until
        tests.append(f"{of} <= ${name}_to")
    return " and ".join(tests) if len(tests) == 1 else f"({' and '.join(tests)})"


def _dates(keyword: str, text: str) -> tuple[dt.date, dt.date]:
    found = _DATE.fullmatch(text)
    try:
        if found:
            day = dt.date(*map(int, found.groups()))
            return day, day
    except ValueError:
        pass
    raise KeyRefused(keyword, "the key is no date: YYYYMMDD")


def _times(keyword: str, text: str) -> tuple[dt.time, dt.time]:
    """Return the first and the last microsecond that a time as it is stated can be."""
    found = _TIME.fullmatch(text)
    try:
        if found:
            hour, minute, second, fraction = found.groups()
            # A leap second is 59 in the tables, too.
            second = min(second, "59") if second else None
            return (
                dt.time(int(hour), int(minute or 0), int(second or 0), _micro(fraction, "0")),
                dt.time(int(hour), int(minute or 59), int(second or 59), _micro(fraction, "9")),
            )
    except ValueError:
        pass
    raise KeyRefused(keyword, "the key is no time: HHMMSS.FFFFFF")


def _micro(fraction: str | None, fill: str) -> int:
    return int((fraction or "").ljust(6, fill))
