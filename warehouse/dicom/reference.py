"""The reference reader: one file → its elements, found by pydicom.

In: a source file. Out: ``Header``. Slow and obvious; the oracle for every other reader and the
fallback for files they cannot take (big endian, deflated, without preamble, damaged). Value fields
are taken over as bytes, so that a value pydicom would refuse still becomes a row.
"""

from __future__ import annotations

import io
import os
import struct
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import pydicom.uid
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_dataset, read_partial, read_sequence
from pydicom.hooks import raw_element_vr
from pydicom.valuerep import AMBIGUOUS_VR, EXPLICIT_VR_LENGTH_32

from warehouse.dicom.charset import DEFAULT, decode_text
from warehouse.dicom.element import (
    MAX_DEPTH,
    PIXEL_TAGS,
    Element,
    Header,
    PixelPlace,
    join_path,
    path_step,
)
from warehouse.dicom.open import open_source
from warehouse.dicom.preamble import has_preamble, starts_like_a_dataset
from warehouse.dicom.said import quiet, tells_an_early_end, was_too_deep
from warehouse.dicom.watched import Spent, Wanted, Watched, inflated
from warehouse.errors import Rejected, TooMuch
from warehouse.settings import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydicom.dataset import Dataset

    from warehouse.dicom.scan import SourceFile

LONG_BYTES = 1 << 20
"""Top-level values longer than this are read last, if at all (``Limits.value_bytes``)."""

UNDEFINED = 0xFFFFFFFF
_PIXEL_NUMBERS = frozenset(int(tag, 16) for tag in PIXEL_TAGS)
_IDENTITY_TAGS = frozenset({"00020002", "00020003", "00080016", "00080018"})


def read_header(source: SourceFile, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read all elements of a file but its pixel data.

    Raises
    ------
    Rejected
        The file cannot be read, is not DICOM, ends inside its header, or is beyond a limit.
    """
    with open_source(source) as file:
        return read_header_from(file, limits)


def read_header_from(
    file: IO[bytes], limits: Limits = DEFAULT_LIMITS, wanted: Wanted | None = None
) -> Header:
    """Read an open file, see ``read_header``; copy a long value if one is wanted."""
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
        with quiet() as said:
            header = _read(watched, size, start=132 if has_prefix else 0)
    except Rejected:
        raise
    except RecursionError as error:
        raise Rejected(f"sequences nested deeper than {MAX_DEPTH} levels") from error
    except MemoryError:
        # Other files hold memory too: whose fault it is, is found out by reading this one alone.
        raise
    except Exception as error:
        if watched.spent.beyond is not None:
            raise watched.spent.beyond from error
        if was_too_deep(error):
            raise Rejected(f"sequences nested deeper than {MAX_DEPTH} levels") from error
        # pydicom raises whatever its parser met; its text may quote values, its type does not.
        raise Rejected(
            f"damaged header: {type(error).__name__} while parsing near byte {watched.tell()}",
            watched.tell(),
        ) from error
    if watched.cut_at is not None:
        raise Rejected(f"cut off: the file ends inside its header, at byte {size}", size)
    if tells_an_early_end(said):
        raise Rejected(f"cut off: the file ends inside its header, at byte {size}", size)
    if not header.elements:
        raise Rejected("no data elements after the DICM prefix", 132)
    if not has_prefix and not any(e.tag in _IDENTITY_TAGS and not e.path for e in header.elements):
        raise Rejected("not DICOM: no DICM prefix and no SOP class or instance UID", 0)
    return header


def _read(file: Watched, size: int, *, start: int) -> Header:
    """Read file meta and data set, passing over top-level pixel data wherever they stand."""
    file.seek(start)
    meta = read_dataset(_as_file(file), False, True, stop_when=_not_group_2)
    spent = file.spent
    elements = _elements(meta, "", 0, spent)
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
    """Read the data set, and what stands behind pixel data; ``elements`` are those before."""
    spent = file.spent
    if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
        dataset = read_dataset(
            _as_file(file), False, True, stop_when=_at_pixels, defer_size=LONG_BYTES
        )
    else:
        # The whole of pydicom's own logic: missing meta, command sets, wrong transfer syntaxes.
        dataset = read_partial(
            _as_file(file), stop_when=_at_pixels, defer_size=LONG_BYTES, force=True
        )
    implicit, little = dataset.original_encoding
    pixels: PixelPlace | None = None
    pixel_elements: list[Element] = []
    note = None
    while (found := _pixel_header(file, implicit=bool(implicit), little=bool(little))) is not None:
        tag, vr, offset, length = found
        place, note = _pass_over(file, offset, length, size, little=bool(little))
        pixels = pixels or place
        pixel_elements.append(
            Element("", tag, vr or _implicit_pixel_vr(tag, length), None, None, (), bool(little),
                    pixel_length=place.length)
        )  # fmt: skip
        if note:
            break
        tail = read_dataset(
            _as_file(file), bool(implicit), bool(little), stop_when=_at_pixels,
            defer_size=LONG_BYTES, parent_encoding=dataset.original_character_set,
        )  # fmt: skip
        # Not through __setitem__, which would convert private elements.
        dataset._dict.update(tail._dict)  # noqa: SLF001
    unread = size - file.tell()
    if note is None and unread > 0:
        note = f"{unread} bytes after byte {file.tell()} are no data elements"
    left = _fetch_long(file, dataset, size)
    elements += _elements(dataset, "", 0, spent, left) + pixel_elements
    return Header(elements, pixels, syntax, note)


def _not_group_2(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: int, _vr: str | None, length: int) -> bool:
    """Tell whether reading stops: at pixel data, and where zeros begin, which no element does.

    pydicom would take eight zeros for an empty element, one by one to the end of the file.
    """
    return tag in _PIXEL_NUMBERS or (tag == 0 and length == 0)


def _fetch_long(file: Watched, dataset: Dataset, size: int) -> dict[int, str]:
    """Read the long values that pydicom has passed over.

    Where they are too many bytes together, they get a stub, and the digest of each is returned.
    """
    here = file.tell()
    raws: dict[int, RawDataElement] = {
        int(tag): raw for tag, raw in dataset.items()
        if isinstance(raw, RawDataElement) and raw.value is None and 0 < raw.length < UNDEFINED
    }  # fmt: skip
    # Not through __setitem__, which would convert private elements.
    held = dataset._dict  # noqa: SLF001
    for tag, raw in raws.items():
        held[raw.tag] = raws[tag] = raw._replace(value=b"\0\0")
    values = {tag: raw for tag, raw in raws.items() if _vr_of(raw, dataset) != "SQ"}
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
    file.seek(here)
    return digests


def _pixel_header(
    file: Watched, *, implicit: bool, little: bool
) -> tuple[str, str | None, int, int] | None:
    """Return tag, VR, value offset and length if the file stands at pixel data."""
    order = "<" if little else ">"
    start = file.tell()
    head = file.read_if(8)
    if len(head) == 8:
        group, element = struct.unpack(order + "HH", head[:4])
        tag = f"{group:04X}{element:04X}"
        if tag in PIXEL_TAGS:
            # As pydicom has it: what is no VR at all was written as implicit VR by mistake.
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
    """Move behind the pixel data; a note says if the file ends before they do."""
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


def _elements(
    dataset: Dataset, path: str, depth: int, spent: Spent,
    left: Mapping[int, str] = MappingProxyType({}), outer: tuple[str, ...] | None = None,
) -> list[Element]:  # fmt: skip
    """Flatten a data set, depth first; sequences come before the elements of their items.

    ``left`` has the digests of values that are too long to be read, ``outer`` character sets of a
    data set around it that pydicom did not understand.
    """
    if depth > MAX_DEPTH:
        raise Rejected(f"sequences nested deeper than {MAX_DEPTH} levels")
    found: list[Element] = []
    # Not `elements()`, which converts empty elements, and with them others they depend on.
    raws: list[Any] = [raw for _, raw in sorted(dataset.items())]
    spent.add_elements(len(raws))
    encoding: Any = dataset.original_character_set or DEFAULT
    charsets = (encoding,) if isinstance(encoding, str) else tuple(encoding)
    outer = _charsets_without_spaces(raws, outer)
    charsets = outer or charsets
    creators = _creators(raws, charsets)
    for raw in raws:
        tag = f"{raw.tag:08X}"
        creator = (
            creators.get(raw.tag >> 8 if raw.tag & 0xFF00 else -1) if raw.tag.is_private else None
        )
        if isinstance(raw, DataElement):
            # pydicom has converted already what it needed itself: sequences of undefined length
            # and Specific Character Set.
            if raw.VR == "SQ":
                found += _sequence(raw, dataset, path, tag, creator, charsets, depth, spent, outer)
            else:
                found.append(
                    Element(path, tag, str(raw.VR), creator, _written(raw), charsets, True)
                )
            continue
        if raw.tag in left:
            found.append(
                Element(path, tag, _vr_of(raw, dataset), creator, None, charsets, True,
                        left=(raw.length, left[raw.tag]))
            )  # fmt: skip
            continue
        value = raw.value or b""
        if raw.length not in {UNDEFINED, len(value)}:
            raise Rejected(
                f"cut off: ({tag[:4]},{tag[4:]}) claims {raw.length} bytes, {len(value)} are there",
                raw.value_tell,
            )
        vr = _vr_of(raw, dataset)
        if vr == "SQ":
            found += _sequence(raw, dataset, path, tag, creator, charsets, depth, spent, outer)
        else:
            found.append(
                Element(path, tag, vr, creator, value, charsets, bool(raw.is_little_endian))
            )
    return found


def _charsets_without_spaces(
    raws: list[Any], outer: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Return character sets whose terms stand behind spaces, which pydicom takes for unknown ones.

    They mean nothing in CS (PS3.5 6.2). Where there are none, those around the data set hold,
    unless it states its own.
    """
    stated = next((raw for raw in raws if raw.tag == 0x00080005), None)
    if stated is None:
        return outer
    raw = _written(stated) if isinstance(stated, DataElement) else stated.value or b""
    written = raw.decode(DEFAULT).rstrip("\0 ").split("\\")
    if all(term == term.lstrip(" ") for term in written):
        return None
    with quiet():
        terms = [term.strip(" ") for term in written]
        return tuple(convert_encodings(terms if len(terms) > 1 else terms[0]))


def _written(element: DataElement) -> bytes:
    """Return the value field of an element that pydicom has converted while reading."""
    if element.is_empty:
        return b""
    assert element.tag == 0x00080005, element.tag
    values = [element.value] if isinstance(element.value, str) else element.value
    return "\\".join(values).encode("latin-1")


def _sequence(
    raw: DataElement | RawDataElement, dataset: Dataset, path: str, tag: str,
    creator: str | None, charsets: tuple[str, ...], depth: int, spent: Spent,
    outer: tuple[str, ...] | None,
) -> list[Element]:  # fmt: skip
    """Return the sequence and all that is in it; one that cannot be parsed is kept as bytes."""
    try:
        with quiet() as said:
            _count_first(raw, charsets, spent)
            items = dataset[raw.tag].value or []
        if tells_an_early_end(said):
            raise Rejected("the value field ends inside an element")  # noqa: TRY301
        inside = [
            element
            for number, item in enumerate(items)
            for element in _elements(
                item, join_path(path, path_step(tag, number)), depth + 1, spent, outer=outer
            )
        ]
    except (RecursionError, MemoryError, TooMuch):
        raise
    except Exception as error:
        if spent.beyond is not None:
            raise spent.beyond from error
        if isinstance(raw, DataElement) or (
            isinstance(error, Rejected) and "nested" in error.reason
        ):
            raise
        return [
            Element(path, tag, "SQ", creator, raw.value, charsets, bool(raw.is_little_endian),
                    warning="sequence cannot be parsed: kept as bytes")
        ]  # fmt: skip
    whole = Element(path, tag, "SQ", creator, None, charsets, little=True, items=len(items))
    return [whole, *inside]


def _count_first(
    raw: DataElement | RawDataElement, charsets: tuple[str, ...], spent: Spent
) -> None:  # fmt: skip
    """Parse a sequence that may hold too many elements once for their number alone.

    pydicom parses the bytes of a sequence as a whole, and cannot be stopped in between.
    """
    if isinstance(raw, RawDataElement) and len(raw.value or b"") > 8 * spent.limits.elements:
        alone = Watched(io.BytesIO(raw.value or b""), Spent(spent.limits))
        try:
            read_sequence(
                _as_file(alone), raw.is_implicit_VR, raw.is_little_endian, len(raw.value or b""),
                list(charsets),
            )  # fmt: skip
        finally:
            spent.beyond = alone.spent.beyond


def _creators(raws: list[Any], charsets: tuple[str, ...]) -> Mapping[int, str]:
    """Return which private creator reserved which block: group and block number → creator."""
    creators = {}
    for raw in raws:
        if raw.tag.is_private_creator and isinstance(raw, RawDataElement) and raw.value:
            creator = decode_text(raw.value, charsets).split("\\")[0].strip("\0 ")
            if creator:
                creators[(raw.tag.group << 8) | (raw.tag.elem & 0xFF)] = creator
    return creators


def _vr_of(raw: RawDataElement, dataset: Dataset) -> str:
    """Return the VR that pydicom gives the element; never one of the ambiguous ones."""
    answer: dict[str, Any] = {}
    raw_element_vr(raw, answer, ds=dataset)
    vr = str(answer["VR"])
    if vr in AMBIGUOUS_VR:
        try:
            vr = str(dataset[raw.tag].VR)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - without the attributes it depends on, pydicom gives up
            vr = "US or OW" if "OW" in vr else vr
    if vr in AMBIGUOUS_VR:
        # What pydicom leaves open (retired, DICONDE, incomplete): bytes, which assert nothing.
        vr = "OB" if vr == "OB or OW" else "OW" if "OW" in vr else "US"
    return vr


def _text_of(elements: list[Element], tag: str) -> str | None:
    raw = next((e.raw for e in elements if e.tag == tag), None)
    return raw.decode("latin-1").strip("\0 ") or None if raw else None


def _as_file(file: Watched) -> BinaryIO:
    """Tell the type checker that pydicom reads, seeks and tells, and nothing else."""
    return cast("BinaryIO", file)
