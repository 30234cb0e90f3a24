"""Burned-in annotations: black out rectangles, or exclude the instance with a reason.

In: attributes of a header, and the pixel data. Out: pixel data to be written. Burned-in text is
detected by the header only: BurnedInAnnotation, modality, SOP Class, ImageType. Such an instance is
refused unless the user accepts it, or rectangles are known: from ``rules/burned_in.csv`` for a
device, from the user, or from a function of the frames. So is an instance whose header states
RecognizableVisualFeatures, unless the user accepts it or has such a function. Faces that can be
reconstructed from thin slices are not removed; images of heads need a function or another tool (see
the how-to).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from warehouse.catalog.dictionaries import rule_rows
from warehouse.deidentify.facts import Facts, Masked
from warehouse.deidentify.frames import without_comments
from warehouse.errors import NotDeidentified, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from warehouse.deidentify.facts import Chunk

    Rectangle = tuple[int, int, int, int]
    Hook = Callable[[np.ndarray, Facts], Sequence[Rectangle]]

RISKY = frozenset(
    {"US", "OT", "SC", "XC", "ES", "GM", "IVUS", "DOC", "ECG", "HC", "BMD", "OPV", "BDUS", "TG",
     "CD", "DD", "EC"}
)  # fmt: skip
_CLASSES = re.compile(
    r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:(?:3|6)(?:\.[123])?|77\.(?!1\.6$)[0-9.]+)"
)
"""SOP Classes of ultrasound, and of visible light except whole slides, in any modality."""
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_RISKY_TYPES = {
    "SECONDARY",
    "SCREEN SAVE",
    "SCREENSAVE",
    "DOSE",
    "DOSE_INFO",
    "REPORT",
    "VXTL STATE",
    "LABEL",
    "OVERVIEW",
}
_ITEM = b"\xfe\xff\x00\xe0"
MAX_DECODED = 1 << 30
"""Largest size of the decoded frames of an instance that are masked, in bytes."""


@dataclass(frozen=True, slots=True)
class Device:
    """A rule of ``burned_in.csv``: conditions of a device, and where its images show text."""

    name: str
    conditions: tuple[tuple[str, str], ...]
    rectangles: tuple[Rectangle, ...]


@dataclass(frozen=True, slots=True)
class PixelRules:
    """How to treat pixel data that may show text."""

    rectangles: tuple[Rectangle, ...] = ()
    """Rectangles that are blacked out in every frame: column, row, width, height."""
    accept: bool = False
    """Whether instances that may show text, or a recognizable person, are exported unchanged."""
    hook: Hook | None = field(default=None, compare=False)
    """Function that returns rectangles for frames (frame, row, column[, sample]) and facts."""


@cache
def devices() -> tuple[Device, ...]:
    """Return the rules for devices."""
    fields = ("Modality", "Manufacturer", "ManufacturerModelName", "Rows", "Columns", "ImageType")
    return tuple(
        Device(
            row[0],
            tuple((name, text) for name, text in zip(fields, row[1:7], strict=True) if text),
            tuple(rectangle(text) for text in row[7].split("|")),
        )
        for row in rule_rows("burned_in.csv")
    )


def rectangle(text: str) -> Rectangle:
    """Parse the column, row, width and height of a rectangle.

    Raises
    ------
    UsageError
    """
    numbers = re.findall(r"\d{1,5}", text)
    if len(numbers) != 4 or not re.fullmatch(r"\s*\d+([\s,]+\d+){3}\s*", text):
        raise UsageError(f"a rectangle is column,row,width,height in pixels, not {text!r}")
    column, row, width, height = map(int, numbers)
    if not (width and height):
        raise UsageError(f"a rectangle has at least one pixel, not {text!r}")
    return column, row, width, height


def risk(facts: Facts) -> str:
    """Return the reason why pixels may show text; empty if the header has none."""
    stated = facts.text("BurnedInAnnotation").upper()
    if stated == "YES":
        return "its header states that text is burned in"
    types = {part.strip().upper() for part in facts.text("ImageType").split("\\")}
    if facts.text("SpecimenLabelInImage").upper() == "YES":
        return "its header states that the label of a specimen is in the image"
    if stated == "NO":
        return ""
    sop_class = facts.text("SOPClassUID")
    is_secondary = sop_class == _SECONDARY or sop_class.startswith(f"{_SECONDARY}.")
    if is_secondary or facts.text("ConversionType"):
        return "it is a secondary capture and does not state that no text is burned in"
    if facts.text("Modality").upper() in RISKY or _CLASSES.fullmatch(sop_class):
        return "its modality often has text burned in and it does not state that there is none"
    if types & _RISKY_TYPES:
        return "its ImageType is one of screens or labels and it does not state that it has no text"
    return ""


def device_of(facts: Facts) -> Device | None:
    """Return the rule for the device that made an image, None if there is none."""
    for device in devices():
        if all(_matches(facts.text(name), text, name) for name, text in device.conditions):
            return device
    return None


def _matches(value: str, alternatives: str, name: str) -> bool:
    if name in {"Rows", "Columns"}:
        return value in alternatives.split("|")
    return any(part.strip().lower() in value.lower() for part in alternatives.split("|"))


def pixels(facts: Facts, content: Chunk, rules: PixelRules) -> Masked:
    """Return the pixel data to be written: with rectangles and unused bits blacked out.

    Raises
    ------
    NotDeidentified
        They may show text at unknown positions, or a recognizable person, or cannot be masked.
    """
    is_native = _is_native(facts)
    shows_person = facts.text("RecognizableVisualFeatures").upper() == "YES"
    if shows_person and rules.hook is None and not rules.accept:
        # Known rectangles are of text; they do not cover a face.
        raise NotDeidentified("its header states that a person can be recognized in its pixels")
    rectangles = list(rules.rectangles)
    reason = risk(facts)
    device = device_of(facts) if reason else None
    if device:
        rectangles += device.rectangles
    if rules.hook is not None:
        rectangles += _hook_rectangles(facts, content, rules.hook)
    rectangles = _inside(facts, rectangles)
    if rules.hook is None and reason and not rectangles and not rules.accept:
        raise NotDeidentified(reason)
    changes: list[str] = []
    if not is_native:
        if len(content) and bytes(content[:4]) != _ITEM:
            raise NotDeidentified(
                "its transfer syntax requires fragments, but its pixel data have none"
            )
        if facts.has_embedded_overlay:
            raise NotDeidentified("an overlay is stored in bits of its compressed pixels")
        blanked = without_comments(content)
        if blanked is not None:
            content = blanked
            changes.append("comments in and after the compressed frames are blanked")
        if rectangles:
            if _native_size(facts) > MAX_DECODED:
                raise NotDeidentified(
                    f"its frames are more than {MAX_DECODED} bytes, too many to mask"
                )
            changes.append("rectangles are blacked out, frames are recompressed without loss")
        return Masked([content], changes, bool(rectangles), tuple(rectangles))
    length = _native_size(facts)
    if not length and len(content):
        raise NotDeidentified("its header does not state the size of its frames")
    if length and len(content) > length + (length & 1):
        content = content[: length + (length & 1)]
        changes.append("bytes after the last frame are removed")
    elif length and len(content) < length:
        raise NotDeidentified("its pixel data are shorter than its frames")
    if facts.has_embedded_overlay:
        content = _without_unused_bits(facts, content)
        changes.append("unused bits of the pixels are cleared")
    if rectangles:
        content = _blacked_out(facts, content, rectangles)
        changes.append("rectangles are blacked out")
    return Masked([content], changes, bool(rectangles))


def _is_native(facts: Facts) -> bool:
    return facts.transfer_syntax in {"1.2.840.10008.1.2", ExplicitVRLittleEndian}


def _inside(facts: Facts, rectangles: Sequence[Rectangle]) -> list[Rectangle]:
    """Return the rectangles that have a pixel in the image: others black out nothing."""
    _, rows, columns, _ = _frame_shape(facts)
    return [
        (column, row, width, height) for column, row, width, height in rectangles
        if column < columns and row < rows and width and height
    ]  # fmt: skip


def _frame_shape(facts: Facts) -> tuple[int, int, int, int]:
    frames = facts.number("NumberOfFrames", 1) or 1
    if frames < 0 or facts.text("NumberOfFrames") not in {"", str(frames), "0"}:
        raise NotDeidentified("its Number of Frames is not a number")
    samples = facts.number("SamplesPerPixel", 1)
    return frames, facts.number("Rows"), facts.number("Columns"), samples


def _native_size(facts: Facts) -> int:
    """Return the bytes of native pixel data; 0 if the header does not state it."""
    frames, rows, columns, samples = _frame_shape(facts)
    bits = frames * rows * columns * samples * facts.number("BitsAllocated")
    if facts.text("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    return -(-bits // 8)


def _native_array(facts: Facts, content: Chunk) -> np.ndarray:
    """Return a writable copy of native frames: (frame, row, column, sample)."""
    bits = facts.number("BitsAllocated")
    subsampled = facts.text("PhotometricInterpretation") == "YBR_FULL_422"
    if bits not in {8, 16, 32, 64} or subsampled or not _native_size(facts):
        raise NotDeidentified("its pixels cannot be blacked out: single bits or subsampled colors")
    if _native_size(facts) > MAX_DECODED:
        raise NotDeidentified(f"its pixels are more than {MAX_DECODED} bytes, too many to mask")
    frames, rows, columns, samples = _frame_shape(facts)
    array = np.frombuffer(content, f"<u{bits // 8}", frames * rows * columns * samples).copy()
    if samples > 1 and facts.number("PlanarConfiguration") == 1:
        return array.reshape(frames, samples, rows, columns).transpose(0, 2, 3, 1)
    return array.reshape(frames, rows, columns, samples)


def _black_value(facts: Facts) -> int:
    if facts.text("PhotometricInterpretation") == "MONOCHROME1":
        return (1 << facts.number("BitsStored")) - 1
    return 0


def _blacked_out(facts: Facts, content: Chunk, rectangles: Sequence[Rectangle]) -> bytes:
    """Black out rectangles in native frames."""
    array = _native_array(facts, content)
    for column, row, width, height in rectangles:
        array[:, row : row + height, column : column + width] = _black_value(facts)
    if facts.text("PhotometricInterpretation").startswith("YBR"):
        for column, row, width, height in rectangles:
            array[:, row : row + height, column : column + width, 1:] = 128
    if facts.number("PlanarConfiguration") == 1 and array.shape[3] > 1:
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    encoded = array.tobytes()
    return encoded + bytes(len(encoded) % 2)


def _without_unused_bits(facts: Facts, content: Chunk) -> bytes:
    """Clear the bits of native frames that Bits Stored and High Bit leave unused."""
    array = _native_array(facts, content)
    if array.shape[3] > 1:
        raise NotDeidentified("an overlay is stored in bits of its colors")
    low = facts.number("HighBit") + 1 - facts.number("BitsStored")
    mask = ((1 << facts.number("BitsStored")) - 1) << low
    array &= array.dtype.type(mask)
    encoded = array.tobytes()
    return encoded + bytes(len(encoded) % 2)


def _hook_rectangles(facts: Facts, content: Chunk, hook: Hook) -> list[Rectangle]:
    """Return the rectangles that a pixel function returns for native frames."""
    if not _is_native(facts):
        raise NotDeidentified("the pixel function needs its frames, but they are compressed")
    array = _native_array(facts, content)
    array.flags.writeable = False
    returned = hook(array if array.shape[3] > 1 else array[..., 0], facts)
    try:
        rectangles = [(int(x), int(y), int(w), int(h)) for x, y, w, h in returned]
    except (TypeError, ValueError):
        raise UsageError(
            "a pixel function has to return rectangles: column, row, width and height of each"
        ) from None
    if any(min(values) < 0 for values in rectangles):
        raise UsageError("a pixel function returned a rectangle with a negative number")
    return rectangles


def masked_file(content: bytes, rectangles: Sequence[Rectangle]) -> bytes:
    """Black out rectangles in the compressed frames of a file; recompress them without loss.

    Raises
    ------
    NotDeidentified
        Its frames cannot be decoded or compressed again.
    """
    dataset = pydicom.dcmread(io.BytesIO(content))
    try:
        array = dataset.pixel_array.copy()
        frames = array if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else array[np.newaxis]
        black: Any = 0
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            black = (1 << dataset.BitsStored) - 1
        for column, row, width, height in rectangles:
            frames[:, row : row + height, column : column + width] = black
        if dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation = "RGB"  # what ``pixel_array`` returns
            dataset.PlanarConfiguration = 0
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in dataset:  # they are for the original frames
                del dataset[keyword]
        dataset.compress(RLELossless, np.ascontiguousarray(array), generate_instance_uid=False)
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        decoded_again = pydicom.dcmread(io.BytesIO(out.getvalue())).pixel_array
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises
        raise NotDeidentified(
            f"its compressed frames cannot be masked ({type(error).__name__})"
        ) from None
    if not np.array_equal(decoded_again, array):
        raise NotDeidentified("its recompressed frames differ")
    return out.getvalue()
