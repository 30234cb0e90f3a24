"""Parse the vendor payloads of a portion into rows of ``vendor_payloads`` and ``vendor_values``.

In: a ``Portion``. Out: two tables. Payloads repeat: a series header is the same in all instances of
a series. Therefore the values of a payload are stored once per portion, under a number, and
``vendor_payloads`` maps instances to these numbers; the view ``vendor_elements`` joins both tables.
An unreadable payload becomes one value with a warning. The content of a payload never causes an
exception.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.elements.ascconv import read_ascconv
from warehouse.elements.csa import CsaReader, protocol_text
from warehouse.elements.ge_protocol import read_ge_protocol
from warehouse.elements.payload import PayloadValue, damaged
from warehouse.elements.schema import VENDOR_PAYLOADS, VENDOR_VALUES

if TYPE_CHECKING:
    from warehouse.elements.extract import Portion

ID_BITS = 16
"""The number of a payload is the id of the first instance with it, followed by this many bits."""

MAX_PAYLOAD_BYTES = 8 << 20
"""Longer payloads are not read; real ones have up to half a megabyte."""

MAX_INSTANCE_VALUES = 100_000
"""Values in all payloads of one instance; real ones have some thousands."""

_MAX_REMEMBERED = 300_000
"""Number of payload values cached for later portions of this process, some 100 MB."""

_TOO_MANY = f"payloads of more than {MAX_INSTANCE_VALUES} values: the rest is not read"

_CSA_IMAGE, _CSA_SERIES, _PROTOCOL, _GE = range(4)

_SOURCES = {
    ("SIEMENS CSA HEADER", "0029", "10"): _CSA_IMAGE,
    ("SIEMENS CSA HEADER", "0029", "20"): _CSA_SERIES,
    # Newer Siemens software (XA) stores the protocol here, without a CSA header around it.
    ("SIEMENS MR SDS 01", "0021", "19"): _PROTOCOL,
    ("GEMS_SERS_01", "0025", "1B"): _GE,
}
"""Creator, group and last two digits of an element (in any block) → type of its payload."""

_WITHOUT_CREATOR = {"00291010": _CSA_IMAGE, "00291020": _CSA_SERIES}
"""Usual tags of CSA elements. If an anonymizer removed the creator, they are still recognized if
their bytes begin like a CSA header of type 2; their rows have an empty creator."""
_CSA_2 = b"SV10\x04\x03\x02\x01"


class _Payload(NamedTuple):
    """An element with a payload."""

    kind: int
    instance_id: int
    tag: str
    path: str
    creator: str | None
    bytes: bytes | None
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Read:
    """Values of one payload, with the digest of its bytes."""

    digest: str
    values: tuple[PayloadValue, ...]


class _Memory(threading.local):
    """LRU cache of parsed payloads, by digest and kind of source.

    Each thread has its own cache, because a Dask worker may run chunks in several threads.
    """

    def __init__(self) -> None:
        self._read: OrderedDict[tuple[int, str], list[_Read]] = OrderedDict()
        self._values = 0
        self.csa = CsaReader()

    def get(self, kind: int, digest: str) -> list[_Read] | None:
        found = self._read.get((kind, digest))
        if found is not None:
            self._read.move_to_end((kind, digest))
        return found

    def put(self, kind: int, digest: str, read: list[_Read]) -> None:
        self._read[kind, digest] = read
        self._values += _count(read)
        while self._values > _MAX_REMEMBERED:
            self._values -= _count(self._read.popitem(last=False)[1])


_memory = _Memory()


def vendor_rows(portion: Portion) -> tuple[pa.Table, pa.Table]:
    """Return the rows of ``vendor_payloads`` and of ``vendor_values``."""
    held = _payloads(portion.rows)
    if not held:
        return VENDOR_PAYLOADS.empty_table(), VENDOR_VALUES.empty_table()
    blobs = portion.blobs["bytes"]
    place = {digest: n for n, digest in enumerate(portion.blobs["sha256"].to_pylist())}
    numbers: dict[tuple[str, int], int] = {}
    counted: dict[int, int] = {}
    values: dict[int, tuple[PayloadValue, ...]] = {}
    links: list[tuple[int, str, str, str, int]] = []
    read_here: dict[tuple[int, str], list[_Read]] = {}

    @functools.cache
    def begins_as_csa(digest: str, inline: bytes | None) -> bool:
        raw = blobs[place[digest]].as_py() if inline is None and digest in place else inline
        return (raw or b"").startswith(_CSA_2)

    rows_of: Counter[int] = Counter()
    for kind, instance, tag, path, creator, inline, length, digest in held:
        if creator is None and not begins_as_csa(digest, inline):
            continue
        read = read_here.get((kind, digest))
        if read is None:
            raw = inline
            if raw is None and digest in place and length <= MAX_PAYLOAD_BYTES:
                raw = blobs[place[digest]].as_py()
            read = read_here[kind, digest] = _read(kind, digest, raw, length)
        rows_of[instance] += _count(read)
        if rows_of[instance] > MAX_INSTANCE_VALUES:
            # A temporary name: another instance may hold and keep the same payload.
            read = [_Read("too many", (damaged(_TOO_MANY),))]
        for payload in read:
            key = payload.digest, kind
            number = numbers.get(key)
            if number is None:
                nth = counted.get(instance, 0)
                if nth >> ID_BITS:
                    continue
                counted[instance] = nth + 1
                number = numbers[key] = instance << ID_BITS | nth
                values[number] = payload.values
            links.append((instance, tag, path, creator or "", number))
    if not links:
        # Elements without a creator at usual tags of CSA, none of which holds a CSA header.
        return VENDOR_PAYLOADS.empty_table(), VENDOR_VALUES.empty_table()
    columns = zip(*links, strict=True)
    payloads = pa.table(
        [pa.array(c, t) for c, t in zip(columns, VENDOR_PAYLOADS.types, strict=True)],
        schema=VENDOR_PAYLOADS,
    )
    return payloads, _table(values)


def _payloads(rows: pa.Table) -> list[_Payload]:
    """Return the elements with a payload, by instance."""
    held: list[_Payload] = []
    for piece in rows.select(_Payload._fields[1:]).to_batches():
        creators, tags = piece["creator"].dictionary.to_pylist(), piece["tag"].dictionary
        kinds = np.full((len(creators) + 1, len(tags)), -1)
        for (creator, group, last), kind in _SOURCES.items():
            if creator in creators:
                mine = [tag[:4] == group and tag[6:] == last for tag in tags.to_pylist()]
                kinds[creators.index(creator), mine] = kind
        # Rows without a creator have code -1, which is the last place.
        for tag, kind in _WITHOUT_CREATOR.items():
            kinds[-1, [found == tag for found in tags.to_pylist()]] = kind
        if (kinds < 0).all():
            continue
        kind_of = kinds[piece["creator"].indices.fill_null(-1).to_numpy(), piece["tag"].indices]
        theirs = np.flatnonzero((kind_of >= 0) & piece["sha256"].is_valid().to_numpy(False))
        columns = (column.take(pa.array(theirs)).to_pylist() for column in piece.columns)
        held += map(_Payload._make, zip(kind_of[theirs].tolist(), *columns, strict=True))
    return sorted(held, key=attrgetter("instance_id"))


def _read(kind: int, digest: str, raw: bytes | None, length: int) -> list[_Read]:
    """Parse a payload, or return it from the cache."""
    if raw is None:
        why = f"{length} bytes: not read" if length > MAX_PAYLOAD_BYTES else "bytes not at hand"
        return [_Read(digest, (damaged(why),))]
    known = _memory.get(kind, digest)
    if known is None:
        known = _read_anew(kind, digest, raw)
        _memory.put(kind, digest, known)
    return known


def _read_anew(kind: int, digest: str, raw: bytes) -> list[_Read]:
    if kind == _GE:
        return [_Read(digest, tuple(read_ge_protocol(raw)))]
    if kind == _PROTOCOL:
        return [_Read(digest, tuple(read_ascconv(raw.decode("latin-1"))))]
    read = [_Read(digest, tuple(_memory.csa.read(raw)))]
    text = protocol_text(raw) if kind == _CSA_SERIES else None
    if text is not None:
        own = hashlib.sha256(text.encode("latin-1")).hexdigest()
        # Series headers differ elsewhere although the protocol is equal: store the protocol once.
        protocol = _memory.get(_PROTOCOL, own)
        if protocol is None:
            protocol = [_Read(own, tuple(read_ascconv(text)))]
            _memory.put(_PROTOCOL, own, protocol)
        read += protocol
    return read


def _count(read: list[_Read]) -> int:
    return sum(len(payload.values) for payload in read)


def _table(values: dict[int, tuple[PayloadValue, ...]]) -> pa.Table:
    """Return values as a sorted table; each distinct text is converted to Arrow once.

    Distinct are objects: payloads that share a value share its object, and to tell them apart is
    cheaper than to compare what they hold.
    """
    objects = [value for some in values.values() for value in some]
    if not objects:
        return VENDOR_VALUES.empty_table()
    _, first, of_row = np.unique(
        np.fromiter(map(id, objects), np.int64, len(objects)),
        return_index=True, return_inverse=True,
    )  # fmt: skip
    columns = [
        _column(cells, kind)
        for cells, kind in zip(
            zip(*map(objects.__getitem__, first.tolist()), strict=True),
            VENDOR_VALUES.types[1:],
            strict=True,
        )
    ]
    sizes = [len(some) for some in values.values()]
    payload = np.repeat(np.fromiter(values, np.int64, len(values)), sizes)
    names = columns[0]
    rank = np.empty(len(names.dictionary), np.int64)
    rank[pc.sort_indices(names.dictionary).to_numpy()] = np.arange(len(rank))
    name, index = rank[names.indices.to_numpy()], columns[1].to_numpy()
    order = np.lexsort((payload, index[of_row], name[of_row]))
    rows = pa.array(of_row[order])
    return pa.table(
        [pa.array(payload[order]), *(column.take(rows) for column in columns)],
        schema=VENDOR_VALUES,
    )


def _column(cells: tuple[object, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(cells, kind.value_type).dictionary_encode()
    return pa.array(cells, kind)
