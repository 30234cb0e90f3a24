"""Parse the ASCCONV section of a Siemens protocol.

In: text with ``### ASCCONV BEGIN … ###`` and ``### ASCCONV END ###`` at any position. Out: one
value per assignment, named as written: ``sSliceArray.asSlice[0].dThickness``. The XProtocol before
and after that section is ignored.
"""

from __future__ import annotations

import re

from warehouse.elements.payload import (
    MAX_LINES,
    MAX_NAME,
    PayloadValue,
    clipped,
    damaged,
    read_number,
)

MAX_VALUES = 20_000
"""Maximum number of assignments in a protocol; real ones have up to some thousands."""

_BEGIN = "### ASCCONV BEGIN"
_END = "### ASCCONV END"
_NAME = re.compile(r"[A-Za-z_]\w*(?:\[\d+\]|\.\w+)*", re.ASCII)


def read_ascconv(text: str) -> list[PayloadValue]:
    """Return the assignments; the last one to a name is valid."""
    begin = text.find(_BEGIN)
    if begin < 0:
        return [damaged("protocol without ASCCONV part")]
    # The first line may continue with attributes, up to its own ###.
    first = text.find("\n", begin)
    end = text.find(_END, begin)
    part = text[first + 1 : end if end >= 0 else len(text)] if first >= 0 else ""
    values: dict[str, PayloadValue] = {}
    why = None if end >= 0 else "ASCCONV part has no end"
    unread = 0
    for number, line in enumerate(part.split("\n", MAX_LINES)):
        if len(values) >= MAX_VALUES:
            why = f"more than {MAX_VALUES} assignments: the rest is not read"
            break
        if number == MAX_LINES:
            why = why or f"more than {MAX_LINES} lines: the rest is not read"
            break
        name, equals, written = line.partition("=")
        name = name.strip()
        if name.startswith("#") or not (name or equals):
            continue
        if equals and len(name) <= MAX_NAME and _NAME.fullmatch(name):
            values[name] = _assigned(name, written.strip())
        else:
            unread += 1
    if why is None and unread:
        why = f"{unread} lines are no assignments"
    if why is None and not values:
        why = "ASCCONV part without assignments"
    return [*values.values(), *([damaged(why)] if why else [])]


def _assigned(name: str, written: str) -> PayloadValue:
    if written.startswith('"'):
        return _quoted(name, written)
    written = written.partition("#")[0].strip()
    number = read_number(written)
    if number is None:
        kept, _ = clipped(written)
        return PayloadValue(name, text=kept, warning="neither a number nor quoted")
    return PayloadValue(name, 0, None, written, *number)


def _quoted(name: str, written: str) -> PayloadValue:
    """Read a quoted text; quotes are doubled if the protocol is embedded in another text."""
    mark = '""' if written.startswith('""') else '"'
    end = written.find(mark, len(mark))
    if mark == '""' and end < 0:
        # An empty quoted string.
        return PayloadValue(name, text="")
    inner = written[len(mark) : end] if end >= 0 else written[len(mark) :]
    kept, warning = clipped(inner)
    return PayloadValue(name, text=kept, warning=warning if end >= 0 else "quotes do not close")
