"""Pivot rows of ``elements`` in memory into the columns of ``instance_attributes``.

In: sorted rows of one portion. Out: one row per instance. The mapping of elements to columns is in
sql/rules/instance_attributes.csv, from which sql/2_entities/instance_attributes.sql is generated.
This module only finds the rows faster: they are sorted by tag, so the values of a column are
adjacent. A test checks that the result equals that of the SQL (decision 0005).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.elements.values import LEADING_SPACES
from warehouse.store.instance_sql import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from warehouse.store.instance_sql import Attribute

_TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "real": pa.float64(),
    "date": pa.date32(),
    "time": pa.int64(),
}
_STORED_AS = {"time": "time_us"}

_AROUND_COMPONENTS = ((r'":" +', '":"'), (r' +("[,}])', r"\1"))
_LEADING_SPACES = pa.array(sorted(LEADING_SPACES))


def gather(rows: pa.Table) -> pa.Table:
    """Return one row per instance with its core attributes, like the view ``instance_attributes``.

    Parameters
    ----------
    rows
        ``warehouse.elements.schema.ELEMENTS``, sorted by tag, path, index and instance.

    Returns
    -------
    pa.Table
        Columns of ``instance_attributes``; times of day in microseconds since midnight.
    """
    rows = rows.unify_dictionaries().combine_chunks()
    ids = rows["instance_id"].to_numpy()
    instances = _instances(ids)
    places = _places(ids, instances)
    top = _codes(rows, "path") == _code(rows, "path", "")
    top &= rows["vm"].to_numpy() > 0
    index = rows["index"].to_numpy()
    runs = _runs(rows)
    columns: dict[str, pa.Array] = {"instance_id": pa.array(instances)}
    has_any = np.zeros(len(instances), bool)
    found: dict[str, NDArray[np.int64]] = {}
    for attribute in attributes():
        if not attribute.creator:
            start, end = runs.get(attribute.tag, (0, 0))
            has_all = attribute.is_list or attribute.is_identifier
            keep = top[start:end] if has_all else top[start:end] & (index[start:end] == 0)
            found[attribute.name] = start + np.flatnonzero(keep)
    texts = _texts(rows, [found[a.name] for a in attributes() if _is_text(a)])
    for attribute in attributes():
        if attribute.creator:
            first = top & (index == 0)
            columns[attribute.name] = _private(attribute, rows, runs, first, places, len(instances))
            continue
        of = found[attribute.name]
        values = next(texts) if _is_text(attribute) else None
        if not len(of):
            kind = _TYPES[attribute.source]
            kind = pa.list_(kind) if attribute.is_list else kind
            columns[attribute.name] = pa.nulls(len(instances), kind)
            continue
        has_any[places[of]] = True
        if values is None:
            source = rows[_STORED_AS.get(attribute.source, attribute.source)].chunk(0)
            values = source.take(pa.array(of))
        make = _lists if attribute.is_list else _singles
        make = _identifiers if attribute.is_identifier else make
        columns[attribute.name] = make(values, of, places, index, len(instances))
    return pa.table(columns).filter(pa.array(has_any))


def _is_text(attribute: Attribute) -> bool:
    return attribute.source == "text" and not attribute.creator


def _texts(rows: pa.Table, found: list[NDArray[np.int64]]) -> Iterator[pa.Array]:
    """Yield the normalized texts of each attribute, collected in one pass."""
    chosen = pa.array(np.concatenate(found))
    if not len(chosen):
        yield from (pa.nulls(0, pa.string()) for _ in found)
        return
    texts, vrs = (rows[name].chunk(0).take(chosen) for name in ("text", "vr"))
    is_name = pc.fill_null(pc.equal(vrs, "PN"), False).to_numpy(zero_copy_only=False)
    is_spaced = pc.any(pc.starts_with(texts, " ")).as_py()
    begin = 0
    for one in found:
        end = begin + len(one)
        values = texts.slice(begin, len(one))
        # Most names are already in normal form, and most values are not names.
        if is_spaced or is_name[begin:end].any():
            values = _normal(values, vrs.slice(begin, len(one)))
        yield values
        begin = end


def _places(ids: NDArray[np.int64], instances: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of each row's instance by a lookup table, as ids of a portion are dense."""
    if not len(instances):
        return np.zeros(0, np.int64)
    table = np.zeros(int(instances[-1] - instances[0]) + 1, np.int64)
    table[instances - instances[0]] = np.arange(len(instances))
    places: NDArray[np.int64] = table[ids - instances[0]]
    return places


def _instances(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct ids in ascending order."""
    if not len(ids):
        return ids
    first = int(ids.min())
    present = np.zeros(int(ids.max()) - first + 1, bool)
    present[ids - first] = True
    return np.flatnonzero(present) + first


def _codes(rows: pa.Table, name: str) -> NDArray[np.int32]:
    column = rows[name]
    if not column.num_chunks:
        return np.zeros(0, np.int32)
    codes: NDArray[np.int32] = column.chunk(0).indices.to_numpy(zero_copy_only=False)
    return codes


def _code(rows: pa.Table, name: str, value: str) -> int:
    column = rows[name]
    return int(column.chunk(0).dictionary.index(value).as_py()) if column.num_chunks else -1


def _runs(rows: pa.Table) -> dict[str, tuple[int, int]]:
    """Return start and stop of the rows of each tag."""
    codes = _codes(rows, "tag")
    if not len(codes):
        return {}
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
    ends = np.append(starts[1:], len(codes))
    tags = rows["tag"].chunk(0).dictionary.take(pa.array(codes[starts])).to_pylist()
    if len(set(tags)) != len(tags):
        raise ValueError("rows are not sorted by tag")
    return {tag: (int(start), int(end)) for tag, start, end in zip(tags, starts, ends, strict=True)}


def _normal(values: pa.Array, vrs: pa.DictionaryArray) -> pa.Array:
    """Return texts as ``normal_text`` of sql/0_macros does."""
    is_name = pc.equal(vrs, "PN")
    if pc.any(is_name).as_py():
        for pattern, written in _AROUND_COMPONENTS:
            trimmed = pc.replace_substring_regex(values, pattern, written)
            values = pc.if_else(is_name, trimmed, values)
    begins = pc.starts_with(values, " ")
    if not pc.any(begins).as_py():
        return values
    means_nothing = pc.invert(pc.is_in(vrs.cast(pa.string()), _LEADING_SPACES))
    return pc.if_else(means_nothing, pc.utf8_ltrim(values, " "), values)


def _singles(
    values: pa.Array, found: NDArray[np.int64], places: NDArray[np.int64],
    _index: NDArray[np.int32], count: int,
) -> pa.Array:  # fmt: skip
    take = np.zeros(count, np.int64)
    missing = np.ones(count, bool)
    take[places[found]] = np.arange(len(found))
    missing[places[found]] = False
    return values.take(pa.array(take, mask=missing))


def _lists(
    values: pa.Array, found: NDArray[np.int64], places: NDArray[np.int64],
    index: NDArray[np.int32], count: int,
) -> pa.Array:  # fmt: skip
    order = np.lexsort((index[found], places[found]))
    found = found[order]
    sizes = np.bincount(places[found], minlength=count)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    values = values.take(pa.array(order))
    # A null offset marks a null list: the element is absent, not empty.
    mask = np.append(sizes == 0, False)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), values)


def _identifiers(
    values: pa.Array, found: NDArray[np.int64], places: NDArray[np.int64],
    index: NDArray[np.int32], count: int,
) -> pa.Array:  # fmt: skip
    """Return all values of each instance as one text, as ``whole_identifier`` of sql/0_macros."""
    if index[found].any():
        wholes = pc.binary_join(_lists(values, found, places, index, count), "\\")
    else:
        wholes = _singles(values, found, places, index, count)
    says_nothing = pc.equal(pc.utf8_trim(wholes, "\\"), "")
    return pc.if_else(says_nothing, pa.scalar(None, pa.string()), wholes)


def _private(
    attribute: Attribute, rows: pa.Table, runs: dict[str, tuple[int, int]],
    first: NDArray[np.bool_], places: NDArray[np.int64], count: int,
) -> pa.Array:  # fmt: skip
    """Return a private value by creator; if several blocks have one, the largest, like max()."""
    values: dict[int, str] = {}
    creator = _code(rows, "creator", attribute.creator)
    for tag, (start, end) in runs.items():
        if creator < 0 or (tag[:4], tag[6:]) != (attribute.tag[:4], attribute.tag[6:]):
            continue
        creators = rows["creator"].chunk(0).indices.slice(start, end - start).fill_null(-1)
        found = start + np.flatnonzero((creators.to_numpy() == creator) & first[start:end])
        chosen = pa.array(found)
        texts = _normal(
            rows["text"].chunk(0).take(chosen), rows["vr"].chunk(0).take(chosen)
        ).to_pylist()
        for place, text in zip(places[found].tolist(), texts, strict=True):
            if text is not None:
                values[place] = max(values.get(place, text), text)
    if not values:
        return pa.nulls(count, pa.string())
    return pa.array([values.get(place) for place in range(count)], pa.string())
