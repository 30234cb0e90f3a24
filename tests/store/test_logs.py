"""Logs are read once while they stay as they are, and never believed when they do not."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

import warehouse
from tests.dicom_files import write
from warehouse.errors import StoreDamaged
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.store import delta, logs

SETTINGS = IngestSettings(workers=1)


def add(root: Path, number: int) -> None:
    ingest(root, [write(root.parent / "in" / f"{number}", uid=f"1.{number}")], SETTINGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits. Not to be written to."""
    root = tmp_path_factory.mktemp("made") / "w"
    for number in range(2):
        add(root, number)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "w"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each table is opened."""
    count = Counter[str]()
    real = logs.DeltaTable

    def counted(path: str, *rest: Any, **named: Any) -> DeltaTable:
        count[Path(path).name] += 1
        return real(path, *rest, **named)

    monkeypatch.setattr(logs, "DeltaTable", counted)
    return count


def entry(root: Path, version: int, table: str = "files") -> Path:
    return root / table / "_delta_log" / f"{version:020}.json"


def test_who_commits_again_opens_no_table(root: Path, opened: Counter[str]) -> None:
    add(root, 2)
    opened.clear()
    add(root, 3)
    assert not opened
    assert delta.snapshot(root).version == 4
    # Another process has read nothing; tables without parts it need not open.
    logs._read.clear()
    logs._open.clear()
    held = delta.snapshot(root)
    assert opened == {table: 1 for table, parts in held.parts.items() if parts}
    assert len(opened) < len(held.parts)


def test_tables_that_were_only_made_are_not_opened(tmp_path: Path, opened: Counter[str]) -> None:
    delta.create(tmp_path / "w")
    assert not any(delta.snapshot(tmp_path / "w").parts.values())
    assert not opened


def test_a_first_entry_is_read_as_it_is(tmp_path: Path) -> None:
    """Other tools make tables with rows; and one that says no columns is damaged."""
    delta.create(tmp_path / "w")
    first = entry(tmp_path / "w", 0, "elements")
    made = first.read_text()
    part = {
        "path": "batch=000001/a.parquet",
        "partitionValues": {"batch": "000001"},
        "size": 7,
        "modificationTime": 0,
        "dataChange": True,
        "stats": '{"numRecords": 3}',
    }
    first.write_text(made + json.dumps({"add": part}) + "\n")
    assert logs.read_log(tmp_path / "w", "elements").parts == {part["path"]: (7, 3)}
    first.write_text(
        "".join(line for line in made.splitlines(keepends=True) if "metaData" not in line)
    )
    with pytest.raises(StoreDamaged, match="the log elements/_delta_log"):
        logs.read_log(tmp_path / "w", "elements")


def test_commits_of_others_are_seen(root: Path, opened: Counter[str]) -> None:
    held = delta.snapshot(root)
    delta._apply(DeltaTable(str(root / "blobs")), delta.Change(), {})
    DeltaTable(str(root / "files")).alter.set_table_description("of someone")
    assert delta.snapshot(root).version == held.version + 1
    add(root, 2)
    assert delta.snapshot(root).version == held.version + 2
    assert opened["files"] > 0
    assert warehouse.open(root).sql("select count(*) from files").fetchall() == [(3,)]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
}


@pytest.mark.parametrize("table", ["files", "elements", "annotations"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_a_log_that_was_read_before_is_seen(root: Path, kind: str, table: str) -> None:
    """Also of a table without parts, which is not opened."""
    held = delta.snapshot(root)
    DAMAGE[kind](entry(root, held.versions[table], table))
    with pytest.raises(StoreDamaged, match=f"{table}/_delta_log"):
        delta.snapshot(root)
    with pytest.raises(StoreDamaged, match=f"{table}/_delta_log"):
        add(root, 2)


def test_checkpoints(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_CHECKPOINT_EVERY", 3)
    on_disk: list[str] = []
    really = os.fsync

    def watched(descriptor: int) -> None:
        on_disk.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    for number in range(2, 5):
        add(root, number)
    made = root / "files/_delta_log" / f"{3:020}.checkpoint.parquet"
    assert {str(made), str(made.with_name("_last_checkpoint"))} <= set(on_disk)
    logs._read.clear()
    for version in range(6):
        assert len(delta.snapshot(root, version).parts["files"]) == version
    # An entry before the checkpoint: the newest version does without, an older one is refused.
    entry(root, 2).write_bytes(b"")
    assert len(delta.snapshot(root).parts["files"]) == 5
    assert warehouse.open(root).sql("select count(*) from files").fetchall() == [(5,)]
    with pytest.raises(warehouse.errors.WarehouseError):
        delta.snapshot(root, 2)
    assert "entry 2 of the log files" in str(warehouse.open(root).verify().damaged)
    with pytest.raises(StoreDamaged, match="entry 2 of the log files"):
        warehouse.open(root).vacuum()
    # One since then.
    entry(root, 5).write_bytes(b"")
    with pytest.raises(StoreDamaged, match="entry 5 of the log files"):
        delta.snapshot(root)


def test_an_emptied_checkpoint_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_CHECKPOINT_EVERY", 3)
    add(root, 2)
    made = root / "files/_delta_log" / f"{3:020}.checkpoint.parquet"
    made.write_bytes(b"")
    with pytest.raises(StoreDamaged, match="entry 3 of the log files/_delta_log is empty"):
        delta.snapshot(root)
