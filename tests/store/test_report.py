"""Sizes of a store, from its footers."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import warehouse
from tests.command_line import run
from warehouse.store import delta, layout, tables
from warehouse.store.report import describe_columns, describe_store


@pytest.fixture(scope="module")
def root(sample: warehouse.Warehouse) -> Path:
    return sample.root


def test_columns_add_up_to_the_row_groups_of_every_part(root: Path) -> None:
    snapshot = delta.snapshot(root)
    columns = describe_columns(snapshot)
    for facts in describe_store(snapshot).tables:
        of_table = [column for column in columns if column.table == facts.name]
        assert {column.name for column in of_table} == set(tables.named(facts.name).schema.names)
        plain = sum(
            metadata.row_group(number).total_byte_size
            for part in snapshot.parts[facts.name]
            for metadata in [pq.read_metadata(layout.table_folder(root, facts.name) / part)]
            for number in range(metadata.num_row_groups)
        )
        assert sum(column.plain_bytes for column in of_table) == plain
        assert 0 < sum(column.stored_bytes for column in of_table) < facts.size_bytes


def test_columns_say_how_they_are_stored(root: Path) -> None:
    columns = {(c.table, c.name): c for c in describe_columns(delta.snapshot(root))}
    ids = columns["elements", "instance_id"]
    assert ids.compressions == ["ZSTD"]
    assert "DELTA_BINARY_PACKED" in ids.encodings
    sizes = [c.stored_bytes for (table, _), c in columns.items() if table == "elements"]
    assert sizes == sorted(sizes, reverse=True)


def test_an_empty_warehouse_has_no_columns_to_show(tmp_path: Path) -> None:
    delta.create(tmp_path / "w")
    assert describe_columns(delta.snapshot(tmp_path / "w")) == []


def test_the_command_shows_columns_when_asked(root: Path) -> None:
    done = run("info", "-w", root, "--columns")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:2] == ["elements", "vm"]]
    assert "ZSTD" in line
    facts = json.loads(run("info", "-w", root, "--columns", "--json").stdout)
    assert {"table", "name", "stored_bytes"} <= set(facts["columns"][0])
