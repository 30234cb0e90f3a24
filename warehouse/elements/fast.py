"""The fast reader: parse and decode the headers of thousands of files together.

In: source files. Out: ``BatchRead``: the elements of all supported files, and the files that are
left to the reference reader (``warehouse.dicom.reference``) or to the next batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.dicom.found import Records, restrict
from warehouse.dicom.grammar import LATER, REFERENCE, REFUSED, TAKEN
from warehouse.dicom.heads import Heads
from warehouse.dicom.known_shapes import KnownShapes
from warehouse.dicom.reference import LONG_BYTES
from warehouse.dicom.shapes import scan
from warehouse.dicom.walk import parse_defined_length
from warehouse.elements.columns import Batch
from warehouse.elements.distinct import (
    Decoded,
    decode_distinct,
    depends_on_charset,
    from_values,
    needs_charset,
)
from warehouse.elements.raws import Raws, distinct_raws
from warehouse.elements.resolve import Kind, Resolved, encode, private_sequences, resolve
from warehouse.elements.schema import INLINE_BYTES
from warehouse.elements.values import (
    LUT_DESCRIPTORS,
    MAX_VALUES,
    NUMBERS,
    SEPARATED,
    Value,
    decode,
    number_size,
)
from warehouse.errors import TooMuch
from warehouse.settings import DEFAULT_LIMITS, Limits
from warehouse.stages import Stage, during

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from warehouse.dicom.element import PixelPlace
    from warehouse.dicom.found import Found
    from warehouse.dicom.scan import SourceFile

MAX_EXTERNAL_BYTES = 64 << 20
"""Bytes of long values that are read one by one per batch; files with more wait for the next."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts of one file other than its elements."""

    transfer_syntax: str | None
    pixels: PixelPlace | None
    note: str | None


@dataclass(frozen=True, slots=True)
class BatchRead:
    """Results for the files of a batch, by their index."""

    batch: Batch
    taken: dict[int, FileFacts]
    later: list[int]
    """Files for which the buffers were full; files in no list are left to pydicom."""
    refused: dict[int, TooMuch]
    """Files beyond a limit."""


class Buffers:
    """Data reused between batches: memory, because zeroing new pages is slow, and shapes."""

    def __init__(self) -> None:
        self.heads = Heads()
        self.records = Records()
        self.shapes = KnownShapes()


def read_batch(
    sources: Sequence[SourceFile], buffers: Buffers, limits: Limits = DEFAULT_LIMITS
) -> BatchRead:
    """Read the headers of some files together."""
    heads = buffers.heads
    with during(Stage.READ):
        count = heads.load(sources)
    with during(Stage.SCAN):
        state, found = scan(heads, count, buffers.records, buffers.shapes)
        refused = _refuse(found, count, limits)
        _postpone(found)
        restrict(found)
        while (hidden := private_sequences(found, heads)).size:
            found.status[parse_defined_length(state, found, hidden)] = REFERENCE
    with during(Stage.DECODE):
        return _decoded(heads, found, count, len(sources), limits, refused)


def _decoded(
    heads: Heads, found: Found, count: int, given: int, limits: Limits,
    refused: dict[int, TooMuch],
) -> BatchRead:  # fmt: skip
    """Decode the elements that were found in ``count`` of the given files."""
    raws = distinct_raws(heads, found)
    resolved = resolve(found, raws.of_value, raws.bytes)
    status = found.status
    status[resolved.given_up & (status == TAKEN)] = REFERENCE
    refused |= _beyond(found, _too_many_rows(found, raws, resolved, limits), limits.rows, "values")
    batch = Batch()
    status[_decode(batch, heads, found, raws, resolved)] = REFERENCE
    taken: dict[int, FileFacts] = {}
    for number in np.flatnonzero(status == TAKEN).tolist():
        pixels = found.pixels.get(number)
        taken[number] = FileFacts(
            found.syntax[number],
            pixels.place if pixels else None,
            pixels.note if pixels else None,
        )
    _add_pixels(batch, found, taken)
    later = [*np.flatnonzero(status == LATER).tolist(), *range(count, given)]
    return BatchRead(batch, taken, later, refused)


def _refuse(found: Found, count: int, limits: Limits) -> dict[int, TooMuch]:
    """Reject files beyond a limit; leave those with too long values to the reference reader."""
    files = len(found.status)
    elements = np.bincount(found.file, minlength=files)
    items = np.bincount(found.node_file[found.node_sequence >= 0], minlength=files)
    length = found.length.astype(np.int64)
    if found.outside:
        outside = np.flatnonzero(found.value_at < 0)
        lengths = np.array([length for _, length in found.outside], np.int64)
        length[outside] = lengths[-1 - found.value_at[outside]]
    # pydicom reads long values at the top level last, and all others as it parses the header.
    last = np.flatnonzero((length > LONG_BYTES) & (found.node < count))
    values = np.bincount(found.file[last], length[last], files)
    header = np.bincount(found.file, np.maximum(length, 0), files) - values
    found.status[(values > limits.value_bytes) & (found.status == TAKEN)] = REFERENCE
    # Reject the file immediately: its elements already exceed the limit, and pydicom is slow.
    of = np.ones(files, bool)
    return {
        **_beyond(found, elements > limits.elements, limits.elements, "elements", of),
        **_beyond(found, items > limits.items, limits.items, "items", of),
        **_beyond(found, header > limits.header_bytes, limits.header_bytes, "bytes of header"),
    }


def _beyond(
    found: Found, files: NDArray[np.bool_], limit: int, what: str,
    of: NDArray[np.bool_] | None = None,
) -> dict[int, TooMuch]:  # fmt: skip
    """Reject files beyond a limit (of those read, or of ``of``); return the reason of each."""
    files &= found.status == TAKEN if of is None else of
    found.status[files] = REFUSED
    return {number: TooMuch(limit, what) for number in np.flatnonzero(files).tolist()}


def _too_many_rows(
    found: Found, raws: Raws, resolved: Resolved, limits: Limits
) -> NDArray[np.bool_]:  # fmt: skip
    """Return the files with more values than a limit.

    Text outside the arena is not counted here: files that may exceed the limit because of it are
    left to pydicom.
    """
    files = len(found.status)
    size = np.array([number_size(k.vr) if k.vr in NUMBERS else 0 for k in resolved.kinds], np.int64)
    parted = np.array([k.vr in SEPARATED for k in resolved.kinds], bool)
    size, parted = size[resolved.kind], parted[resolved.kind]
    length = np.maximum(found.length, 0)
    # Text has at most as many values as bytes, and one row if it is empty.
    most = np.where(size > 0, length // np.maximum(size, 1), np.where(parted, length, 0))
    most[most > MAX_VALUES] = np.where(parted, MAX_VALUES, 1)[most > MAX_VALUES]
    suspects = np.bincount(found.file, np.maximum(most, 1), files) > limits.rows
    if suspects.any():
        some = parted & suspects[found.file] & (length > 0)
        texts = np.flatnonzero(some & (found.value_at >= 0))
        counted = pc.add(pc.count_substring(raws.bytes.cast(pa.large_binary()), "\\"), 1)
        exact = counted.to_numpy()[raws.of_value[texts]]
        most[texts] = np.where(exact > MAX_VALUES, 1, exact)
        suspects = np.bincount(found.file, np.maximum(most, 1), files) > limits.rows
        unsure = np.bincount(found.file[some & (found.value_at < 0)], minlength=files) > 0
        found.status[suspects & unsure & (found.status == TAKEN)] = REFERENCE
        suspects &= ~unsure
    return suspects


def _postpone(found: Found) -> None:
    """Defer files to the next batch once the long values of this one fill the memory."""
    if not found.outside:
        return
    outside = np.flatnonzero(found.value_at < 0)
    lengths = np.array([length for _, length in found.outside], np.int64)
    per_file = np.bincount(
        found.file[outside], lengths[-1 - found.value_at[outside]], len(found.status)
    )
    allowed = max(MAX_EXTERNAL_BYTES, int(per_file[int(np.flatnonzero(per_file)[0])]))
    found.status[(np.cumsum(per_file) > allowed) & (found.status == TAKEN)] = LATER


def _decode(
    batch: Batch, heads: Heads, found: Found, raws: Raws, resolved: Resolved
) -> list[int]:  # fmt: skip
    """Decode each distinct pair of bytes and kind once; return files that cannot be decoded."""
    kinds = resolved.kinds
    meanings: dict[tuple[str, str], int] = {}
    meaning_of = np.array(
        [
            meanings.setdefault((k.vr, k.tag if k.tag in LUT_DESCRIPTORS else ""), len(meanings))
            for k in kinds
        ],
        np.int64,
    )
    keep: Any = slice(None)
    if not (found.status == TAKEN).all():
        keep = np.flatnonzero((found.status == TAKEN)[found.file])
    file, kind, raw = found.file[keep], resolved.kind[keep], raws.of_value[keep]
    length, place, node = found.length[keep], found.value_at[keep], found.node[keep]
    meaning = meaning_of[kind]
    variants = len(resolved.charsets)
    if variants > 1:
        worded = np.array([depends_on_charset(k.vr) for k in kinds], bool)
        sensitive = np.flatnonzero(needs_charset(raws.bytes)[raw] & worded[kind])
        meaning *= variants
        meaning[sensitive] += resolved.charset[node[sensitive]]
    pair_of, pairs = encode(meaning << 32 | raw)
    first, count = _decode_pairs(batch, pairs, list(meanings), raws.bytes, resolved.charsets)
    first, count = first[pair_of], count[pair_of]
    sequences = np.flatnonzero(length <= -2)
    if sequences.size:
        inside = found.node_sequence[found.node_sequence >= 0]
        items = np.bincount(inside, minlength=len(found.sequence_tag))[-2 - length[sequences]]
        distinct, of = np.unique(items, return_inverse=True)
        rows = batch.values.add(
            from_values([1] * len(distinct), [Value(integer=int(n)) for n in distinct])
        )
        first[sequences], count[sequences] = rows[of], items > 0
    vanished = _decode_outside(
        batch,
        heads,
        found,
        np.flatnonzero(place < 0),
        file,
        kind,
        place,
        node,
        resolved,
        first,
        count,
    )
    path = resolved.path[node]
    paths, kind_numbers = batch.add_paths(resolved.paths), batch.add_kinds(kinds)
    columns: tuple[NDArray[Any], ...] = (file, paths[path], kind_numbers[kind], first, count)
    if vanished:
        remaining = np.flatnonzero(~np.isin(file, vanished))
        columns = tuple(column[remaining] for column in columns)
    batch.add(*columns)
    return vanished


def _decode_pairs(
    batch: Batch, pairs: NDArray[np.int64], meanings: list[tuple[str, str]], raws: pa.Array,
    charsets: list[tuple[str, ...]],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:  # fmt: skip
    """Decode distinct values, one kind after the other."""
    first, count = np.zeros(len(pairs), np.int32), np.zeros(len(pairs), np.int32)
    meaning, raw = pairs >> 32, pairs & 0xFFFFFFFF
    filled = np.flatnonzero(pc.binary_length(raws).to_numpy()[raw] > 0)
    order = filled[np.argsort(meaning[filled], kind="stable")]
    distinct, starts = np.unique(meaning[order], return_index=True)
    stops = [*starts[1:].tolist(), len(order)][: len(distinct)]
    for m, start, stop in zip(distinct.tolist(), starts.tolist(), stops, strict=True):
        mine = order[start:stop]
        number, charset = divmod(m, len(charsets))
        vr, lut = meanings[number]
        fields = raws.take(pa.array(raw[mine]))
        for places, decoded in decode_distinct(vr, fields, charsets[charset], lut):
            rows = batch.values.add(decoded)
            first[mine[places]], count[mine[places]] = rows, decoded.count
            if "sha256" in decoded.columns:
                _keep_long(batch, fields, places, rows, decoded)
    return first, count


def _keep_long(
    batch: Batch, fields: pa.Array, places: NDArray[np.int64], rows: NDArray[np.int64],
    decoded: Decoded,
) -> None:  # fmt: skip
    """Store the bytes of values that are too long for the long table."""
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
    batch: Batch, heads: Heads, found: Found, outside: NDArray[np.int64], file: NDArray[np.int32],
    kind: NDArray[np.int32], place: NDArray[np.int32], node: NDArray[np.int32],
    resolved: Resolved, first: NDArray[np.int32], count: NDArray[np.int32],
) -> list[int]:  # fmt: skip
    """Read and decode long values that are not in the buffer, each distinct one once."""
    vanished: list[int] = []
    seen: dict[tuple[Kind, int, int], list[tuple[bytes, int, int]]] = {}
    for i in outside.tolist():
        what, charset, number = (
            resolved.kinds[kind[i]],
            int(resolved.charset[node[i]]),
            int(file[i]),
        )
        offset, length = found.outside[-1 - int(place[i])]
        buffer = bytearray(length)
        if not heads.read_into(number, memoryview(buffer), offset):
            vanished.append(number)
            continue
        heads.bytes_read += length
        known = seen.setdefault((what, length, charset), [])
        match = next((entry for entry in known if entry[0] == buffer), None)
        if match is None:
            raw = bytes(buffer)
            values = decode(what.vr, raw, charsets=resolved.charsets[charset], tag=what.tag)
            match = (raw, batch.values.add_values(values, raw), len(values))
            known.append(match)
        first[i], count[i] = match[1], match[2]
    return vanished


def _add_pixels(batch: Batch, found: Found, taken: dict[int, FileFacts]) -> None:
    """Add the elements of pixel data: their length, and never their bytes."""
    files = [number for number in found.pixels if number in taken]
    if not files:
        return
    pixels = [found.pixels[number] for number in files]
    kinds = batch.add_kinds([Kind(f"{p.tag:08X}", p.vr, None) for p in pixels])
    lengths = np.array([p.place.length for p in pixels], np.int64)
    distinct, of = np.unique(lengths, return_inverse=True)
    rows = batch.values.add(
        from_values([1] * len(distinct), [Value(length=int(n)) for n in distinct])
    )
    top = np.full(len(files), int(batch.add_paths([""])[0]))
    batch.add(np.array(files), top, kinds, rows[of], lengths > 0)
