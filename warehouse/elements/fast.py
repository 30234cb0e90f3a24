"""Some thousand files → their elements with decoded values. The fast reader's stations 1 and 2.

In: source files. Out: ``BatchRead``: the elements of all files it could take, and which files it
left to the reference reader (``warehouse.dicom.reference``) or to the next batch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.dicom.heads import read_into
from warehouse.dicom.lockstep import LATER, REFERENCE, TAKEN, scan, tag_of
from warehouse.elements.columns import Batch
from warehouse.elements.distinct import Decoded, decode_distinct, depends_on_charset, from_values, needs_charset
from warehouse.elements.raws import distinct_raws
from warehouse.elements.resolve import Resolved, Slot, encode, resolve
from warehouse.elements.schema import INLINE_BYTES
from warehouse.elements.values import BINARY, LUT_DESCRIPTORS, Value, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from warehouse.dicom.element import PixelPlace
    from warehouse.dicom.heads import Heads
    from warehouse.dicom.lockstep import Found
    from warehouse.dicom.scan import SourceFile

MAX_EXTERNAL_BYTES = 128 << 20
"""Long values read one by one in a batch; files with more of them wait for the next one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What is known of one file beside its elements."""

    transfer_syntax: str | None
    pixels: PixelPlace | None
    note: str | None


@dataclass(frozen=True, slots=True)
class BatchRead:
    """What became of the files of a batch, by their number in it."""

    batch: Batch
    taken: dict[int, Taken]
    reference: list[int]
    later: list[int]


def read_batch(sources: Sequence[SourceFile], heads: Heads) -> BatchRead:
    """Read the headers of some files together."""
    count = heads.load(sources)
    found = scan(heads, count)
    status = np.full(len(sources), LATER, np.uint8)
    status[:count] = found.status
    _postpone(found, status)
    batch = Batch()
    _restrict(found, status)
    tag = tag_of(found.head).astype(np.int64)
    raws, raw_id = _raws(heads, found)
    resolved = resolve(found, tag, raw_id, raws)
    if resolved.given_up.any():
        status[:count][resolved.given_up & (status[:count] == TAKEN)] = REFERENCE
    keep = np.flatnonzero(status[found.file] == TAKEN)
    vanished = _decode(batch, heads, found, tag, raw_id, raws, resolved, keep)
    status[vanished] = REFERENCE
    taken: dict[int, Taken] = {}
    for number in np.flatnonzero(status == TAKEN).tolist():
        pixels = found.pixels.get(number)
        taken[number] = Taken(
            found.syntax[number],
            pixels.place if pixels else None,
            pixels.note if pixels else None,
        )
    _add_pixels(batch, found, taken)
    return BatchRead(
        batch, taken, np.flatnonzero(status == REFERENCE).tolist(),
        np.flatnonzero(status == LATER).tolist(),
    )  # fmt: skip


def _restrict(found: Found, status: NDArray[np.uint8]) -> None:
    ours = np.flatnonzero(status[found.file] == TAKEN)
    if len(ours) < len(found.file):
        found.file, found.head, found.value_at = found.file[ours], found.head[ours], found.value_at[ours]
        found.length, found.node = found.length[ours], found.node[ours]


def _postpone(found: Found, status: NDArray[np.uint8]) -> None:
    """Leave files to the next batch once the long values of this one fill the memory."""
    outside = found.value_at < 0
    if not outside.any():
        return
    per_file = np.bincount(found.file[outside], found.length[outside], len(found.status))
    total = np.cumsum(per_file)
    full = total > max(MAX_EXTERNAL_BYTES, per_file[int(np.flatnonzero(per_file)[0])])
    status[: len(full)][full & (found.status == TAKEN)] = LATER


def _raws(heads: Heads, found: Found) -> tuple[pa.Array, NDArray[np.int64]]:
    inside = np.flatnonzero((found.length > 0) & (found.value_at >= 0))
    raws = distinct_raws(heads, found.value_at[inside], found.length[inside])
    raw_id = np.full(len(found.file), -1, np.int64)
    raw_id[inside] = raws.of_value
    return raws.bytes, raw_id


def _decode(
    batch: Batch, heads: Heads, found: Found, tag: NDArray[np.int64], raw_id: NDArray[np.int64],
    raws: pa.Array, resolved: Resolved, keep: NDArray[np.int64],
) -> list[int]:  # fmt: skip
    """Decode each distinct pair of bytes and meaning once; return files that cannot be read on."""
    slots = batch.add_slots(resolved.slots)
    slot = resolved.slot[keep]
    kinds: dict[tuple[str, str], int] = {}
    kind_of_slot = np.array(
        [
            kinds.setdefault((s.vr, s.tag if s.tag in LUT_DESCRIPTORS else ""), len(kinds))
            for s in resolved.slots
        ],
        np.int64,
    )
    worded = np.array([depends_on_charset(s.vr) for s in resolved.slots], bool)
    raw = raw_id[keep]
    length = found.length[keep]
    first = np.zeros(len(keep), np.int64)
    count = np.zeros(len(keep), np.int64)
    ours = np.flatnonzero(raw >= 0)
    charset = np.zeros(len(ours), np.int64)
    if len(resolved.charsets) > 1:
        odd = needs_charset(raws)
        sensitive = odd[raw[ours]] & worded[slot[ours]]
        charset[sensitive] = resolved.charset[keep[ours[sensitive]]]
    kinds_list = list(kinds)
    meaning = kind_of_slot[slot[ours]] * len(resolved.charsets) + charset
    pair_of, pairs = encode(meaning << 40 | raw[ours])
    pair_first = np.zeros(len(pairs), np.int64)
    pair_count = np.zeros(len(pairs), np.int64)
    pair_meaning = pairs >> 40
    pair_raw = pairs & (1 << 40) - 1
    order = np.argsort(pair_meaning, kind="stable")
    meanings, starts = np.unique(pair_meaning[order], return_index=True)
    for m, begin, stop in zip(
        meanings.tolist(), starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True
    ):
        mine = order[begin:stop]
        kind, which = divmod(m, len(resolved.charsets))
        vr, lut = kinds_list[kind]
        fields = raws.take(pa.array(pair_raw[mine]))
        parts, _ = decode_distinct(vr, fields, resolved.charsets[which], lut)
        for places, decoded in parts:
            rows = batch.values.add(decoded)
            pair_first[mine[places]] = rows
            pair_count[mine[places]] = decoded.count
            if "sha256" in decoded.columns:
                _keep_long(batch, fields, places, rows, decoded)
    first[ours], count[ours] = pair_first[pair_of], pair_count[pair_of]
    sequences = np.flatnonzero(length <= -2)
    if sequences.size:
        items = np.bincount(
            found.node_sequence[found.node_sequence >= 0], minlength=len(found.sequence_tag)
        )[-2 - length[sequences]]
        distinct, of = np.unique(items, return_inverse=True)
        rows = batch.values.add(
            from_values([1] * len(distinct), [Value(integer=int(n)) for n in distinct])
        )
        first[sequences], count[sequences] = rows[of], items > 0
    outside = np.flatnonzero(found.value_at[keep] < 0)
    vanished = _decode_outside(batch, heads, found, keep, outside, resolved, first, count)
    file = found.file[keep]
    there = np.flatnonzero(~np.isin(file, vanished)) if vanished else slice(None)
    batch.add(file[there], slots[slot][there], first[there], count[there])
    return vanished


def _keep_long(
    batch: Batch, fields: pa.Array, places: NDArray[np.int64], rows: NDArray[np.int64],
    decoded: Decoded,
) -> None:  # fmt: skip
    """Remember the bytes of values too long for their row."""
    count = decoded.count
    lengths = pc.binary_length(fields).to_numpy()[places]
    long = np.flatnonzero((lengths > INLINE_BYTES) & (count > 0))
    if not long.size:
        return
    begin = np.cumsum(count) - count
    digests = decoded.columns["sha256"].take(pa.array(begin[long]))
    for i, digest in zip(long.tolist(), digests.to_pylist(), strict=True):
        batch.values.keep(int(rows[i]), fields[int(places[i])].as_py(), digest)


def _decode_outside(
    batch: Batch, heads: Heads, found: Found, keep: NDArray[np.int64], outside: NDArray[np.int64],
    resolved: Resolved, first: NDArray[np.int64], count: NDArray[np.int64],
) -> list[int]:  # fmt: skip
    """Read and decode long values that are not in the arena, each different one once."""
    vanished: list[int] = []
    seen: dict[tuple[Slot, int, int], list[tuple[bytes, int, int]]] = {}
    for i in outside.tolist():
        record = int(keep[i])
        slot = resolved.slots[int(resolved.slot[record])]
        length = int(found.length[record])
        buffer = bytearray(length)
        number = int(found.file[record])
        if not read_into(heads.sources[number], memoryview(buffer), -1 - int(found.value_at[record])):
            vanished.append(number)
            continue
        known = seen.setdefault((slot, length, int(resolved.charset[record])), [])
        match = next((entry for entry in known if entry[0] == buffer), None)
        if match is None:
            raw = bytes(buffer)
            values = decode(
                slot.vr, raw, charsets=resolved.charsets[int(resolved.charset[record])], tag=slot.tag
            )
            match = (raw, batch.values.add_values(values, raw), len(values))
            known.append(match)
        first[i], count[i] = match[1], match[2]
    return vanished


def _add_pixels(batch: Batch, found: Found, taken: dict[int, Taken]) -> None:
    files = [number for number in found.pixels if number in taken]
    if not files:
        return
    pixels = [found.pixels[number] for number in files]
    slots = batch.add_slots(Slot("", f"{p.tag:08X}", p.vr, None) for p in pixels)
    lengths = np.array([p.place.length for p in pixels], np.int64)
    distinct, of = np.unique(lengths, return_inverse=True)
    rows = batch.values.add(from_values([1] * len(distinct), [Value(length=int(n)) for n in distinct]))
    batch.add(np.array(files, np.int64), slots, rows[of], (lengths > 0).astype(np.int64))
