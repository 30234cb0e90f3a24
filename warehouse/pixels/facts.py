"""Facts of an image that determine its values (rescale, VOI, palette), by frame, read lazily.

In: an image. Out: ``Facts``. Attributes are searched in the functional groups of the frame, then in
the shared functional groups, then at the top level of the image (PS3.3 C.7.6.16). They are read
from the file, which has them in every import mode and defines the byte order.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pydicom
from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from warehouse.dicom.pydicom_warnings import unheard
from warehouse.errors import NoSingleUnit, PixelsUnreadable
from warehouse.pixels import codestream
from warehouse.pixels.image import UNKNOWN
from warehouse.pixels.lut import Damaged, Table, palette_of
from warehouse.pixels.mappings import Mapping, Unclear, chosen, modality_of, real_world_of
from warehouse.pixels.places import compressed_frames
from warehouse.pixels.source import open_pixels
from warehouse.pixels.voi import Voi, voi_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from pydicom.dataset import Dataset

    from warehouse.pixels.image import Image
    from warehouse.pixels.source import OpenPixels

_KEPT = 4096
"""Number of images whose facts are cached."""

_TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "PixelRepresentation", "BitsAllocated", "BitsStored",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "VOILUTSequence",
    "VOILUTFunction", "WindowCenter", "WindowWidth", "Units", "SUVType", "DoseUnits",
    "DoseGridScaling", "RealWorldValueMappingSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "PixelAspectRatio",
]  # fmt: skip

_Fact = TypeVar("_Fact")


@dataclass(frozen=True, slots=True, eq=False)
class FrameFacts:
    """Facts of one frame; text in place of a fact is the reason why it is unavailable."""

    path: str
    modality: Mapping | str
    real_world: tuple[Mapping, ...] | str
    stated_voi: Voi | str | None

    def mapping(self, asked: bool | str) -> Mapping:
        """Return the mapping to numbers with a unit; see ``warehouse.pixels.mappings.chosen``.

        Raises
        ------
        PixelsUnreadable, NoSingleUnit
        """
        modality, real_world = self._sound(self.modality), self._sound(self.real_world)
        try:
            return chosen(modality, real_world, asked)
        except Unclear as error:
            raise NoSingleUnit(f"values of {self.path}", str(error)) from None

    @property
    def rescale(self) -> Mapping:
        """The modality LUT, to whose output windows and VOI LUTs of the header apply."""
        return self._sound(self.modality)

    @property
    def voi(self) -> Voi | None:
        """The VOI LUT or first window of the header, if there is one."""
        return None if self.stated_voi is None else self._sound(self.stated_voi)

    def _sound(self, fact: _Fact | str) -> _Fact:
        if isinstance(fact, str):
            raise PixelsUnreadable(self.path, fact)
        return fact


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Facts of an image.

    Attributes
    ----------
    frames
        Facts by frame, or one item for all frames.
    palette
        Tables of red, green and blue, or the reason why there are none.
    photometric
        Photometric Interpretation of the decoded samples: that of the header, unless the codestream
        says otherwise.
    pixel_size
        Height and width of a pixel, without a unit if only Pixel Aspect Ratio is stated; None
        without any. Pixel Spacing of the catalog takes precedence.
    """

    path: str
    frames: tuple[FrameFacts, ...]
    palette: tuple[Table, Table, Table] | str
    photometric: str
    pixel_size: tuple[float, float] | None

    def of(self, index: int) -> FrameFacts:
        """Return the facts of a frame, counted from 0."""
        return self.frames[index if len(self.frames) > 1 else 0]

    def tables(self) -> tuple[Table, Table, Table]:
        """Return the palette.

        Raises
        ------
        PixelsUnreadable
        """
        if isinstance(self.palette, str):
            raise PixelsUnreadable(self.path, self.palette)
        return self.palette


class Headers:
    """Facts of the images of a series; each header is read once. Safe for use by threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Facts] = OrderedDict()

    def of(self, image: Image) -> Facts:
        """Return the facts of an image.

        Raises
        ------
        SourceChanged, PixelsUnreadable
        """
        found = self._known.get(image.instance_id)
        if found is None:
            found = facts_of(image)
            self._known[image.instance_id] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


def facts_of(image: Image) -> Facts:
    """Read the facts of an image from its header.

    Raises
    ------
    SourceChanged, PixelsUnreadable
    """
    with open_pixels(image) as opened, unheard():
        try:
            opened.file.seek(0)
            header = pydicom.dcmread(
                opened.file, stop_before_pixels=True, specific_tags=list(_TAGS), force=True
            )
            frames = _frames(image, header)
        except PixelsUnreadable:
            raise
        except Exception as error:
            why = f"its header cannot be read ({type(error).__name__})"
            raise PixelsUnreadable(image.path, why) from error
        is_palette = image.PhotometricInterpretation == "PALETTE COLOR"
        palette = _palette(image, header) if is_palette else "it has no palette"
        return Facts(image.path, frames, palette, _photometric(opened), _pixel_size(header))


def _pixel_size(header: Dataset) -> tuple[float, float] | None:
    """Return spacing at the detector or of the scanned film, else the ratio (C.7.6.3.1.7)."""
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        with contextlib.suppress(Exception):  # what pydicom raises for values that are no numbers
            height, width = map(float, header.get(keyword) or ())
            return height, width
    return None


def with_high_bit(image: Image) -> Image:
    """Return the image with its High Bit, which determines the position of samples in words.

    Raises
    ------
    SourceChanged, PixelsUnreadable
    """
    if image.high_bit != UNKNOWN:
        return image
    if image.pixel_keyword != "PixelData" or image.BitsStored == image.BitsAllocated:
        return image._replace(high_bit=None)
    with open_pixels(image) as opened, unheard():
        try:
            opened.file.seek(0)
            header = pydicom.dcmread(
                opened.file, stop_before_pixels=True, specific_tags=["HighBit"], force=True
            )
            high_bit = header.get("HighBit")
            found = image._replace(high_bit=None if high_bit is None else int(high_bit))
        except PixelsUnreadable:
            raise
        except Exception as error:
            why = f"its header cannot be read ({type(error).__name__})"
            raise PixelsUnreadable(image.path, why) from error
    found.check()
    return found


def _frames(image: Image, header: Dataset) -> tuple[FrameFacts, ...]:
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    if not own:
        return (_frame(image, header, shared),)
    # A frame without its own functional groups uses the shared ones.
    lists = [[item, *shared] for item in own[: image.frame_count]]
    lists += [shared] * (min(image.frame_count, image.pixel_length) - len(lists))
    return tuple(_frame(image, header, groups) for groups in lists)


def _frame(image: Image, header: Dataset, groups: Sequence[Dataset]) -> FrameFacts:
    stored = stored_range(image)
    is_signed = image.dtype.kind == "i" and image.dtype.itemsize <= 2
    modality = _or_why(lambda: modality_of(header, groups, stored))
    values = stored if isinstance(modality, str) else modality.range_of(*stored)
    return FrameFacts(
        image.path,
        modality,
        _or_why(lambda: real_world_of(header, groups, is_signed=is_signed)),
        _or_why(lambda: voi_of(header, groups, values)),
    )


def _or_why(fact: Callable[[], _Fact]) -> _Fact | str:
    try:
        return fact()
    except Damaged as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - what pydicom raises for values that are none
        return f"its header cannot be read ({type(error).__name__})"


def stored_range(image: Image) -> tuple[float, float]:
    """Return the smallest and the largest value that can be stored."""
    bits = image.BitsStored or 8 * image.dtype.itemsize
    if image.dtype.kind == "f":
        return float("-inf"), float("inf")
    if image.dtype.kind == "i":
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def _palette(image: Image, header: Dataset) -> tuple[Table, Table, Table] | str:
    found = _or_why(lambda: palette_of(header))
    if isinstance(found, str):
        return f"its color palette is damaged: {found}"
    if len({len(table.entries) for table in found}) > 1:
        return "its color palette is damaged: tables of several lengths"
    red, green, blue = (table.starting_within(*stored_range(image)) for table in found)
    return red, green, blue


def _photometric(opened: OpenPixels) -> str:
    """Return the color space of decoded samples; a JPEG codestream overrides the header.

    This applies if both Photometric Interpretation and the JPEG markers state a color space; if
    they differ, decoders return the samples as they were compressed.
    """
    image = opened.image
    stated = image.PhotometricInterpretation or ""
    jpeg = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)
    if image.SamplesPerPixel != 3 or image.TransferSyntaxUID not in jpeg:
        return stated
    first = compressed_frames(image, opened.read)[0]
    space = codestream.color_space_of(b"".join(opened.read(*part) for part in first))
    return stated if space is None or space in stated else space


def entries_as(table: Table, dtype: np.dtype) -> np.ndarray:
    """Scale the entries of a palette to the full range of 8 or 16 bits."""
    entries = table.entries
    # Entries of 8 bits may be padded to 16 (PS3.3 C.7.6.3.1.5, note).
    is_wide = entries.dtype.itemsize == 2 and (table.bits > 8 or int(entries.max()) > 255)
    if dtype.itemsize == 1:
        return (entries >> 8 if is_wide else entries).astype(dtype)
    return entries.astype(dtype) * (1 if is_wide else 257)
