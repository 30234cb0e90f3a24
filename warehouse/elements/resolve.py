"""Resolve path, VR, private creator and character set of each element that was found.

In: ``Found`` and the distinct bytes of its values. Out: ``Resolved``: per element a *slot*, which
represents one (path, tag, VR, creator), and the character sets in effect. Each distinct combination
is resolved once. A file with a combination that pydicom treats specially is left to the reference
reader (``Resolved.given_up``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydicom.charset import convert_encodings, python_encoding

from warehouse.dicom.charset import DEFAULT, decode_text
from warehouse.dicom.element import join_path, path_step
from warehouse.dicom.found import tag_of
from warehouse.dicom.grammar import ITEM_HEAD, VR_NUMBER, VRS, vr_bytes
from warehouse.elements.values import ALL_VRS
from warehouse.elements.vr import INNER_SEQUENCE, LONG_UN, SETTLED, US_SS, vr_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.found import Found
    from warehouse.dicom.heads import Heads

_UN = VRS.index("UN")
_SQ = VRS.index("SQ")
_LO = VRS.index("LO")
_CS = VRS.index("CS")
_LONG_UN_BYTES = 0xFFFF

_MARK = 1 << 16
"""Flag above the two letters of a VR: a UN value so long that pydicom does not look up its VR."""


class Kind(NamedTuple):
    """Tag, VR, creator and others: the properties of an element except its path and value."""

    tag: str
    vr: str
    creator: str | None


@dataclass(slots=True)
class Resolved:
    """Kind, path and character set of each element of ``Found``."""

    kinds: list[Kind]
    kind: NDArray[np.int32]
    """Per element."""
    paths: list[str]
    path: NDArray[Any]
    """Per node."""
    charsets: list[tuple[str, ...]]
    charset: NDArray[np.int64]
    """Per node."""
    given_up: NDArray[np.bool_]
    """Per file."""


def encode(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return a code for each key, and the distinct keys by code."""
    encoded = pa.array(keys).dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_numpy()


@dataclass(frozen=True, slots=True)
class _View:
    """Elements with tag and VR as written in the file."""

    found: Found
    bare: NDArray[np.int32]
    tag: NDArray[np.int64]
    """Per bare kind."""
    vr: NDArray[np.int64]
    """Number of the VR, per bare kind; 0 if the file states none."""
    raw: NDArray[np.int32]
    raws: pa.Array

    def where(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the elements whose tag and VR are selected."""
        if not chosen.any():
            return np.zeros(0, np.int64)
        return np.flatnonzero(chosen[self.bare])


def resolve(found: Found, raw: NDArray[np.int32], raws: pa.Array) -> Resolved:
    """Determine the kind of each element, and path and character sets of each node."""
    files = len(found.status)
    given_up = np.zeros(files, bool)
    view = _bare(found, raw, raws)
    tag, bare = view.tag, view.bare
    group, low = tag >> 16, tag & 0xFFFF
    private = group & 1 == 1
    # pydicom resolves the VRs of these blocks and groups by its own rules.
    odd = (private & (low >= 0x0100) & (low < 0x1000)) | (group == 0)
    given_up[found.file[view.where(odd)]] = True
    misplaced = view.where(group == 2)
    misplaced = misplaced[(found.node[misplaced] < files) | (found.node[misplaced] >= 2 * files)]
    given_up[found.file[misplaced]] = True

    charsets, node_charset, wrong = _charsets(view)
    given_up[found.node_file[wrong]] = True
    creators, owned, creator, strange = _creators(view, private, charsets, node_charset)
    given_up[strange] = True
    paths, node_path = _paths(found)

    kind = bare.copy()
    number, pairs = encode(bare[owned] * np.int64(len(creators) + 1) + creator + 1)
    kind[owned] = len(tag) + number
    kinds = [
        Kind(f"{t:08X}", vr_of(t, v, None), None)
        for t, v in zip(tag.tolist(), view.vr.tolist(), strict=True)
    ]
    for pair in pairs.tolist():
        of, creator_number = divmod(pair, len(creators) + 1)
        name = creators[creator_number - 1] if creator_number else None
        kinds.append(Kind(kinds[of].tag, vr_of(int(tag[of]), int(view.vr[of]), name), name))
    _resolve_ambiguous(kinds, kind, view, given_up)
    return Resolved(kinds, kind, paths, node_path, charsets, node_charset, given_up)


def _bare(found: Found, raw: NDArray[np.int32], raws: pa.Array) -> _View:
    files = len(found.status)
    key = (found.head & np.uint64(0xFFFFFFFFFFFF)).view(np.int64)
    if found.implicit.any():
        meta = (found.node >= files) & (found.node < 2 * files)
        none = np.flatnonzero(found.implicit[found.file] & ~meta)
        key[none] &= 0xFFFFFFFF
        key[none[found.length[none] <= -2]] |= vr_bytes("SQ") << 32
    long = np.flatnonzero(found.length >= _LONG_UN_BYTES)
    key[long[key[long] >> 32 == vr_bytes("UN")]] |= _MARK << 32
    bare, keys = encode(key)
    tag = (keys & 0xFFFF) << 16 | (keys >> 16 & 0xFFFF)
    letters = keys >> 32
    vr = np.where(letters == (vr_bytes("UN") | _MARK), LONG_UN, VR_NUMBER[letters & 0xFFFF])
    return _View(found, bare, tag, vr.astype(np.int64), raw, raws)


def _resolve_ambiguous(
    kinds: list[Kind], kind: NDArray[np.int32], view: _View, given_up: NDArray[np.bool_]
) -> None:
    """Determine the VRs that depend on more than tag, VR and creator."""
    found = view.found
    special = np.array([k.vr not in ALL_VRS for k in kinds], bool)
    at = np.flatnonzero(special[kind]) if special.any() else np.zeros(0, np.int64)
    if not at.size:
        return
    represented, wrong = _pixel_representation(view)
    given_up[found.node_file[wrong]] = True
    for number in np.unique(kind[at]).tolist():
        entry = kinds[number]
        mine = at[kind[at] == number]
        empty = found.length[mine] == 0
        if entry.vr == INNER_SEQUENCE:
            kinds[number] = entry._replace(vr="SQ")
            filled = mine[~empty]
            given_up[found.file[filled]] = True
        elif entry.vr == US_SS:
            # pydicom chooses another VR if the length does not match.
            given_up[found.file[mine[empty | (found.length[mine] % 2 == 1)]]] = True
            kinds[number] = entry._replace(vr="US")
            signed = mine[represented[found.node[mine]] == 1]
            if signed.size:
                kind[signed] = len(kinds)
                kinds.append(entry._replace(vr="SS"))
        elif entry.vr in SETTLED:
            given_up[found.file[mine[empty | (found.length[mine] % 2 == 1)]]] = True
            kinds[number] = entry._replace(vr=SETTLED[entry.vr])
        else:
            # LUT Data, which depends on LUT Descriptor, and invalid VRs.
            given_up[found.file[mine]] = True


def private_sequences(found: Found, heads: Heads) -> NDArray[np.int64]:
    """Return implicit-VR elements that are sequences according to their private creator.

    Only sequences of defined length are returned; others are recognized by their first item while
    scanning.
    """
    none = np.zeros(0, np.int64)
    if not found.implicit.any():
        return none
    at = np.flatnonzero(
        ((found.low & np.uint64(0xFFFFFFFF)) == ITEM_HEAD)
        & (found.length >= 8)
        & (found.value_at >= 0)
    )
    tags = tag_of(found.head[at])
    at = at[found.implicit[found.file[at]] & (tags >> 16 & 1 == 1) & (tags & 0xFFFF >= 0x1000)]
    if not at.size:
        return none
    concerned = np.zeros(len(found.node_file), bool)
    concerned[found.node[at]] = True
    near = np.flatnonzero(concerned[found.node])
    near = near[found.length[near] > 0]
    tags = tag_of(found.head[near])
    near = near[(tags >> 16 & 1 == 1) & (tags & 0xFFFF >= 0x10) & (tags & 0xFFFF < 0x100)]
    memory = heads.arena.data
    reserved = {
        (node, tag): bytes(memory[start : start + length])
        for node, tag, start, length in zip(
            found.node[near].tolist(), tag_of(found.head[near]).tolist(),
            found.value_at[near].tolist(), found.length[near].tolist(), strict=True,
        )
    }  # fmt: skip
    sequences = []
    for i, node, tag in zip(
        at.tolist(), found.node[at].tolist(), tag_of(found.head[at]).tolist(), strict=True
    ):
        creator = reserved.get((node, tag & 0xFFFF0000 | (tag >> 8 & 0xFF)), b"").rstrip(b"\0 ")
        if creator.isascii() and vr_of(tag, 0, creator.decode() or None) == INNER_SEQUENCE:
            sequences.append(i)
    return np.array(sequences, np.int64)


def _paths(found: Found) -> tuple[list[str], NDArray[Any]]:
    """Return the distinct paths, and the index of the path of each node."""
    paths = [""]
    node_path = np.zeros(len(found.node_file), np.int32)
    inside = found.node_sequence >= 0
    if not inside.any():
        return paths, node_path
    step = np.zeros(len(node_path), np.int64)
    tags = found.sequence_tag[found.node_sequence[inside]]
    step[inside], steps = encode(tags << 32 | found.node_item[inside])
    texts = [path_step(f"{key >> 32 & 0xFFFFFFFF:08X}", key & 0xFFFFFFFF) for key in steps.tolist()]
    for level in range(1, int(found.node_level.max()) + 1):
        nodes = np.flatnonzero((found.node_level == level) & inside)
        number, keys = encode(
            node_path[found.node_parent[nodes]] * np.int64(len(steps)) + step[nodes]
        )
        node_path[nodes] = len(paths) + number
        outer, last = (part.tolist() for part in np.divmod(keys, len(steps)))
        paths += [join_path(paths[o], texts[i]) for o, i in zip(outer, last, strict=True)]
    return paths, node_path


def _inherit(found: Found, own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Replace -1 in items by the value of the enclosing data set."""
    value = own.copy()
    deepest = int(found.node_level.max()) if len(value) else 0
    for level in range(1, deepest + 1):
        nodes = np.flatnonzero((found.node_level == level) & (value < 0))
        value[nodes] = value[found.node_parent[nodes]]
    return value


def _charsets(view: _View) -> tuple[list[tuple[str, ...]], NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct character sets, the one of each node, and nodes with an unknown one."""
    found = view.found
    charsets: list[tuple[str, ...]] = [(DEFAULT,)]
    own = np.full(len(found.node_file), -1, np.int64)
    stated = view.tag == 0x00080005
    strange = view.where(stated & (view.vr != 0) & (view.vr != _CS))
    at = view.where(stated)
    outside = at[found.value_at[at] < 0]
    wrong = [found.node[strange], found.node[outside]]
    for raw in np.unique(view.raw[at]).tolist():
        nodes = found.node[at[view.raw[at] == raw]]
        known = _charset_of(view.raws[raw].as_py())
        if known is None:
            wrong.append(nodes)
            continue
        if known not in charsets:
            charsets.append(known)
        own[nodes] = charsets.index(known)
    # A sequence before Specific Character Set may be decoded with the outer character set.
    early = found.node[view.where((view.tag < 0x00080005) & (view.vr == _SQ))]
    wrong.append(early[own[early] >= 0])
    own[(found.node_level == 0) & (own < 0)] = 0
    return charsets, _inherit(found, own), np.concatenate(wrong)


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
    view: _View, private: NDArray[np.bool_], charsets: list[tuple[str, ...]],
    node_charset: NDArray[np.int64],
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:  # fmt: skip
    """Return private creators, elements in private blocks, their creators, unsupported files."""
    found, raws = view.found, view.raws
    low = view.tag & 0xFFFF
    owned = view.where(private & (low >= 0x1000))
    reserves = private & (low >= 0x10) & (low < 0x100)
    at = view.where(reserves)
    at = at[found.length[at] != 0]
    strange = (found.length[at] < 0) | (found.value_at[at] < 0)
    strange |= ~np.isin(view.vr[view.bare[at]], (0, _UN, _LO))
    wrong = [found.file[at[strange]]]
    at = at[~strange]
    if not at.size:
        return [], owned, np.full(len(owned), -1, np.int64), wrong[0]
    number, keys = encode(view.raw[at] * np.int64(len(charsets)) + node_charset[found.node[at]])
    of_key = np.full(len(keys), -1, np.int64)
    seen: dict[str, int] = {}
    for k, key in enumerate(keys.tolist()):
        raw, charset = divmod(key, len(charsets))
        text = decode_text(raws[raw].as_py(), charsets[charset])
        name = text.split("\\")[0].strip("\0 ")
        if "\\" in text or text.startswith(" ") or not text.isascii():
            wrong.append(found.file[at[number == k]])
        if name:
            of_key[k] = seen.setdefault(name, len(seen))
    group = view.tag >> 16 << 8
    block_of_creator = (group | low)[view.bare[at]] | found.node[at].astype(np.int64) << 24
    block_of_owned = (group | low >> 8)[view.bare[owned]] | found.node[owned].astype(np.int64) << 24
    place = pc.index_in(pa.array(block_of_owned), value_set=pa.array(block_of_creator))
    place = place.fill_null(-1).to_numpy()
    creator = np.where(place >= 0, of_key[number][place], -1)
    return list(seen), owned, creator, np.concatenate(wrong)


def _pixel_representation(view: _View) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return Pixel Representation of each node (-1: unknown), and nodes with an invalid one.

    Only implicit VR needs it. Items inherit it.
    """
    found = view.found
    own = np.full(len(found.node_file), -1, np.int64)
    at = view.where(view.tag == 0x00280103)
    at = at[found.implicit[found.file[at]]]
    wrong = [np.zeros(0, np.int64)]
    for raw in np.unique(view.raw[at]).tolist():
        nodes = found.node[at[view.raw[at] == raw]]
        value = view.raws[raw].as_py()
        if value in {b"\0\0", b"\1\0"}:
            own[nodes] = value[0]
        else:
            wrong.append(nodes)
    return _inherit(found, own), np.concatenate(wrong)
