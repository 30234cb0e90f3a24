"""Sorted files in one order: what a sort of all their rows gives, however few are read at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warehouse.store.merge import merge
from warehouse.store.rows import ROW_GROUP_ROWS, write_pieces

SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("tag", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("text", pa.string()),
    ]
)
ORDER = ("tag", "path", "number")

ROWS = st.lists(
    st.tuples(
        st.integers(-3, 2**60),
        st.sampled_from(["0008", "0010", "a", "é", "\U0001f600", ""]),
        st.sampled_from(["", "A[0]", "A[10]", "A[2]", "\uffff", "\U00010000"]),
        st.none() | st.text(max_size=3),
    ),
    max_size=30,
)


def key(row: tuple) -> tuple:
    number, tag, path, _ = row
    return tag.encode(), path.encode(), number


def written(path: Path, rows: list[tuple], group: int) -> Path:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(cells, kind) for cells, kind in zip(columns, SCHEMA.types, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    pq.write_table(table, path, row_group_size=group, store_schema=False)
    return path


@example([[(0, "0008", "", None), (0, "0008", "", None)], [(0, "0008", "", "")]], 1, 1)
@given(st.lists(ROWS, max_size=5), st.integers(1, 40), st.integers(1, 9))
def test_it_is_a_sort_of_all_rows(files: list[list[tuple]], at_once: int, group: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            written(Path(folder) / str(number), sorted(rows, key=key), group)
            for number, rows in enumerate(files)
        ]
        pieces = list(merge(paths, SCHEMA, ORDER, at_once))
    found = [row for piece in pieces for row in zip(*piece.to_pydict().values(), strict=True)]
    assert found == sorted((row for rows in files for row in rows), key=key)


@example([[(5, "a", "", None)], [], [(5, "b", "", None), (9, "", "", None)]], 3, 1)
@given(st.lists(ROWS, max_size=5), st.integers(1, 40), st.integers(1, 9))
def test_by_one_number_rows_that_are_equal_keep_the_order_of_the_files(
    files: list[list[tuple]], at_once: int, group: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            written(Path(folder) / str(place), sorted(rows, key=lambda row: row[0]), group)
            for place, rows in enumerate(files)
        ]
        pieces = list(merge(paths, SCHEMA, ("number",), at_once))
    found = [row for piece in pieces for row in zip(*piece.to_pydict().values(), strict=True)]
    # Sorts of Python are stable: of equal rows that of the first file comes first.
    assert found == sorted((row for rows in files for row in rows), key=lambda row: row[0])


def test_files_that_follow_one_another_are_read_one_by_one(tmp_path: Path) -> None:
    """In whatever order they are named; those that overlap are still merged."""
    starts = (300, 0, 100, 350, 200)
    paths = [
        written(tmp_path / str(at), [(at + n, "t", "", None) for n in range(100)], 1000)
        for at in starts
    ]
    pieces = list(merge(paths, SCHEMA, ("number",), 1000))
    sizes = [piece.num_rows for piece in pieces]
    assert sizes[:3] == [100, 100, 100]
    assert sum(sizes) == 500
    numbers = [number for piece in pieces for number in piece["number"].to_pylist()]
    assert numbers == sorted(number for at in starts for number in range(at, at + 100))


@given(st.lists(ROWS, max_size=4), st.integers(1, 20))
def test_without_an_order_nothing_is_lost(files: list[list[tuple]], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [written(Path(folder) / str(n), rows, 7) for n, rows in enumerate(files)]
        pieces = list(merge(paths, SCHEMA, (), at_once))
    found = [row for piece in pieces for row in zip(*piece.to_pydict().values(), strict=True)]
    assert sorted(found, key=repr) == sorted((row for rows in files for row in rows), key=repr)


def test_pieces_are_as_small_as_they_were_asked_to_be(tmp_path: Path) -> None:
    """Two files that alternate and one that comes first as a whole."""
    rows = [(number, "b", "", None) for number in range(9000)]
    first = [(number, "a", "", None) for number in range(9000)]
    paths = [
        written(tmp_path / "even", rows[::2], 1000),
        written(tmp_path / "odd", rows[1::2], 1000),
        written(tmp_path / "first", first, 1000),
    ]
    pieces = list(merge(paths, SCHEMA, ORDER, 600))
    assert sum(piece.num_rows for piece in pieces) == 18000
    assert max(piece.num_rows for piece in pieces) <= 2 * 600


@pytest.mark.parametrize("sizes", [[], [0], [3, 5], [ROW_GROUP_ROWS], [70_000, 70_000, 200_000, 1]])
def test_only_the_last_row_group_is_short(tmp_path: Path, sizes: list[int]) -> None:
    numbers = iter(range(sum(sizes)))
    schema = pa.schema([pa.field("instance_id", pa.int64()), SCHEMA.field("tag")])
    pieces = [
        pa.table(
            {
                "instance_id": [next(numbers) for _ in range(size)],
                "tag": pa.array(
                    ["t", "u"] * (size // 2) + ["v"] * (size % 2), SCHEMA.field("tag").type
                ),
            },
            schema=schema,
        )
        for size in sizes
    ]
    write_pieces(pieces, schema, str(tmp_path / "rows"))
    metadata = pq.read_metadata(tmp_path / "rows")
    found = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    full, rest = divmod(sum(sizes), ROW_GROUP_ROWS)
    assert found == [ROW_GROUP_ROWS] * full + [rest] * bool(rest)
    read = pq.read_table(tmp_path / "rows")
    assert read["instance_id"].to_pylist() == list(range(sum(sizes)))
    assert read["tag"].to_pylist() == [tag for piece in pieces for tag in piece["tag"].to_pylist()]
