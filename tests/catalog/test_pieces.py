"""Pieces of kept answers: what they hold is what was asked, however they came about."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warehouse.catalog import pieces as of_pieces
from warehouse.catalog.pieces import (
    Answers,
    find_known,
    note_answers,
    paths,
    read_answers,
    reuse_pieces,
    to_be_merged,
    write_piece,
)
from warehouse.catalog.spans import TABLES, parts_within, spans_of
from warehouse.sqlfiles import by_name
from warehouse.store.delta import Snapshot
from warehouse.store.duck import connect

if TYPE_CHECKING:
    import duckdb

MODEL = by_name("element_sets")
"""Its rows may have no key: instances without a series."""

keys = st.sampled_from([None, *"abcdefgh"])
sets = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(1, 9), max_size=3)
changes = st.dictionaries(keys, sets, max_size=4)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this module: to open one takes as long as an example."""
    return connect(threads=1)


def rows_of(content: dict[str | None, dict[str, int]]) -> list[tuple[str | None, str, int]]:
    return [(key, kind, n) for key, kinds in content.items() for kind, n in kinds.items()]


def fill(connection: duckdb.DuckDBPyConnection, table: str, content: object) -> None:
    connection.execute(
        f"create or replace temp table {table} "
        "(series_key varchar, kind_set varchar, instance_count bigint)"
    )
    if content:
        connection.executemany(f"insert into {table} values ($1, $2, $3)", content)


@settings(
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_pieces_hold_what_was_asked_last(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Rows of some keys are others, or go, again and again; pieces are linked, changed and merged."""
    root = tmp_path_factory.mktemp("pieces")
    most, growth = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    with pytest.MonkeyPatch.context() as patch, _database().cursor() as connection:
        patch.setattr(of_pieces, "MOST_ROWS", most)
        patch.setattr(of_pieces, "GROWTH", growth)
        content = data.draw(st.dictionaries(keys, sets, max_size=8))
        folder = root / "0"
        folder.mkdir()
        fill(connection, "asked", rows_of(content))
        first = write_piece(connection, MODEL.name, "from asked", folder)
        answers = Answers(folder, {MODEL.name: [first]}, {table: {} for table in TABLES})
        for number in range(1, data.draw(st.integers(2, 8))):
            touched = data.draw(changes)
            content |= touched
            connection.execute("create or replace temp table touched (series_key varchar)")
            for key in touched:
                connection.execute("insert into touched values ($1)", [key])
            old = answers.pieces[MODEL.name]
            find_known(connection, "series_key", paths(answers.folder, old), ["series_key"])
            fill(connection, "asked", rows_of(touched))
            held = {piece.name: pq.read_table(answers.folder / piece.name) for piece in old}
            folder = root / str(number)
            folder.mkdir()
            made = reuse_pieces(connection, MODEL, answers, folder)
            assert {path.name for path in folder.iterdir()} == {piece.name for piece in made}
            found = [pq.read_table(folder / piece.name).to_pylist() for piece in made]
            assert [len(rows) for rows in found] == [piece.rows for piece in made]
            rows = [tuple(row.values()) for some in found for row in some]
            assert sorted(rows, key=repr) == sorted(rows_of(content), key=repr)
            for piece in made:
                if piece in old:
                    same = [os.stat(of / piece.name).st_ino for of in (answers.folder, folder)]
                    assert same[0] == same[1]
            # Written anew is only what lost a row, or is small beside what came.
            came = len(rows_of(touched))
            for piece in old:
                lost = {row["series_key"] for row in held[piece.name].to_pylist()} & touched.keys()
                if piece.rows > growth * max(most, came) and not lost:
                    assert piece in made
            answers = Answers(folder, {MODEL.name: made}, answers.spans)
            note_answers(answers)
            assert read_answers(folder) == answers


@given(st.lists(st.integers(0, 500_000)), st.integers(0, 500_000))
def test_what_is_merged_is_small_beside_what_takes_it_in(sizes: list[int], rows: int) -> None:
    named = {str(number): size for number, size in enumerate(sizes)}
    merged = to_be_merged(named, rows)
    together = rows
    for name in merged:
        assert named[name] <= of_pieces.GROWTH * together
        together += named[name]
    assert not merged or together <= of_pieces.MOST_ROWS
    left = sorted(size for name, size in named.items() if name not in merged)
    if left:
        assert left[0] > of_pieces.GROWTH * together or left[0] + together > of_pieces.MOST_ROWS


@pytest.mark.parametrize("of", ["series", "frame_values", "element_sets"])
def test_few_pieces_are_open_at_once_and_each_row_is_seldom_written(of: str) -> None:
    """An archive of ten million, 20,000 at a time; by the benchmark's 47 instances in a series."""
    rows = 2_480 if of == "frame_values" else 425
    held: dict[str, int] = {}
    most = written = 0
    for number in range(500):
        merged = to_be_merged(held, rows)
        new = rows + sum(held.pop(name) for name in merged)
        held[str(number)] = new
        written += new
        most = max(most, len(held))
    assert most <= (14 if of == "frame_values" else 5)
    assert written <= 9 * 500 * rows


def test_what_is_not_as_it_was_written_is_not_read(tmp_path: Path) -> None:
    with _database().cursor() as connection:
        fill(connection, "asked", [("a", "x", 1)])
        piece = write_piece(connection, MODEL.name, "from asked", tmp_path)
    answers = Answers(tmp_path, {MODEL.name: [piece]}, {table: {"p": (1, 2)} for table in TABLES})
    note_answers(answers)
    assert read_answers(tmp_path) == answers
    file = tmp_path / piece.name
    whole = file.read_bytes()
    for content in (whole[:-1], b""):
        file.write_bytes(content)
        assert read_answers(tmp_path) is None
    file.write_bytes(whole)
    note = tmp_path / "answers.json"
    noted = note.read_text()
    for text in (
        "",
        "[]",
        "{",
        '{"series": 1}',
        '{"series": [[1]]}',
        noted.replace(piece.name, "../x"),
    ):
        note.write_text(text)
        assert read_answers(tmp_path) is None
    note.write_text(noted)
    (tmp_path / "instances.json").write_text("[1]")
    assert read_answers(tmp_path) is None


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8),
)
def test_parts_are_found_that_may_hold_an_instance(
    held: list[tuple[int, int]], wanted: list[tuple[int, int]]
) -> None:
    """A span that ends before it begins is of no instance."""
    ids = {n for first, last in wanted for n in range(first, last + 1)}
    expected = [
        str(part) for part, (first, last) in enumerate(held) if ids & set(range(first, last + 1))
    ]
    assert parts_within({str(part): span for part, span in enumerate(held)}, wanted) == expected


def test_a_part_says_of_which_instances_it_has_rows(tmp_path: Path) -> None:
    """One without statistics may be of any; one with no ids at all is of none."""
    (tmp_path / "files").mkdir()

    def write(name: str, ids: list[int | None], *, said: bool = True) -> str:
        table = pa.table({"path": ["x"] * len(ids), "instance_id": pa.array(ids, pa.int64())})
        pq.write_table(table, tmp_path / "files" / name, row_group_size=2, write_statistics=said)
        return name

    parts = (
        write("a", [5, 9, None, 7, 3]), write("b", [None, None, None]), write("c", []),
        write("d", [4], said=False), write("e", [8, 8, None, None]),
    )  # fmt: skip
    snapshot = Snapshot(tmp_path, 1, {"files": 1}, {"files": (*parts, "known")})
    spans = spans_of(snapshot, "files", {"known": (1, 2), "gone": (3, 4)})
    assert spans.pop("known") == (1, 2)
    assert list(spans) == list(parts)
    assert spans["a"] == (3, 9)
    assert spans["e"] == (8, 8)
    assert spans["d"][0] <= 0
    assert spans["d"][1] >= 2**62
    assert parts_within(spans, [(0, 2**62)]) == ["a", "d", "e"]
