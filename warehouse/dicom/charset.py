"""Decode text with Specific Character Set (PS3.5 §6.1, PS3.3 C.12.1.1.2).

pydicom knows the code extensions of ISO 2022, GB18030 and the rest; this asks it, and says
whether anything could not be read.
"""

from __future__ import annotations

import re
import threading
import warnings
from typing import TYPE_CHECKING

from pydicom.charset import decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = "iso8859"
"""pydicom's name for the default repertoire; a superset of ASCII that reads every byte."""

UNREADABLE = "\N{REPLACEMENT CHARACTER}"

_quiet = threading.Lock()
"""Filters of warnings are those of the process: two threads would restore each other's."""

_HALVES = re.compile("[\ud800-\udfff]")


def decode_text(raw: bytes, charsets: Sequence[str]) -> str:
    """Decode a text value; invalid bytes become U+FFFD."""
    try:
        # What pydicom would say on stderr is a row: `warning`, where a byte could not be read.
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = decode_bytes(raw, charsets, TEXT_VR_DELIMS)
    except (UnicodeError, LookupError):
        return raw.decode("ascii", "replace")
    # pydicom lets a file name any codec of Python; some make halves of characters (UTF-7 can).
    return text if text.isascii() else _HALVES.sub(UNREADABLE, text)
