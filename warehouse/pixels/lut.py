"""Decode lookup tables of a header (modality, VOI, palettes) with the byte order of the file.

In: a data set as it was read. Out: ``Table``. Sources: PS3.3 C.11.1.1.1, C.11.2.1.1, C.7.6.3.1.5,
C.7.6.3.1.6 and C.7.9.2. pydicom's own functions need the whole file to know the byte order, wrap
around if an 8-bit table has more than 256 entries, and expand segments without a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataelem import RawDataElement

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ENTRIES = 65536
"""Largest number of entries, written as 0 in the 16-bit descriptor."""
_DESCRIPTOR, _DATA = 0x00283002, 0x00283006
_RED, _SEGMENTED_RED = 0x00281201, 0x00281221
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


class Damaged(ValueError):
    """A lookup table or rescale of a header is invalid; the message quotes no value."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Entries by input value; inputs outside of the table map to the first or last entry."""

    first: int
    entries: np.ndarray
    bits: int
    """Bits per entry, from the descriptor."""

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Return the entry of each value; fractions are rounded, NaN maps to the first entry."""
        if values.dtype.kind == "f":
            values = np.rint(np.nan_to_num(values, nan=self.first))
            last = float(self.first + len(self.entries) - 1)
            values = np.clip(values, float(self.first), last)
        places = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        found: np.ndarray = self.entries[places]
        return found

    def starting_within(self, lowest: float, highest: float) -> Table:
        """Return the table with a first input in this range, if it was written without its sign.

        The VR of a descriptor, US or SS, must match the pixels (PS3.3 C.11.1.1.1); some writers
        ignore that.
        """
        if highest < self.first and lowest <= self.first - 65536:
            return Table(self.first - 65536, self.entries, self.bits)
        return self


def table_of(item: Dataset, descriptor: int = _DESCRIPTOR, data: int = _DATA) -> Table:
    """Return the table that a data set holds.

    Parameters
    ----------
    item
        Item of a Modality or VOI LUT Sequence, or an image with palettes, as read from its file.
    descriptor, data
        Tags of LUT Descriptor and LUT Data.

    Raises
    ------
    Damaged
    """
    count, first, bits = _descriptor(item, descriptor)
    raw, order = _bytes(item, data)
    if len(raw) >= 2 * count:
        entries = np.frombuffer(raw, f"{order}u2", count).astype(np.uint16)
    elif len(raw) >= count and bits <= 8:
        entries = np.frombuffer(raw, np.uint8, count)
    else:
        raise Damaged(f"a lookup table of {len(raw)} bytes for {count} entries of {bits} bits")
    return Table(first, entries, bits)


def palette_of(header: Dataset) -> tuple[Table, Table, Table]:
    """Return the tables of red, green and blue; segmented ones unpacked.

    Raises
    ------
    Damaged
    """
    red, green, blue = (_color(header, number) for number in range(3))
    return red, green, blue


def _color(header: Dataset, number: int) -> Table:
    descriptor = 0x00281101 + number
    if (_RED + number) in header:
        return table_of(header, descriptor, _RED + number)
    count, first, bits = _descriptor(header, descriptor)
    raw, order = _bytes(header, _SEGMENTED_RED + number)
    if bits > 8:
        stored = np.frombuffer(raw[: len(raw) // 2 * 2], f"{order}u2").tolist()
    else:
        stored = list(raw)
    entries = _unpacked(stored, count, is_wide=bits > 8)
    return Table(first, np.array(entries, np.uint16 if bits > 8 else np.uint8), bits)


def _descriptor(item: Dataset, tag: int) -> tuple[int, int, int]:
    """Return the number of entries, the first input and the bits of an entry."""
    raw, order = _bytes(item, tag)
    if len(raw) < 6:
        raise Damaged("the descriptor of a lookup table has fewer than three values")
    count, first, bits = np.frombuffer(raw, f"{order}u2", 3).tolist()
    if not 1 <= bits <= 16:
        raise Damaged(f"a lookup table with entries of {bits} bits")
    element = item.get_item(tag)
    if element is not None and element.VR == "SS" and first >= 32768:
        first -= 65536
    return count or _ENTRIES, first, bits


def _bytes(item: Dataset, tag: int) -> tuple[bytes, str]:
    """Return the value of an element as written in the file, and its byte order."""
    element = item.get_item(tag) if tag in item else None
    if element is None:
        raise Damaged("a lookup table without descriptor or data")
    if isinstance(element, RawDataElement):
        return element.value or b"", "<" if element.is_little_endian else ">"
    value = element.value
    if isinstance(value, bytes):
        return value, ">" if item.original_encoding[1] is False else "<"
    numbers = [value] if isinstance(value, int) else list(value or ())
    return np.array([int(number) & 0xFFFF for number in numbers], "<u2").tobytes(), "<"


def _unpacked(stored: list[int], count: int, *, is_wide: bool) -> list[int]:
    """Expand a segmented palette (PS3.3 C.7.9.2) to at most the declared number of entries."""
    entries: list[int] = []
    waiting = [(0, len(stored))]  # position of the next segment, and number of segments left
    # Segments make entries; empty ones do not, and indirect segments may repeat thousands of these.
    steps_left = 3 * count + len(stored)
    while waiting and len(entries) < count:
        steps_left -= 1
        at, left = waiting.pop()
        if left < 1 or at + 2 > len(stored):
            continue
        kind, length = stored[at], stored[at + 1]
        at += 2
        if kind == _DISCRETE:
            entries += stored[at : at + min(length, count)]
            at += length
        elif kind == _LINEAR and entries and at < len(stored):
            steps = np.linspace(entries[-1], stored[at], length + 1)[1:]
            entries += np.around(steps).astype(int).tolist()
            at += 1
        elif kind == _INDIRECT and entries and at + (2 if is_wide else 4) <= len(stored):
            words = stored[at : at + (2 if is_wide else 4)]
            target = sum(part << ((16 if is_wide else 8) * n) for n, part in enumerate(words))
            if steps_left < 0 or target >= len(stored):
                raise Damaged("a segmented palette with an endless or invalid indirect segment")
            waiting += [(at + len(words), left - 1), (target, length)]
            continue
        else:
            raise Damaged("a segmented palette with an invalid segment")
        waiting.append((at, left - 1))
    if len(entries) < count:
        raise Damaged(f"a segmented palette of {len(entries)} entries, {count} declared")
    return entries[:count]
