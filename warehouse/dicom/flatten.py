"""Flatten a pydicom data set into a list of elements, depth first.

In: a data set read by ``reference``. Out: ``Element``s. Value fields are copied as bytes, so that a
value that pydicom would reject still becomes a row; so does a sequence that cannot be parsed.
"""

from __future__ import annotations

import contextlib
import io
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydicom.charset import python_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_sequence
from pydicom.hooks import raw_element_vr
from pydicom.valuerep import AMBIGUOUS_VR

from warehouse.dicom.charset import DEFAULT, decode_text, encodings_of
from warehouse.dicom.element import MAX_DEPTH, Element, join_path, path_step
from warehouse.dicom.pydicom_warnings import quiet, reports_truncation
from warehouse.dicom.watched import Spent, Watched, as_file
from warehouse.errors import Rejected, TooMuch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydicom.dataset import Dataset

UNDEFINED = 0xFFFFFFFF


def flattened(
    dataset: Dataset, path: str, depth: int, spent: Spent,
    left: Mapping[int, str] = MappingProxyType({}), outer: tuple[str, ...] | None = None,
) -> list[Element]:  # fmt: skip
    """Flatten a data set, depth first; sequences come before the elements of their items.

    ``left`` has the digests of values that are too long to be read, ``outer`` the character sets of
    an enclosing data set that pydicom does not know.
    """
    if depth > MAX_DEPTH:
        raise Rejected(f"sequences nested deeper than {MAX_DEPTH} levels")
    found: list[Element] = []
    # Avoid `elements()`, which converts empty elements and the elements they depend on.
    raws: list[Any] = [raw for _, raw in sorted(dataset.items())]
    spent.add_elements(len(raws))
    encoding: Any = dataset.original_character_set or DEFAULT
    charsets = (encoding,) if isinstance(encoding, str) else tuple(encoding)
    outer = _own_charsets(raws, outer)
    charsets = outer or charsets
    creators = _creators(raws, charsets)
    for raw in raws:
        tag = f"{raw.tag:08X}"
        creator = (
            creators.get(raw.tag >> 8 if raw.tag & 0xFF00 else -1) if raw.tag.is_private else None
        )
        if isinstance(raw, DataElement):
            # pydicom has already converted the elements it needs: sequences of undefined length
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
                Element(path, tag, vr_of(raw, dataset), creator, None, charsets, True,
                        left=(raw.length, left[raw.tag]))
            )  # fmt: skip
            continue
        if raw.VR == "UN" and not raw.is_little_endian:
            # PS3.5 6.2.2: implicit VR and little endian in any transfer syntax; not so in pydicom.
            raw = raw._replace(is_implicit_VR=True, is_little_endian=True)  # noqa: PLW2901
            dataset._dict[raw.tag] = raw  # noqa: SLF001
        value = raw.value or b""
        if raw.length not in {UNDEFINED, len(value)}:
            raise Rejected(
                f"cut off: ({tag[:4]},{tag[4:]}) claims {raw.length} bytes, {len(value)} are there",
                raw.value_tell,
            )
        vr = vr_of(raw, dataset)
        if vr == "SQ":
            found += _sequence(raw, dataset, path, tag, creator, charsets, depth, spent, outer)
        else:
            found.append(
                Element(path, tag, vr, creator, value, charsets, bool(raw.is_little_endian))
            )
    return found


def _own_charsets(
    raws: list[Any], outer: tuple[str, ...] | None
) -> tuple[str, ...] | None:  # fmt: skip
    """Return character sets whose terms pydicom does not know.

    These are terms with leading spaces, which are insignificant in CS (PS3.5 6.2), newer terms, and
    invalid terms. A data set that states none inherits those of the enclosing data set.
    """
    stated = next((raw for raw in raws if raw.tag == 0x00080005), None)
    if stated is None:
        return outer
    raw = _written(stated) if isinstance(stated, DataElement) else stated.value or b""
    written = raw.decode(DEFAULT).rstrip("\0 ").split("\\")
    if all(term in python_encoding for term in written):
        return None
    return encodings_of(tuple(term.strip(" ") for term in written))


def _written(element: DataElement) -> bytes:
    """Return the bytes of Specific Character Set, which pydicom has converted already."""
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
    """Return a sequence and its nested elements; one that cannot be parsed is returned as bytes."""
    try:
        with quiet() as messages:
            _count_first(raw, charsets, spent)
            items = dataset[raw.tag].value or []
            _hand_down(dataset, raw)
        if reports_truncation(messages):
            raise Rejected("the value field ends inside an element")  # noqa: TRY301
        inside = [
            element
            for number, item in enumerate(items)
            for element in flattened(
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


def _hand_down(dataset: Dataset, raw: DataElement | RawDataElement) -> None:
    """Let items know the Pixel Representation around them, which decides between US and SS.

    pydicom tells it only to the items of sequences of defined length.
    """
    if isinstance(raw, DataElement):
        # An invalid Pixel Representation raises any exception; it then decides nothing.
        with contextlib.suppress(Exception):
            dataset._set_pixel_representation(raw)  # noqa: SLF001


def _count_first(
    raw: DataElement | RawDataElement, charsets: tuple[str, ...], spent: Spent
) -> None:  # fmt: skip
    """Parse a possibly huge sequence once, only to count its elements.

    pydicom parses the bytes of a sequence as a whole and cannot be stopped meanwhile.
    """
    if isinstance(raw, RawDataElement) and len(raw.value or b"") > 8 * spent.limits.elements:
        alone = Watched(io.BytesIO(raw.value or b""), Spent(spent.limits))
        try:
            read_sequence(
                as_file(alone), raw.is_implicit_VR, raw.is_little_endian, len(raw.value or b""),
                list(charsets),
            )  # fmt: skip
        finally:
            spent.beyond = alone.spent.beyond


def _creators(raws: list[Any], charsets: tuple[str, ...]) -> Mapping[int, str]:
    """Return (group, block) → private creator."""
    creators = {}
    for raw in raws:
        if raw.tag.is_private_creator and isinstance(raw, RawDataElement) and raw.value:
            creator = decode_text(raw.value, charsets).split("\\")[0].strip("\0 ")
            if creator:
                creators[(raw.tag.group << 8) | (raw.tag.elem & 0xFF)] = creator
    return creators


def vr_of(raw: RawDataElement, dataset: Dataset) -> str:
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
        # VRs that pydicom leaves ambiguous (retired, DICONDE, incomplete): treat as bytes.
        vr = "OB" if vr == "OB or OW" else "OW" if "OW" in vr else "US"
    return vr
