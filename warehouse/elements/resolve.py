"""Found elements → their path, VR, creator and character set: all that a row says but its value.

In: ``Found`` and the distinct bytes of its values. Out: ``Resolved``: per element a *slot*, which
stands for one (path, tag, VR, creator), and the character sets in force. Everything is decided
once per distinct combination. A file with a combination that pydicom treats in a special way is
given up (``Resolved.given_up``) and left to the reference reader.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydicom.charset import convert_encodings, python_encoding
from pydicom.datadict import private_dictionary_VR
from pydicom.filewriter import _AMBIGUOUS_US_SS_TAGS
from pydicom.tag import Tag

from warehouse.dicom.charset import DEFAULT, decode_text
from warehouse.dicom.element import join_path
from warehouse.dicom.grammar import VR_NUMBER, VRS, dictionary_vr
from warehouse.elements.values import ALL_VRS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.lockstep import Found

_UN = VRS.index("UN")
_SQ = VRS.index("SQ")
_LO = VRS.index("LO")
_CS = VRS.index("CS")
_LONG_UN = len(VRS)
"""Stands for a UN so long that pydicom does not look up its VR."""

_LONG_UN_BYTES = 0xFFFF

GIVE_UP = "?"
"""In place of a VR: what pydicom makes of this element is left to pydicom."""

INNER_SEQUENCE = "SQ in UN"
"""In place of a VR: a sequence that was found too late, as private or UN element."""

US_SS = "US or SS"


class Slot(NamedTuple):
    """What all values of one element of one kind have in common."""

    path: str
    tag: str
    vr: str
    creator: str | None


@dataclass(slots=True)
class Resolved:
    """What is known of each element of ``Found`` besides its value."""

    slots: list[Slot]
    slot: NDArray[np.int64]
    charsets: list[tuple[str, ...]]
    charset: NDArray[np.int64]
    given_up: NDArray[np.bool_]
    """Per file."""


def encode(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a small number for each key, and the distinct keys by that number."""
    encoded = pa.array(keys).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy()


def resolve(
    found: Found, tag: NDArray[np.int64], raw_id: NDArray[np.int64], raws: pa.BinaryArray
) -> Resolved:
    """Give each element its slot; ``raw_id`` is -1 where the value was not in the arena."""
    files = len(found.status)
    given_up = np.zeros(files, bool)
    node_file = found.node_file
    vr = VR_NUMBER[(found.head >> np.uint64(32)) & np.uint64(0xFFFF)].astype(np.int64)
    is_meta = (found.node >= files) & (found.node < 2 * files)
    vr[found.implicit[found.file] & ~is_meta] = 0
    sequence = found.length <= -2
    vr[sequence] = _SQ
    vr[(vr == _UN) & (found.length >= _LONG_UN_BYTES)] = _LONG_UN
    private = (tag >> 16) & 1 == 1
    low = tag & 0xFFFF
    # pydicom has ideas of its own about these blocks and groups.
    odd = (private & (low >= 0x0100) & (low < 0x1000)) | ((tag >> 16) == 0)
    odd |= ((tag >> 16) == 2) & ~is_meta
    given_up[found.file[odd]] = True

    parts: list[NDArray[np.int64]] = []
    charsets, node_charset, wrong = _charsets(found, tag, vr, raw_id, raws)
    given_up[node_file[wrong]] = True
    creators, creator, wrong_files = _creators(
        found, tag, vr, private, raw_id, raws, charsets, node_charset
    )
    given_up[wrong_files] = True
    paths, node_path = _paths(found)

    represented, wrong = _pixel_representation(found, tag, raw_id, raws)
    given_up[node_file[wrong]] = True

    key = (node_path[found.node] << 38) | (tag << 6) | vr
    first, keys = encode(key)
    second, pairs = encode(first * (len(creators) + 1) + creator + 1)
    slots: list[Slot] = []
    for pair in pairs.tolist():
        combined, who = divmod(pair, len(creators) + 1)
        where = int(keys[combined])
        number = where >> 6 & 0xFFFFFFFF
        who_text = creators[who - 1] if who else None
        slots.append(
            Slot(paths[where >> 38], f"{number:08X}", _vr_of(number, where & 63, who_text), who_text)
        )
    del parts
    given_up_slot = np.array([s.vr in {GIVE_UP, INNER_SEQUENCE} for s in slots], bool)
    empty = found.length == 0
    ambiguous = np.array([" or " in s.vr for s in slots], bool)
    if given_up_slot.any() or ambiguous.any():
        inner = np.array([s.vr == INNER_SEQUENCE for s in slots], bool)
        lost = given_up_slot[second] & ~(inner[second] & empty)
        lost |= ambiguous[second] & (empty | (found.length % 2 == 1))
        given_up[found.file[lost]] = True
        second = _settle(slots, second, found.node, represented, raws, raw_id, found, given_up)
    return Resolved(slots, second, charsets, node_charset[found.node], given_up)


def _settle(
    slots: list[Slot], slot: NDArray[np.int64], node: NDArray[np.int64],
    represented: NDArray[np.int64], raws: pa.BinaryArray, raw_id: NDArray[np.int64], found: Found,
    given_up: NDArray[np.bool_],
) -> NDArray[np.int64]:  # fmt: skip
    """Decide ambiguous VRs, as pydicom does after reading."""
    slot = slot.copy()
    for number, entry in enumerate(list(slots)):
        if entry.vr == INNER_SEQUENCE:
            slots[number] = entry._replace(vr="SQ")
        elif entry.vr == US_SS:
            signed = (slot == number) & (represented[node] == 1)
            slots[number] = entry._replace(vr="US")
            if signed.any():
                slot[signed] = len(slots)
                slots.append(entry._replace(vr="SS"))
        elif " or " in entry.vr:
            mine = slot == number
            if entry.tag == "00283006":
                # LUT Data depends on LUT Descriptor: rare enough for the reference reader.
                given_up[found.file[mine]] = True
            slots[number] = entry._replace(vr="OB")
    return slot


@lru_cache(maxsize=65_536)
def _vr_of(tag: int, number: int, creator: str | None) -> str:
    """Return the VR of one kind of element, as pydicom's ``raw_element_vr`` finds it."""
    if number == _LONG_UN:
        return _private_vr(tag, creator, explicit=True) if tag >> 16 & 1 else "UN"
    if number not in {0, _UN}:
        return VRS[number]
    explicit = number == _UN
    vr = dictionary_vr(tag)
    if tag >> 16 & 1:
        # A private tag can stand in the public dictionary (retired ones do).
        if vr is None or explicit:
            return _private_vr(tag, creator, explicit=explicit)
    elif vr is None:
        vr = "UL" if not explicit and tag & 0xFFFF == 0 else "UN"
    return _checked(vr or "UN", tag, explicit=explicit)


def _private_vr(tag: int, creator: str | None, *, explicit: bool) -> str:
    vr = "UN"
    if Tag(tag).is_private_creator:
        vr = "LO"
    elif creator is not None and tag & 0xFF00:
        if not creator.isascii():
            return GIVE_UP
        try:
            vr = str(private_dictionary_VR(tag, creator))
        except KeyError:
            pass
    return _checked(vr, tag, explicit=explicit)


def _checked(vr: str, tag: int, *, explicit: bool) -> str:
    """Return the VR if rows can be made of it here."""
    if vr == "SQ":
        return INNER_SEQUENCE
    if " or " in vr:
        if explicit:
            return GIVE_UP
        if vr == US_SS:
            return US_SS if tag in _AMBIGUOUS_US_SS_TAGS else "US"
        if tag in {0x7FE00010, 0x54000110, 0x54000112, 0x5400100A, 0x54001010} or (
            0x6000 <= tag >> 16 <= 0x601E and tag & 0xFFFF == 0x3000
        ):
            return "OW"
        if tag == 0x00283006:
            return vr
        return "OB" if vr == "OB or OW" else "OW"
    return vr if vr in ALL_VRS else GIVE_UP


def _paths(found: Found) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct paths, and the number of the path of each node."""
    paths = [""]
    node_path = np.zeros(len(found.node_file), np.int64)
    inside = found.node_sequence >= 0
    if not inside.any():
        return paths, node_path
    step = np.zeros(len(node_path), np.int64)
    tags = found.sequence_tag[found.node_sequence[inside]]
    step[inside], steps = encode(tags << 32 | found.node_item[inside])
    for level in range(1, int(found.node_level.max()) + 1):
        here = np.flatnonzero((found.node_level == level) & inside)
        number, keys = encode(node_path[found.node_parent[here]] * len(steps) + step[here])
        node_path[here] = len(paths) + number
        for key in keys.tolist():
            outer, last = divmod(key, len(steps))
            entry = int(steps[last])
            paths.append(join_path(paths[outer], f"{entry >> 32:08X}", entry & 0xFFFFFFFF))
    return paths, node_path


def _inherit(found: Found, own: NDArray[np.int64], usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Let items without a value of their own (-1) take that of the data set around them."""
    value = own.copy()
    deepest = int(found.node_level.max()) if len(value) else 0
    for level in range(1, deepest + 1):
        here = np.flatnonzero((found.node_level == level) & (value < 0) & usable)
        value[here] = value[found.node_parent[here]]
    return value


def _charsets(
    found: Found, tag: NDArray[np.int64], vr: NDArray[np.int64], raw_id: NDArray[np.int64],
    raws: pa.BinaryArray,
) -> tuple[list[tuple[str, ...]], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Return the character sets that occur, that of each node, and nodes with a strange one."""
    charsets: list[tuple[str, ...]] = [(DEFAULT,)]
    own = np.full(len(found.node_file), -1, np.int64)
    at = np.flatnonzero(tag == 0x00080005)
    wrong: list[NDArray[np.int64]] = []
    strange = at[((vr[at] != 0) & (vr[at] != _CS)) | ((raw_id[at] < 0) & (found.length[at] != 0))]
    wrong.append(found.node[strange])
    for raw in np.unique(raw_id[at]).tolist():
        nodes = found.node[at[raw_id[at] == raw]]
        known = _charset_of(raws[raw].as_py() if raw >= 0 else b"")
        if known is None:
            wrong.append(nodes)
            continue
        if known not in charsets:
            charsets.append(known)
        own[nodes] = charsets.index(known)
    # A sequence before Specific Character Set may be read with the one outside.
    early = found.node[(found.length <= -2) & (tag < 0x00080005)]
    wrong.append(early[own[early] >= 0])
    own[(found.node_level == 0) & (own < 0)] = 0
    return charsets, _inherit(found, own, np.ones(len(own), bool)), np.concatenate(wrong)


@lru_cache(maxsize=1024)
def _charset_of(raw: bytes) -> tuple[str, ...] | None:
    """Return Python's encodings for Specific Character Set, None if pydicom would have to guess."""
    text = raw.decode("latin-1").rstrip("\0 ")
    terms = text.split("\\")
    if any(term != term.strip() or (term and term not in python_encoding) for term in terms):
        return None
    if not text or (len(terms) > 1 and not all(terms[1:])):
        return None if len(terms) > 1 else (DEFAULT,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return tuple(convert_encodings(terms if len(terms) > 1 else text))
        except (UserWarning, LookupError, ValueError):
            return None


def _creators(
    found: Found, tag: NDArray[np.int64], vr: NDArray[np.int64], private: NDArray[np.bool_],
    raw_id: NDArray[np.int64], raws: pa.BinaryArray, charsets: list[tuple[str, ...]],
    node_charset: NDArray[np.int64],
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Return private creators, the creator of each element (-1: none), and files to give up."""
    creator = np.full(len(tag), -1, np.int64)
    low = tag & 0xFFFF
    at = np.flatnonzero(private & (low >= 0x10) & (low < 0x100) & (found.length != 0))
    strange = (raw_id[at] < 0) | ~np.isin(vr[at], (0, _UN, _LO))
    wrong = [found.file[at[strange]]]
    at = at[~strange]
    if not at.size:
        return [], creator, wrong[0]
    number, keys = encode(raw_id[at] * len(charsets) + node_charset[found.node[at]])
    creators: list[str] = []
    of_key = np.full(len(keys), -1, np.int64)
    seen: dict[str, int] = {}
    for k, key in enumerate(keys.tolist()):
        raw, charset = divmod(key, len(charsets))
        text = decode_text(raws[raw].as_py(), charsets[charset])
        name = text.split("\\")[0].rstrip("\0 ")
        if "\\" in text or not text.isascii():
            wrong.append(found.file[at[number == k]])
        if name:
            of_key[k] = seen.setdefault(name, len(seen))
    creators = list(seen)
    block_of = found.node << 24 | (tag >> 16 & 0xFFFF) << 8
    owned = np.flatnonzero(private & (low >= 0x1000))
    place = pc.index_in(
        pa.array(block_of[owned] | low[owned] >> 8), value_set=pa.array(block_of[at] | low[at])
    )
    place = place.fill_null(-1).to_numpy().astype(np.int64)
    creator[owned] = np.where(place >= 0, of_key[number][place], -1)
    return creators, creator, np.concatenate(wrong)


def _pixel_representation(
    found: Found, tag: NDArray[np.int64], raw_id: NDArray[np.int64], raws: pa.BinaryArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return Pixel Representation as each node sees it (-1: unknown); nodes with a strange one.

    Only implicit VR needs it. pydicom hands it down into sequences of defined length only.
    """
    own = np.full(len(found.node_file), -1, np.int64)
    at = np.flatnonzero((tag == 0x00280103) & found.implicit[found.file])
    wrong = [np.zeros(0, np.int64)]
    for raw in np.unique(raw_id[at]).tolist():
        nodes = found.node[at[raw_id[at] == raw]]
        value = raws[raw].as_py() if raw >= 0 else b""
        if value in {b"\0\0", b"\1\0"}:
            own[nodes] = value[0]
        else:
            wrong.append(nodes)
    handed_down = np.ones(len(own), bool)
    inside = found.node_sequence >= 0
    handed_down[inside] = ~found.sequence_undefined[found.node_sequence[inside]]
    return _inherit(found, own, handed_down), np.concatenate(wrong)
