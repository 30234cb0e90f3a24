"""Detect whether a file begins with the preamble of PS3.10, or with a data element.

In: the first bytes of a file. Out: True or False.
"""

from __future__ import annotations

import struct

from pydicom.datadict import dictionary_has_tag


def has_preamble(head: bytes, size: int | None) -> bool:
    """Return whether a file begins with a preamble (PS3.10 7.1), from its first 140 bytes.

    In a data set without preamble, the letters DICM may occur at the same offset inside a value.
    Such a data set begins at byte 0 with an element, and the letters are not followed by a file
    meta element; or it begins with file meta elements itself.
    """
    if head[128:132] != b"DICM":
        return False
    if head[132:134] == b"\2\0" and head[:2] != b"\2\0":
        return True
    return not starts_like_a_dataset(head, size)


def starts_like_a_dataset(head: bytes, size: int | None) -> bool:
    """Return whether a file without preamble begins with an element of group 0002 or 0008.

    Parameters
    ----------
    head
        The first bytes of the file.
    size
        Its length, if it is known.
    """
    if len(head) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack(f"{order}HH", head[:4])
        if group not in {0x0002, 0x0008} or not dictionary_has_tag((group << 16) | element):
            continue
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        if explicit or size is None or struct.unpack(f"{order}L", head[4:8])[0] <= size:
            return True
    return False
