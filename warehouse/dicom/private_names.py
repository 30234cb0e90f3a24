"""Names of private elements by creator and tag, independent of the block.

Names passed by the caller take precedence over pydicom's private dictionary. The block that a
creator reserves differs between files (PS3.5 §7.8.1), so names are looked up by the tag without
its block.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from warehouse.dicom.dictionary import private_elements

if TYPE_CHECKING:
    from collections.abc import Mapping


class PrivateEntry(NamedTuple):
    """Dictionary entry of a private element."""

    vr: str
    name: str


Dictionary = dict[tuple[str, str], PrivateEntry]
"""(Private creator, ``block_free`` tag) → entry."""


def block_free(tag: str) -> str:
    """Return a private tag with ``xx`` in place of its block number.

    >>> block_free("0019119C")
    '0019xx9C'
    """
    return f"{tag[:4]}xx{tag[6:]}"


@cache
def pydicom_names() -> Dictionary:
    """Return pydicom's private dictionary; entries with a fixed block apply to every block."""
    names: Dictionary = {}
    whole: Dictionary = {}
    for creator, entries in private_elements().items():
        for tag, (vr, _, name, _) in entries.items():
            entry = PrivateEntry(vr, name)
            if re.fullmatch(r"[0-9A-F]{4}xx[0-9A-F]{2}|[0-9A-F]{2}xxxx[0-9A-F]{2}", tag):
                names[creator, tag] = entry
            elif re.fullmatch(r"[0-9A-F]{8}", tag) and tag[4:6] >= "10":
                whole.setdefault((creator, block_free(tag)), entry)
    return whole | names


def private_name(
    tag: str, creator: str | None, own: Mapping[tuple[str, str], PrivateEntry] | None = None
) -> str | None:
    """Return the name of a private element, None if no dictionary has it.

    Parameters
    ----------
    tag
        Eight hex digits, in any block.
    creator
        Private creator; without one a private element has no meaning.
    own
        Names that override pydicom's.
    """
    if creator is None:
        return None
    for names in (own or {}, pydicom_names()):
        for form in (block_free(tag), f"{tag[:2]}xxxx{tag[6:]}"):
            if entry := names.get((creator, form)):
                return entry.name or None
    return None
