"""Intermediate facts and results of de-identifying a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from warehouse.deidentify.identity import Identity

    Chunk = bytes | memoryview
    Entries = list[tuple[int, bytes | list[Chunk]]]
    """Tag and bytes of each element; pixel data are a list of chunks."""
    Pixels = Callable[["Facts", "Chunk"], "Masked"]

FACTS = {
    0x00080005: "charset", 0x00080008: "ImageType", 0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID", 0x00080060: "Modality", 0x00080064: "ConversionType",
    0x00080070: "Manufacturer", 0x00081090: "ManufacturerModelName", 0x00280002: "SamplesPerPixel",
    0x00280004: "PhotometricInterpretation", 0x00280006: "PlanarConfiguration",
    0x00280008: "NumberOfFrames", 0x00280010: "Rows", 0x00280011: "Columns",
    0x00280100: "BitsAllocated", 0x00280101: "BitsStored", 0x00280102: "HighBit",
    0x00280301: "BurnedInAnnotation", 0x00280302: "RecognizableVisualFeatures",
    0x00480010: "SpecimenLabelInImage",
}  # fmt: skip
_INTEGER = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_NUMBERS = {
    "SamplesPerPixel", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit",
}  # fmt: skip


class Change(NamedTuple):
    """Change of an element, without its value."""

    path: str
    tag: int
    vr: str
    action: str
    option: str
    reason: str


@dataclass(slots=True)
class Facts:
    """Attributes of ``FACTS`` at the top level of a source header."""

    values: dict[str, str | int] = field(default_factory=dict)
    transfer_syntax: str = ""
    has_embedded_overlay: bool = False
    """Whether an overlay is stored in unused bits of the pixels."""

    def note(self, tag: int, content: bytes) -> None:
        """Store the value of an attribute of ``FACTS``."""
        name = FACTS[tag]
        if name in _NUMBERS and len(content) == 2:
            self.values[name] = int.from_bytes(content, "little")
            return
        text = content.strip(b" \0").decode("latin-1")
        is_number = name == "NumberOfFrames" and _INTEGER.fullmatch(text) is not None
        self.values[name] = int(text) if is_number else text

    def text(self, name: str) -> str:
        """Return a value as text, empty if it is missing."""
        return str(self.values.get(name, ""))

    def number(self, name: str, default: int = 0) -> int:
        """Return a value as a number."""
        value = self.values.get(name, default)
        return value if isinstance(value, int) else default


class Masked(NamedTuple):
    """Pixel data to be written, and the changes made to them."""

    pixels: list[Chunk]
    """Chunks of the value, including delimiters if it is encapsulated."""
    changes: list[str]
    """Reason of each change; empty if the pixels are unchanged."""
    is_cleaned: bool
    """Whether rectangles are blacked out: the Clean Pixel Data Option."""
    rectangles: tuple[tuple[int, int, int, int], ...] = ()
    """Rectangles to black out in compressed frames: column, row, width, height."""


@dataclass(slots=True)
class Result:
    """A de-identified file."""

    chunks: list[Chunk]
    changes: list[Change]
    uids: dict[str, str]
    """Old UID → new UID."""
    names: dict[str, str]
    """Values of the new file for templates of file names."""
    facts: Facts
    masked: Masked | None
    identity: Identity
    header_bytes: int
    """Bytes before the pixel data."""
