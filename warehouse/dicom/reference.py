"""The reference reader: parse one file with pydicom.

In: a source file. Out: ``Header``. The reader is slow and simple. Tests compare every other reader
with it, and it is the fallback for files that they do not support (big endian, deflated, without
preamble, damaged). This module controls what pydicom reads of a file: file meta information, data
set and long values, but no pixel data. ``flatten`` converts the result to elements.
"""

from __future__ import annotations

import os
import struct
from typing import IO, TYPE_CHECKING

import pydicom.uid
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_partial
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from warehouse.dicom.element import MAX_DEPTH, PIXEL_TAGS, Element, Header, PixelPlace
from warehouse.dicom.flatten import UNDEFINED, flattened, vr_of
from warehouse.dicom.open import open_source
from warehouse.dicom.preamble import has_preamble, starts_like_a_dataset
from warehouse.dicom.pydicom_warnings import quiet, reports_truncation, was_too_deep
from warehouse.dicom.watched import LongValue, Spent, Watched, as_file, inflated
from warehouse.errors import Rejected
from warehouse.settings import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from warehouse.dicom.scan import SourceFile

LONG_BYTES = 1 << 20
"""Top-level values longer than this are read last, if at all (``Limits.value_bytes``)."""

_PIXEL_NUMBERS = frozenset(int(tag, 16) for tag in PIXEL_TAGS)
_IDENTITY_TAGS = frozenset({"00020002", "00020003", "00080016", "00080018"})


def read_header(source: SourceFile, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read all elements of a file except pixel data.

    Raises
    ------
    Rejected
        The file cannot be read, is not DICOM, ends inside its header, or exceeds a limit.
    Unreachable
        It cannot be opened, or a read fails.
    """
    with open_source(source) as file:
        return read_header_from(file, limits)


def read_header_from(
    file: IO[bytes], limits: Limits = DEFAULT_LIMITS, wanted: LongValue | None = None
) -> Header:
    """Read an open file as ``read_header`` does; copy a long value if one is wanted.

    Raises
    ------
    Rejected
    OSError
        A read fails.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        raise Rejected("empty file", 0)
    head = file.read(132 + 8)
    has_prefix = has_preamble(head, size)
    if not has_prefix and not starts_like_a_dataset(head, size):
        raise Rejected("not DICOM: no DICM prefix, and the first bytes are no data element", 0)
    watched = Watched(file, Spent(limits, wanted))
    try:
        with quiet() as messages:
            header = _read(watched, size, start=132 if has_prefix else 0)
    except Rejected:
        raise
    except RecursionError as error:
        raise Rejected(f"sequences nested deeper than {MAX_DEPTH} levels") from error
    except MemoryError:
        # Other files use memory, too; the file will be read again alone to find the cause.
        raise
    except Exception as error:
        if watched.spent.beyond is not None:
            raise watched.spent.beyond from error
        if watched.spent.failed is not None:
            raise watched.spent.failed from error
        if was_too_deep(error):
            raise Rejected(f"sequences nested deeper than {MAX_DEPTH} levels") from error
        # pydicom raises any exception. Report only its class, because the text may quote values.
        raise Rejected(
            f"damaged header: {type(error).__name__} while parsing near byte {watched.tell()}",
            watched.tell(),
        ) from error
    if watched.cut_at is not None:
        raise Rejected(f"cut off: the file ends inside its header, at byte {size}", size)
    if reports_truncation(messages):
        raise Rejected(f"cut off: the file ends inside its header, at byte {size}", size)
    if not header.elements:
        raise Rejected("no data elements after the DICM prefix", 132)
    if not has_prefix and not any(e.tag in _IDENTITY_TAGS and not e.path for e in header.elements):
        raise Rejected("not DICOM: no DICM prefix and no SOP class or instance UID", 0)
    return header


def _read(file: Watched, size: int, *, start: int) -> Header:
    """Read file meta information and data set, skipping top-level pixel data at any position."""
    file.seek(start)
    meta = read_dataset(as_file(file), False, True, stop_when=_not_group_2)
    spent = file.spent
    elements = flattened(meta, "", 0, spent)
    syntax = _text_of(elements, "00020010")
    begin = file.tell()
    if file.read_if(8) == bytes(8):
        raise Rejected("no data elements: zeros where the data set should begin", begin)
    file.seek(begin)
    if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
        with inflated(file) as opened:
            return _read_dataset(opened, opened.size(), elements, syntax)
    file.seek(0)
    file.hides_prefix = not start
    return _read_dataset(file, size, elements, syntax)


def _read_dataset(file: Watched, size: int, elements: list[Element], syntax: str | None) -> Header:
    """Read the data set, including elements after the pixel data."""
    spent = file.spent
    if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
        dataset = read_dataset(
            as_file(file), False, True, stop_when=_at_pixels, defer_size=LONG_BYTES
        )
    else:
        # Use pydicom's full logic for missing meta, command sets and wrong transfer syntaxes.
        dataset = read_partial(
            as_file(file), stop_when=_at_pixels, defer_size=LONG_BYTES, force=True
        )
    implicit, little = dataset.original_encoding
    pixels: PixelPlace | None = None
    pixel_elements: dict[str, Element] = {}
    note = None
    while (head := _pixel_header(file, implicit=bool(implicit), little=bool(little))) is not None:
        tag, vr, offset, length = head
        place, note = _pass_over(file, offset, length, size, little=bool(little))
        # Of repeated elements pydicom keeps the last.
        if pixels is None or tag in pixel_elements:
            pixels = place
        pixel_elements[tag] = Element(
            "", tag, vr or _implicit_pixel_vr(tag, length), None, None, (), bool(little),
            pixel_length=place.length,
        )  # fmt: skip
        if note or size - file.tell() < 8:
            break
        tail = read_dataset(
            as_file(file), bool(implicit), bool(little), stop_when=_at_pixels,
            defer_size=LONG_BYTES, parent_encoding=dataset.original_character_set,
        )  # fmt: skip
        # Bypass __setitem__, which would convert private elements.
        dataset._dict.update(tail._dict)  # noqa: SLF001
    unread = size - file.tell()
    if note is None and unread > 0:
        what, are = ("1 byte", "is") if unread == 1 else (f"{unread} bytes", "are")
        note = f"{what} after byte {file.tell()} {are} no data elements"
    left = _fetch_long(file, dataset, size)
    meta = {element.tag for element in elements}
    found = flattened(dataset, "", 0, spent, left)
    # File meta information that is repeated in the data set counts where it belongs.
    elements += [element for element in found if element.path or element.tag not in meta]
    elements += pixel_elements.values()
    return Header(elements, pixels, syntax, note)


def _not_group_2(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: int, _vr: str | None, length: int) -> bool:
    """Return whether reading stops: at pixel data and at zero padding.

    pydicom would parse every eight zero bytes as an empty element, up to the end of the file.
    """
    return tag in _PIXEL_NUMBERS or (tag == 0 and length == 0)


def _fetch_long(file: Watched, dataset: Dataset, size: int) -> dict[int, str]:
    """Read the long values that pydicom has deferred.

    If their total size exceeds the limit, they get a stub, and the digest of each is returned.
    """
    position = file.tell()
    raws: dict[int, RawDataElement] = {
        int(tag): raw for tag, raw in dataset.items()
        if isinstance(raw, RawDataElement) and raw.value is None and 0 < raw.length < UNDEFINED
    }  # fmt: skip
    # Not through __setitem__, which would convert private elements.
    held = dataset._dict  # noqa: SLF001
    for tag, raw in raws.items():
        held[raw.tag] = raws[tag] = raw._replace(value=b"\0\0")
    values = {tag: raw for tag, raw in raws.items() if vr_of(raw, dataset) != "SQ"}
    keeps = sum(raw.length for raw in values.values()) <= file.spent.limits.value_bytes
    digests: dict[int, str] = {}
    for tag, raw in raws.items():
        if raw.value_tell + raw.length > size:
            file.cut_at = size
            break
        file.seek(raw.value_tell)
        if tag not in values:
            held[raw.tag] = raw._replace(value=file.read(raw.length))
        elif keeps:
            held[raw.tag] = raw._replace(value=file.read_if(raw.length))
        else:
            digests[tag] = file.digest(raw.length)
    file.seek(position)
    return digests


def _pixel_header(
    file: Watched, *, implicit: bool, little: bool
) -> tuple[str, str | None, int, int] | None:
    """Return tag, VR, value offset and length if the next element is pixel data."""
    order = "<" if little else ">"
    start = file.tell()
    head = file.read_if(8)
    if len(head) == 8:
        group, element = struct.unpack(order + "HH", head[:4])
        tag = f"{group:04X}{element:04X}"
        if tag in PIXEL_TAGS:
            # As in pydicom: without valid VR letters, the element was written as implicit VR.
            if implicit or not b"AA" <= head[4:6] <= b"ZZ":
                return tag, None, start + 8, struct.unpack(order + "L", head[4:])[0]
            vr = head[4:6].decode("latin-1")
            if vr not in EXPLICIT_VR_LENGTH_32:
                return tag, vr, start + 8, struct.unpack(order + "H", head[6:])[0]
            return tag, vr, start + 12, struct.unpack(order + "L", file.read(4))[0]
    file.seek(start)
    return None


def _implicit_pixel_vr(tag: str, length: int) -> str:
    if tag == "7FE00010":
        return "OB" if length == UNDEFINED else "OW"
    return "OF" if tag == "7FE00008" else "OD"


def _pass_over(
    file: Watched, offset: int, length: int, size: int, *, little: bool
) -> tuple[PixelPlace, str | None]:
    """Skip the pixel data; return a note if the file is truncated."""
    if length != UNDEFINED:
        end = offset + length
        if end > size:
            file.seek(size)
            return (
                PixelPlace(offset, size - offset, encapsulated=False),
                f"pixel data end early: {size - offset} of {length} bytes are there",
            )
        file.seek(end)
        return PixelPlace(offset, length, encapsulated=False), None
    order = "<" if little else ">"
    at = offset
    while True:
        file.seek(at)
        head = file.read_if(8)
        group, element, step = struct.unpack(order + "HHL", head) if len(head) == 8 else (0, 0, 0)
        if (group, element) == (0xFFFE, 0xE0DD):
            return PixelPlace(offset, at + 8 - offset, encapsulated=True), None
        at += 8 + step
        if (group, element) != (0xFFFE, 0xE000) or at > size:
            file.seek(size)
            return (
                PixelPlace(offset, size - offset, encapsulated=True),
                "encapsulated pixel data end early: no sequence delimiter",
            )


def _text_of(elements: list[Element], tag: str) -> str | None:
    raw = next((e.raw for e in elements if e.tag == tag), None)
    return raw.decode("latin-1").strip("\0 ") or None if raw else None
