"""Parse the GE protocol data block.

In: the value field of (0025,xx1B) of ``GEMS_SERS_01``: a four-byte length and gzip data. Out: one
value per line ``NAME "value"``; in some releases a line begins with ``set``. Values stay as
written: GE escapes special characters as in URLs (``%5C``).
"""

from __future__ import annotations

import re
import zlib

from warehouse.elements.payload import (
    MAX_LINES,
    MAX_NAME,
    PayloadValue,
    clipped,
    damaged,
    read_number,
)

MAX_VALUES = 20_000
MAX_EXPANSION = 64
"""Bytes of text per byte of the block; real ones have about three."""

MAX_UNPACKED = 16 << 20
"""Bytes of text; real ones have up to some hundred thousand."""

_GZIP = b"\x1f\x8b"
_SET = re.compile(r'(?:set[ \t]+)?(\S+)[ \t]+(?:"(.*)"|(\S+))[ \t]*')


def read_ge_protocol(raw: bytes) -> list[PayloadValue]:
    """Return the settings; the last one with a name is valid."""
    start = raw.find(_GZIP, 0, 64)
    if start < 0:
        return [damaged("not a protocol data block: no gzip")]
    allowed = min(MAX_EXPANSION * len(raw), MAX_UNPACKED)
    unpack = zlib.decompressobj(wbits=31)
    why = None
    try:
        text = unpack.decompress(raw[start:], allowed)
    except zlib.error:
        return [damaged("protocol data block is damaged gzip")]
    if not unpack.eof:
        why = f"text of over {allowed} bytes" if len(text) >= allowed else "gzip ends too early"
    values: dict[str, PayloadValue] = {}
    unread = 0
    for number, written_line in enumerate(text.decode("latin-1").split("\n", MAX_LINES)):
        if len(values) >= MAX_VALUES:
            why = f"more than {MAX_VALUES} settings: the rest is not read"
            break
        if number == MAX_LINES:
            why = why or f"more than {MAX_LINES} lines: the rest is not read"
            break
        line = written_line.strip("\r\0 ")
        found = _SET.fullmatch(line)
        if found is None or len(found[1]) > MAX_NAME:
            unread += bool(line)
            continue
        written = found[2] if found[2] is not None else found[3]
        kept, warning = clipped(written)
        integer, real = read_number(written.strip()) or (None, None)
        values[found[1]] = PayloadValue(found[1], 0, None, kept, integer, real, warning)
    if why is None and unread:
        why = f"{unread} lines are no settings"
    if why is None and not values:
        why = "protocol data block without settings"
    return [*values.values(), *([damaged(why)] if why else [])]
