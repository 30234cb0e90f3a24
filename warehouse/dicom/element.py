"""``Element``, ``PixelPlace`` and ``Header``: the undecoded result of every reader.

Value fields are bytes, which ``warehouse.elements.values`` decodes. Both readers therefore share
all decoding of values, and can differ only in how they find elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pydicom.datadict import keyword_for_tag

PIXEL_TAGS = frozenset({"7FE00008", "7FE00009", "7FE00010"})
"""Float, Double Float and Pixel Data; at top level, only their location is recorded."""

MAX_DEPTH = 64
"""Maximum nesting of sequences; the deepest seen in real archives is under 20."""


class Element(NamedTuple):
    """One data element (PS3.5 §7.1) with its path in the tree of sequences."""

    path: str
    """'' at top level, else ``RequestAttributesSequence[0].ScheduledProtocolCodeSequence[1]``."""
    tag: str
    """Eight upper-case hex digits."""
    vr: str
    creator: str | None
    """Private creator that reserved the block, for private elements."""
    raw: bytes | None
    """The value field; None for sequences and pixel data."""
    charsets: tuple[str, ...]
    little: bool
    items: int = 0
    """Number of items of a sequence."""
    pixel_length: int | None = None
    """Bytes of pixel data that were skipped; None for every other element."""
    warning: str | None = None
    left: tuple[int, str] | None = None
    """Length and SHA-256 of a value that is too long to be stored."""


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Location of the pixel data of a file."""

    offset: int
    """First byte of the value field, from the start of the file (of the inflated data set, if
    the transfer syntax is deflated)."""
    length: int
    """Bytes of the value field; if encapsulated, including item headers and the delimiter."""
    encapsulated: bool


@dataclass(frozen=True, slots=True)
class Header:
    """All elements of one file."""

    elements: list[Element]
    pixels: PixelPlace | None
    transfer_syntax: str | None
    note: str | None
    """Note about a problem of a file whose header could be read."""


@lru_cache(maxsize=65_536)
def keyword_of(tag: str) -> str | None:
    """Return the keyword of a tag; None if it is not in the dictionary."""
    return keyword_for_tag(int(tag, 16)) or None


def path_step(tag: str, item: int) -> str:
    """Return the path step of an item: keyword or tag of the sequence, and index.

    One keyword names the sequences of all curves (50xx,2600), so only the first curve has it.

    >>> path_step("00400275", 0), path_step("50022600", 0)
    ('RequestAttributesSequence[0]', '50022600[0]')
    """
    is_later_curve = tag.startswith("50") and tag[2:4] != "00"
    return f"{(not is_later_curve and keyword_of(tag)) or tag}[{item}]"


def join_path(path: str, step: str) -> str:
    """Return the path of the elements of a sequence item below ``path``."""
    return f"{path}.{step}" if path else step
