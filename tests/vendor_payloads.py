"""Vendor payloads made from their parts, as files hold them."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

CSA = "SIEMENS CSA HEADER"


def csa(
    elements: Sequence[tuple[str, str, Sequence[str]]], *, version: int = 2, check: int = 77,
    spare_items: int = 0,
) -> bytes:  # fmt: skip
    """Return a CSA header with name, VR and texts of each element."""
    made = b"SV10\4\3\2\1" if version == 2 else b""
    made += struct.pack("<II", len(elements), 77)
    first = len(elements[0][2]) + spare_items
    for name, vr, texts in elements:
        spare = spare_items if texts else 0
        count = len(texts) + spare
        made += struct.pack("<64si4siii", name.encode(), len(texts), vr.encode(), 0, count, check)
        for text in [*texts, *[""] * spare]:
            field = text.encode("latin-1") + b"\0" if text else b""
            length = len(field) if version == 2 else len(field) + first
            made += struct.pack("<iiii", length, len(field), 77, length) + field
            made += b"\0" * (-len(field) % 4)
    return made


def ascconv(*lines: str, begin: str = "### ASCCONV BEGIN ###") -> str:
    """Return a protocol as it lies in a CSA header: with other text around its assignments."""
    return "\n".join(["<XProtocol> {}", begin, *lines, "### ASCCONV END ###", ""])


def ge_protocol(text: str) -> bytes:
    """Return a GE protocol data block."""
    packed = gzip.compress(text.encode("latin-1"), mtime=0)
    return struct.pack("<I", len(packed)) + packed


def add_private(dataset: Dataset, creator: str, group: int, block: int, **values: object) -> None:
    """Put private elements into a block: ``x10=("OB", b"...")``."""
    dataset.add_new(group << 16 | block, "LO", creator)
    for name, value in values.items():
        vr, content = value  # type: ignore[misc]
        dataset.add_new(group << 16 | block << 8 | int(name[1:], 16), vr, content)
