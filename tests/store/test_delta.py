"""Delta tables: one version of the warehouse, whatever the versions of its tables."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pydicom.data import get_testdata_file

from warehouse.errors import UnknownVersion
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, layout, locks, tables
from warehouse.store.delta import Change
from warehouse.store.layout import Part
from warehouse.store.stage import write_small


@pytest.fixture
def root(tmp_path: Path) -> Path:
    delta.create(tmp_path / "w")
    return tmp_path / "w"


def part(root: Path, table: str, batch: str = "000001") -> Part:
    rows = {
        "blobs": {"sha256": ["aa"], "length": [1], "bytes": [b"x"]},
        "files": {"path": ["/a"], "status": ["rejected"]},
    }[table]
    schema = tables.named(table).stored_schema
    columns = [pa.array(rows.get(f.name, [None]), f.type) for f in schema]
    return write_small(root, table, batch, 0, pa.table(columns, schema=schema))


def test_a_new_warehouse_has_every_table_and_no_rows(root: Path) -> None:
    snapshot = delta.snapshot(root)
    assert snapshot.version == 0
    assert snapshot.parts == dict.fromkeys(tables.names(), ())
    for table in tables.names():
        (empty,) = snapshot.paths(table)
        assert Path(empty).exists()
        # For those who meet a table without the marker.
        about = DeltaTable(str(root / table)).metadata()
        assert about.description == f"dicom-warehouse, storage layout {layout.LAYOUT_VERSION}"
        assert DeltaTable(str(root / table)).to_pyarrow_table().num_rows == 0


@pytest.mark.parametrize("table", tables.names())
def test_the_first_entry_of_a_log_is_that_of_the_library(
    root: Path, tmp_path: Path, table: str
) -> None:
    """It is written without it, which takes twenty times as long."""
    made = DeltaTable.create(
        str(tmp_path / table), tables.named(table).stored_schema.append(pa.field("batch", pa.string())),
        partition_by=["batch"], name=table, description=DeltaTable(str(root / table)).metadata().description,
    )  # fmt: skip
    found = DeltaTable(str(root / table))
    assert found.protocol() == made.protocol()
    assert found.schema() == made.schema()

    def described(log: DeltaTable) -> dict[str, object]:
        (folder,) = [Path(log.table_uri.removeprefix("file://")) / "_delta_log"]
        lines = (folder / f"{0:020}.json").read_text().splitlines()
        (metadata,) = [
            action["metaData"] for action in map(json.loads, lines) if "metaData" in action
        ]
        return metadata

    ours, theirs = described(found), described(made)
    assert ours.keys() == theirs.keys()
    assert ours["id"] != theirs["id"]
    own = {"id", "createdTime"}
    assert {k: v for k, v in ours.items() if k not in own} == {
        k: v for k, v in theirs.items() if k not in own
    }
    (version,) = found.history()
    assert version["operation"] == "CREATE TABLE"


def test_a_file_system_without_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    delta.create(tmp_path / "w")
    assert delta.snapshot(tmp_path / "w").version == 0
    log = tmp_path / "w" / "files" / "_delta_log"
    assert [path.name for path in log.glob("*.json")] == [f"{0:020}.json"]
    assert not list(log.glob(".*"))


def test_two_warehouses_have_logs_of_their_own(tmp_path: Path) -> None:
    ids = set()
    for name in "ab":
        delta.create(tmp_path / name)
        ids |= {DeltaTable(str(tmp_path / name / table)).metadata().id for table in tables.names()}
    assert len(ids) == 2 * len(tables.names())


def test_to_make_it_again_changes_nothing(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    delta.create(root)
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.name != "_lock"} == {
        p: t for p, t in before.items() if p.name != "_lock"
    }


@pytest.mark.parametrize("missing", ["warehouse.json", "files", "elements", "_empty"])
def test_what_a_killed_maker_left_is_completed(root: Path, missing: str) -> None:
    import shutil

    (root / "warehouse.json").unlink()
    if missing != "warehouse.json":
        shutil.rmtree(root / missing)
    delta.create(root)
    assert delta.snapshot(root).version == 0


def test_a_commit_adds_and_removes_parts_of_all_tables_at_once(root: Path) -> None:
    first = {table: part(root, table) for table in ("blobs", "files")}
    with locks.locked(root):
        delta.commit(
            root, {t: Change(add=[p]) for t, p in first.items()}, delta.snapshot(root), "test"
        )
    made = delta.snapshot(root)
    assert made.parts["blobs"] == (first["blobs"].path,)
    assert made.version == 1
    second = part(root, "files", "000002")
    with locks.locked(root):
        delta.commit(root, {"files": Change([second], [first["files"].path])}, made, "test")
    made = delta.snapshot(root)
    assert made.parts["files"] == (second.path,)
    assert made.parts["blobs"] == (first["blobs"].path,)
    assert made.versions["blobs"] == 1


def test_other_engines_read_the_tables_alone(root: Path) -> None:
    with locks.locked(root):
        delta.commit(root, {"files": Change([part(root, "files")])}, delta.snapshot(root), "test")
    frame = pl.read_delta(str(root / "files"))
    assert frame.select("path", "batch").rows() == [("/a", "000001")]
    assert DeltaTable(str(root / "files")).to_pyarrow_table()["path"].to_pylist() == ["/a"]


def test_what_was_committed_to_one_table_alone_is_not_seen_and_taken_back(root: Path) -> None:
    base = delta.snapshot(root)
    lost = part(root, "blobs")
    delta._apply(DeltaTable(str(root / "blobs")), Change([lost]), {})
    assert delta.snapshot(root) == base
    with locks.locked(root):
        delta.commit(root, {"files": Change([part(root, "files")])}, base, "test")
    made = delta.snapshot(root)
    assert made.parts["blobs"] == ()
    assert len(made.parts["files"]) == 1
    assert DeltaTable(str(root / "blobs")).to_pyarrow_table().num_rows == 0


def commit_one(root: Path, number: int) -> Part:
    made = part(root, "blobs", f"{number:06d}")
    with locks.locked(root):
        changes = {"blobs": Change(add=[made]), "files": Change(add=[part(root, "files")])}
        delta.commit(root, changes, delta.snapshot(root), "test")
    return made


def test_a_commit_in_the_middle_of_a_look_is_not_half_seen(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = commit_one(root, 1)
    pins = delta._pins

    def late(root: Path, version: int) -> dict[str, int]:
        monkeypatch.setattr(delta, "_pins", pins)
        commit_one(root, 2)
        return pins(root, version)

    monkeypatch.setattr(delta, "_pins", late)
    seen = delta.snapshot(root)
    assert (seen.version, len(seen.parts["files"])) == (1, 1)
    assert seen.parts["blobs"] == (first.path,)


def test_older_versions_are_what_they_were(root: Path) -> None:
    made = [commit_one(root, number).path for number in (1, 2, 3)]
    for version in range(4):
        assert set(delta.snapshot(root, version).parts["blobs"]) == set(made[:version])
    for version in (4, 100):
        with pytest.raises(UnknownVersion, match=f"no version {version}"):
            delta.snapshot(root, version)
    for entry in (root / "files" / "_delta_log").glob("*2.json"):
        entry.unlink()
    with pytest.raises(UnknownVersion):
        delta.snapshot(root, 2)


def test_commits_of_another_tool_leave_the_pins_as_they_were(root: Path) -> None:
    made = commit_one(root, 1)
    DeltaTable(str(root / "files")).alter.set_table_description("of someone")
    seen = delta.snapshot(root)
    assert (seen.version, seen.parts["blobs"]) == (2, (made.path,))


def test_every_writer_gets_its_own_batch_number(root: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: locks.claim_batch(root), range(40)))
    assert sorted(claimed) == [layout.batch_name(number) for number in range(1, 41)]
    assert [
        name for name in layout.claims_folder(root).iterdir() if name.name.startswith(".")
    ] == []


def test_the_first_part_says_how_large_a_table_is(root: Path) -> None:
    """DuckDB multiplies the rows of the first file: one with none would make joins slow."""
    schema = tables.named("blobs").stored_schema
    for count in (1, 1000, 1):
        keys = [f"{number:064}" for number in range(count)]
        columns = [pa.array(keys), pa.array([1] * count), pa.array([b"x"] * count)]
        batch = locks.claim_batch(root)
        rows = pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)
        made = write_small(root, "blobs", batch, 0, rows)
        delta.commit(root, {"blobs": Change(add=[made])}, delta.snapshot(root), batch)
    *parts, empty = delta.snapshot(root).paths("blobs")
    assert [layout.batch_of_part(path) for path in parts] == ["000002", "000001", "000003"]
    assert pq.read_metadata(empty).num_rows == 0


def test_a_version_is_named_after_all_that_it_names_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: list[str] = []
    really = os.fsync

    def watched(descriptor: int) -> None:
        on_disk.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    root = tmp_path / "w"
    ingest(root, [get_testdata_file("CT_small.dcm")], IngestSettings(mode=Mode.FULL, workers=1))
    found = delta.snapshot(root)
    version = root / "files/_delta_log" / f"{found.version:020}.json"
    before = set(on_disk[: on_disk.index(str(version))])
    parts = {path for table in tables.names() for path in found.paths(table)}
    folders = {str(Path(part).parent) for part in parts}
    logs = {str(path) for path in root.glob("*/_delta_log/*.json")} - {str(version)}
    assert parts | folders | logs | {str(root / "_batches/000001")} <= before
