"""``Image``: one instance with pixel data, from the catalog alone.

In: a row of the catalog. Out: ``Image``, with properties derived from the row alone.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from warehouse.errors import PixelsUnreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = -1
"""High Bit of an image whose elements the warehouse does not have."""
_PLAIN = {str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)}


_BITS = {1, 8, 16, 32, 64}
"""Bits Allocated that can be read."""
MAX_RLE_RATIO = 64
"""Two bytes of an RLE segment expand to at most 128 bytes (PS3.5 G.3.1)."""
LARGE_FRAME_BYTES = 64 << 20
"""Uncompressed size up to which any compression ratio is accepted, as for blank frames …"""
MAX_RATIO = 200
"""… and largest compression ratio of larger frames; lossy images reach 100."""
DAY_US = 86_400_000_000
"""A day in microseconds."""


class Image(NamedTuple):
    """An instance with pixel data. Fields named by DICOM keywords have the values of the header."""

    instance_id: int
    instance_key: str
    SOPInstanceUID: str | None
    SOPClassUID: str | None
    path: str
    """Path as in ``files``."""
    TransferSyntaxUID: str | None
    pixel_offset: int
    pixel_length: int
    is_encapsulated: bool
    Rows: int | None
    Columns: int | None
    NumberOfFrames: int | None
    SamplesPerPixel: int | None
    PhotometricInterpretation: str | None
    PlanarConfiguration: int | None
    BitsAllocated: int | None
    BitsStored: int | None
    PixelRepresentation: int | None
    ImageType: list[str] | None
    InstanceNumber: int | None
    TemporalPositionIdentifier: int | None
    EchoTime: float | None
    DiffusionBValue: float | None
    ImagePositionPatient: list[float] | None
    ImageOrientationPatient: list[float] | None
    PixelSpacing: list[float] | None
    SpacingBetweenSlices: float | None
    RescaleSlope: float | None
    RescaleIntercept: float | None
    WindowCenter: list[float] | None
    WindowWidth: list[float] | None
    acquired_us: int | None
    """Acquisition Date and Time, in microseconds since 1970, scanner clock."""
    size_bytes: int | None
    """Size of the file when it was ingested."""
    modified_us: int | None
    high_bit: int | None = None
    """High Bit, if it is not Bits Stored - 1; ``UNKNOWN`` in mode minimal."""
    keeps_words: bool = False
    """Whether frames are read as whole words, including bits outside of the samples."""

    @property
    def high_bit_of_words(self) -> int:
        """Position of the highest bit of a sample in its word."""
        known = self.high_bit is not None and self.high_bit != UNKNOWN
        return self.high_bit if known else (self.BitsStored or 0) - 1  # type: ignore[return-value]

    @property
    def frame_count(self) -> int:
        """Number of Frames; 1 if it is missing (as in pydicom)."""
        return max(self.NumberOfFrames or 1, 1)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a frame: (rows, columns), or (rows, columns, 3) for color."""
        shape = (self.Rows or 0, self.Columns or 0)
        return shape if (self.SamplesPerPixel or 1) == 1 else (*shape, self.SamplesPerPixel or 1)

    @property
    def is_grayscale(self) -> bool:
        """Whether a pixel is one number that is not a palette index."""
        return (
            self.SamplesPerPixel in {None, 1} and self.PhotometricInterpretation != "PALETTE COLOR"
        )

    @property
    def pixel_keyword(self) -> str:
        """Keyword of the pixel data; floating point pixels have no representation (C.7.6.24)."""
        if self.PixelRepresentation is None and self.BitsStored is None:
            return {32: "FloatPixelData", 64: "DoubleFloatPixelData"}.get(
                self.BitsAllocated or 0, "PixelData"
            )
        return "PixelData"

    @property
    def dtype(self) -> np.dtype:
        """Type of stored values, in the byte order of this machine; packed bits are ``uint8``.

        Raises
        ------
        PixelsUnreadable
            The attributes of the header match no supported type.
        """
        if self.BitsAllocated not in _BITS or self.PixelRepresentation not in {None, 0, 1}:
            raise PixelsUnreadable(
                self.path, self._why_unreadable() or "no type of array fits its values"
            )
        if self.pixel_keyword != "PixelData":
            return np.dtype(f"f{(self.BitsAllocated or 0) // 8}")
        if self.BitsAllocated == 1:
            return np.dtype("u1")
        return np.dtype(f"{'ui'[self.PixelRepresentation or 0]}{(self.BitsAllocated or 0) // 8}")

    @property
    def frame_bytes(self) -> float:
        """Bytes of an uncompressed frame as stored; a fraction if bits are packed (PS3.5 8.1.1).

        This is two thirds of the full size if color is subsampled (PS3.3 C.7.6.3.1.2).
        """
        bits = math.prod(self.frame_shape) * (self.BitsAllocated or 0)
        return bits / 8 * (2 / 3 if self.PhotometricInterpretation == "YBR_FULL_422" else 1)

    @property
    def is_plain(self) -> bool:
        """Whether stored bytes are the array: little endian, neither packed nor planar."""
        return (
            not self.is_encapsulated
            and (self.TransferSyntaxUID is None or self.TransferSyntaxUID in _PLAIN)
            and self.BitsAllocated != 1
            and self.PhotometricInterpretation != "YBR_FULL_422"
            and (self.SamplesPerPixel == 1 or self.PlanarConfiguration == 0)
        )

    def is_beyond(self, encoded_bytes: int) -> bool:
        """Return whether this number of compressed bytes is too small for a frame."""
        size = math.prod(self.frame_shape) * self.dtype.itemsize
        if self.TransferSyntaxUID == RLELossless:
            return size > MAX_RLE_RATIO * encoded_bytes
        return size > max(MAX_RATIO * encoded_bytes, LARGE_FRAME_BYTES)

    def check(self) -> None:
        """Raise for an invalid header, before memory is allocated.

        Raises
        ------
        PixelsUnreadable
        """
        if why := self._why_unreadable():
            raise PixelsUnreadable(self.path, why)

    def _why_unreadable(self) -> str | None:
        allocated, stored = self.BitsAllocated, self.BitsStored
        if not (0 < (self.Rows or 0) < 65536 and 0 < (self.Columns or 0) < 65536):
            return "Rows or Columns are missing or zero"
        if (self.NumberOfFrames or 0) < 0:
            return f"NumberOfFrames is {self.NumberOfFrames}"
        if self.SamplesPerPixel not in {1, 3}:
            return f"SamplesPerPixel is {self.SamplesPerPixel}; 1 and 3 can be read"
        if allocated not in _BITS:
            what = "missing" if allocated is None else f"{allocated}"
            return f"BitsAllocated is {what}; 1, 8, 16, 32 and 64 can be read"
        if self.pixel_keyword == "PixelData":
            if self.PixelRepresentation not in {0, 1}:
                return "PixelRepresentation does not state whether values are signed"
            if stored is None or not 1 <= stored <= allocated:
                return "BitsStored is missing or not between 1 and BitsAllocated"
            if not stored <= self.high_bit_of_words + 1 <= allocated:
                return "HighBit is not between BitsStored and BitsAllocated"
        if not self.is_encapsulated:
            needed = math.ceil(self.frame_bytes * self.frame_count)
            if needed > self.pixel_length:
                return (
                    f"pixel data too short: {self.pixel_length} bytes, but {self.frame_count} "
                    f"frames of {self.Rows} x {self.Columns} need {needed}"
                )
            if self.PhotometricInterpretation == "YBR_FULL_422" and self.pixel_length >= math.ceil(
                self.frame_bytes * self.frame_count * 1.5
            ):
                return "pixel data are not subsampled although YBR_FULL_422 says so"
        elif self.pixel_length < 8 * (self.frame_count + 1):
            return f"{self.frame_count} frames do not fit into {self.pixel_length} bytes"
        elif self.is_beyond(self.pixel_length):
            return (
                f"{self.pixel_length} bytes are too few for frames of {self.Rows} x {self.Columns}"
            )
        return None


def over_midnight(times: Sequence[int | None]) -> list[int | None]:
    """Return times in microseconds, those after midnight moved to the next day.

    Times without a date wrap at midnight, and some scanners state the date of the first image in
    all. Times of one day with a gap of more than half a day are taken to span midnight.

    >>> over_midnight([DAY_US - 2, 3, None]) == [DAY_US - 2, DAY_US + 3, None]
    True
    """
    known = sorted({time for time in times if time is not None})
    if not known or known[0] // DAY_US != known[-1] // DAY_US:
        return list(times)
    last = [a for a, b in itertools.pairwise(known) if b - a > DAY_US // 2]
    return [
        time + DAY_US if time is not None and last and time <= last[0] else time for time in times
    ]
