"""Decode text with Specific Character Set (PS3.5 §6.1, PS3.3 C.12.1.1.2).

pydicom provides the terms and most codecs; this module uses them and reports undecodable bytes.
ISO 2022 code extensions are decoded here, for three reasons: a delimiter resets the character set
to the first one, which pydicom does not do between values and components; pydicom leaves escape
sequences of ISO 2022 IR 58 in the text; and it does not support Latin-9.
"""

from __future__ import annotations

import codecs
import re
import threading
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

from warehouse.dicom.pydicom_warnings import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = "iso8859"
"""pydicom's name for the default repertoire; a superset of ASCII that reads every byte."""

UNREADABLE = "\N{REPLACEMENT CHARACTER}"

DELIMITERS = {"LO": b"\\", "SH": b"\\", "UC": b"\\", "PN": b"\\^="}
"""VR → delimiters that reset the character set to the first one (PS3.5 6.1.2.5.3)."""

_LATIN_9 = {"ISO_IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15"}
_UNKNOWN = "ascii"
"""Codec for unknown terms: bytes that are not ASCII become unreadable instead of guessed."""

_G0 = {b"(B": "ascii", b"(J": "shift_jis", b"$B": "iso2022_jp", b"$(D": "iso2022_jp_2"}
_G1 = {
    b")I": "shift_jis", b"-A": "latin_1", b"-B": "iso8859_2", b"-C": "iso8859_3",
    b"-D": "iso8859_4", b"-F": "iso8859_7", b"-G": "iso8859_6", b"-H": "iso8859_8",
    b"-L": "iso8859_5", b"-M": "iso8859_9", b"-T": "iso_ir_166", b"-b": "iso8859_15",
    b"$)C": "euc_kr", b"$)A": "gb2312",
}  # fmt: skip
"""Escape sequence without ESC → Python codec (PS3.3 tables C.12-3 and C.12-4)."""
_CONTROLS = b"\t\n\f\r"
_TWO_BYTES = {"iso2022_jp": b"\x1b$B", "iso2022_jp_2": b"\x1b$(D"}
_ESCAPE = re.compile(
    b"\x1b(" + b"|".join(map(re.escape, sorted({**_G0, **_G1}, key=len, reverse=True))) + b")"
)

_quiet = threading.Lock()
"""Lock for warning filters, which are global: two threads would restore each other's filters."""

_HALVES = re.compile("[\ud800-\udfff]")


@lru_cache(1024)
def encodings_of(terms: tuple[str, ...]) -> tuple[str, ...]:
    """Return Python's encodings for the terms of Specific Character Set (0008,0005)."""
    return tuple(convert_encodings([_known(term) for term in terms]))


def _known(term: str) -> str:
    """Return a term that pydicom understands."""
    if term in _LATIN_9:
        return _LATIN_9[term]
    with _quiet, quiet() as messages:
        convert_encodings(term)
    return _UNKNOWN if any("Unknown encoding" in text for text in messages) else term


def decode_text(raw: bytes, charsets: Sequence[str], delimiters: bytes = b"\\") -> str:
    """Decode a text value; invalid bytes become U+FFFD.

    Parameters
    ----------
    raw
        Values with their delimiters.
    charsets
        Result of ``encodings_of``.
    delimiters
        Delimiters of the VR, from ``DELIMITERS``; control characters such as line ends are
        delimiters in every VR.
    """
    if b"\x1b" in raw and _ESCAPE.search(raw) and _codec(charsets[0]) in _extensible():
        text = _extended(raw, charsets, delimiters)
    else:
        text = _plain(raw, charsets)
    # pydicom accepts any Python codec; some, such as UTF-7, can produce lone surrogates.
    return text if text.isascii() else _HALVES.sub(UNREADABLE, text)


def _plain(raw: bytes, charsets: Sequence[str]) -> str:
    try:
        # Suppress pydicom's warnings: undecodable bytes are reported in the column `warning`.
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode_bytes(raw, charsets, TEXT_VR_DELIMS)
    except (UnicodeError, LookupError):
        return raw.decode("ascii", "replace")


def _extended(raw: bytes, charsets: Sequence[str], delimiters: bytes) -> str:
    """Decode a value that switches character sets by escape sequences (PS3.5 6.1.2.5).

    G0 is the character set for bytes below 0x80, G1 for all others. An escape sequence whose term
    is not in Specific Character Set is ignored; its ESC becomes an unreadable character.
    """
    declared = {"ascii", *map(_codec, charsets)}
    g0, g1 = "ascii", charsets[0]
    made = []
    for number, part in enumerate(_ESCAPE.split(raw)):
        if number % 2 == 0:
            # One byte of a two-byte character may look like a delimiter.
            ends = _CONTROLS if g0 in _TWO_BYTES else _CONTROLS + delimiters
            at = next((n for n, byte in enumerate(part) if byte in ends), None)
            made += _decoded(part[:at], g0, g1)
            if at is not None:
                g0, g1 = "ascii", charsets[0]
                made += _decoded(part[at:], g0, g1)
        elif _codec(_G0.get(part) or _G1[part]) in declared:
            g0, g1 = _G0.get(part, g0), _G1.get(part, g1)
        else:
            made.append(UNREADABLE + part.decode("ascii"))
    return "".join(made)


def _decoded(part: bytes, g0: str, g1: str) -> list[str]:
    """Decode bytes between two changes of the character sets."""
    if g0 not in _TWO_BYTES:  # ASCII, which every codec of G1 has as well
        return [part.decode(g1, "replace")]
    return [
        (_TWO_BYTES[g0] + run).decode(g0, "replace") if run[0] < 0x80 else run.decode(g1, "replace")
        for run in re.findall(b"[\0-\x7f]+|[\x80-\xff]+", part)
    ]


@lru_cache(256)
def _codec(name: str) -> str:
    """Return the canonical name of a codec."""
    try:
        return codecs.lookup(name).name
    except LookupError:
        return name


@lru_cache(1)
def _extensible() -> frozenset[str]:
    """Return the codecs that escape sequences may follow; UTF-8, GBK and GB18030 have none."""
    return frozenset(map(_codec, (DEFAULT, *_G0.values(), *_G1.values())))
