"""A batch that may hold nothing known is judged as by the joins; whatever is known is noticed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dicom_files import write
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import statement
from warehouse.store import delta, known
from warehouse.store.duck import lent
from warehouse.store.known import may_be_known
from warehouse.store.schema import FILES

SETTINGS = IngestSettings(workers=1)


def table(rows: list[tuple[str, str | None]]) -> pa.Table:
    """Rows of ``files``: path, and identity or None for a reject."""
    return pa.table(
        {
            **{field.name: pa.nulls(len(rows), field.type) for field in FILES},
            "path": pa.array([path for path, _ in rows], pa.string()),
            "instance_key": pa.array([key for _, key in rows], pa.string()),
            "instance_id": pa.array(
                [None if key is None else n for n, (_, key) in enumerate(rows)], pa.int64()
            ),
            "status": pa.array(["rejected" if key is None else "ingested" for _, key in rows]),
            "mode": pa.array(["full"] * len(rows)),
        },
        schema=FILES,
    )


paths = st.sampled_from("abcdefgh")
keys = st.none() | st.sampled_from(["1", "2", "3", "4", "5"])
parts = st.lists(st.tuples(paths, keys), max_size=3)
steps = st.lists(st.tuples(st.lists(parts, max_size=3), st.integers(0, 3)), max_size=5)


@settings(max_examples=20)
@given(steps, parts)
def test_what_a_part_holds_is_known_whatever_parts_came_and_went(
    history: list[tuple[list[list[tuple[str, str | None]]], int]],
    asked: list[tuple[str, str | None]],
) -> None:
    with TemporaryDirectory() as folder, lent() as connection:
        empty = str(Path(folder) / "empty.parquet")
        pq.write_table(FILES.empty_table(), empty)
        there: dict[str, list[tuple[str, str | None]]] = {}
        connection.register("staged", table(asked))
        for number, (came, gone) in enumerate(history):
            for some in list(there)[:gone]:
                del there[some]
            for place, rows in enumerate(came):
                part = str(Path(folder) / f"{number}-{place}.parquet")
                pq.write_table(table(rows), part)
                there[part] = rows
            held = {value for rows in there.values() for row in rows for value in row if value}
            ever_asked = {value for row in asked for value in row if value}
            if held & ever_asked:
                assert may_be_known(connection, [*there, empty])
            known_now = may_be_known(connection, [*there, empty])
            # What is gone may still be taken for known, until most is.
            if not gone and number == 0:
                assert known_now == bool(held & ever_asked)


@settings(max_examples=20)
@given(parts.filter(lambda rows: len({path for path, _ in rows}) == len(rows)), parts)
def test_what_nobody_knows_is_judged_as_by_the_joins(
    asked: list[tuple[str, str | None]], held: list[tuple[str, str | None]]
) -> None:
    staged = [(f"new {path}", key and f"new {number}") for number, (path, key) in enumerate(asked)]
    found = []
    for name in ("resolve", "all_new"):
        with lent() as connection:
            connection.register("staged", table(staged))
            connection.register("ledger", table(held))
            connection.execute("set variable read_anew = false")
            connection.execute(statement(name))
            for made in ("verdict", "touched"):
                rows = connection.sql(f"from {made} order by all")
                found.append((name, made, rows.columns, rows.types, rows.fetchall()))
    half = len(found) // 2
    assert [one[1:] for one in found[:half]] == [one[1:] for one in found[half:]]


def test_a_process_reads_each_part_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[list[str]]()
    real = known._hashes

    def noted(connection: object) -> object:
        names = connection.execute("select getvariable('parts')").fetchall()[0][0]  # type: ignore[attr-defined]
        read.append(names)
        return real(connection)  # type: ignore[arg-type]

    monkeypatch.setattr(known, "_hashes", noted)
    root, source = tmp_path / "w", tmp_path / "in"
    for number in range(4):
        write(source / f"{number}.dcm", SOPInstanceUID=f"1.{number}")
        assert ingest(root, [source], SETTINGS).created == 1
    # Each before it is committed, when it is asked whether anything of it is known, and never again.
    reads = [part for names in read for part in names]
    assert len(reads) == len(set(reads)) == 4


def test_more_hashes_than_are_kept_leave_the_answer_to_the_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, source = tmp_path / "w", tmp_path / "in"
    for number in range(3):
        write(source / f"{number}.dcm", SOPInstanceUID=f"1.{number}")
    assert ingest(root, [source], SETTINGS).created == 3
    write(tmp_path / "other" / "9.dcm", SOPInstanceUID="1.2")
    monkeypatch.setattr(known, "MOST", 2)
    with lent() as connection:
        connection.register("staged", FILES.empty_table())
        assert may_be_known(connection, delta.snapshot(root).paths("files"))
    assert ingest(root, [tmp_path / "other"], SETTINGS).duplicate == 1
