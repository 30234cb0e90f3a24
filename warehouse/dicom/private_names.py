"""Private creator and tag → the name of the element, whatever block it lies in.

pydicom's private dictionary answers unless the caller brings names of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.datadict import private_dictionary_description

if TYPE_CHECKING:
    from collections.abc import Mapping


def block_free(tag: str) -> str:
    """Return a private tag without the block its creator happened to reserve (PS3.5 §7.8.1).

    >>> block_free("0019119C")
    '0019xx9C'
    """
    return f"{tag[:4]}xx{tag[6:]}"


def private_name(
    tag: str, creator: str | None, own: Mapping[tuple[str, str], str] | None = None
) -> str | None:
    """Return the name of a private element, None if no dictionary has it.

    Parameters
    ----------
    tag
        Eight hex digits, in any block.
    creator
        Private creator; without one a private element has no meaning.
    own
        Names that come before pydicom's, by creator and ``block_free`` tag.
    """
    if creator is None:
        return None
    if own and (name := own.get((creator, block_free(tag)))):
        return name
    try:
        return str(private_dictionary_description(int(tag, 16), creator)) or None
    except KeyError:
        return None
