"""``PayloadValue``: one value of a vendor payload, and the parsing of its text.

In: text as written by a vendor. Out: ``PayloadValue``. The payload formats have their own modules:
``csa``, ``ascconv``, ``ge_protocol``.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

MAX_TEXT = 1 << 16
"""Characters of one value; protocols in MrEvaProtocol have some thousands."""

MAX_LINES = 100_000
"""Maximum number of lines in a protocol, valid or not; real ones have some thousands."""

MAX_NAME = 512
"""Characters of a name; real ones have up to a hundred."""

MAX_NUMBER = 64
"""Characters of a number."""

_DECIMAL = "+-0123456789.eE"
_HEX = re.compile(r"[+-]?0[xX][0-9a-fA-F]{1,16}", re.ASCII)


class PayloadValue(NamedTuple):
    """One value, with the columns of ``vendor_values``."""

    name: str
    position: int = 0
    """Position in its element, from 0; the column ``index``."""
    vr: str | None = None
    text: str | None = None
    integer: int | None = None
    real: float | None = None
    warning: str | None = None


def damaged(why: str) -> PayloadValue:
    """Return the row with the reason why a payload, or the rest of it, could not be read."""
    return PayloadValue("", warning=why)


def clipped(text: str) -> tuple[str | None, str | None]:
    """Return a text and no warning; if it is too long for a row, None and the warning."""
    if len(text) > MAX_TEXT:
        return None, f"{len(text)} characters: not kept"
    return text, None


def read_number(text: str) -> tuple[int | None, float | None] | None:
    """Return a text as integer and as real; None if it is not written as such.

    >>> read_number("0x11"), read_number("-2"), read_number("0.5"), read_number("1e999")
    ((17, 17.0), (-2, -2.0), (None, 0.5), None)
    """
    if len(text) > MAX_NUMBER:
        return None
    if text.strip(_DECIMAL):
        # float() and int() of Python also accept words, blanks and underscores.
        if not _HEX.fullmatch(text):
            return None
        whole = int(text, 16)
    else:
        try:
            real = float(text)
        except ValueError:
            return None
        if not text.lstrip("+-").isdigit():
            return (None, real) if math.isfinite(real) else None
        whole = int(text)
    return whole if -(1 << 63) <= whole < 1 << 63 else None, float(whole)
