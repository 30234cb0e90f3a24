"""A batch materialized by Dagster is the batch that the command line would have read."""

import datetime as dt
import os
import shutil
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from warehouse.errors import UsageError
from warehouse.escape import markdown
from warehouse.ingest import ingest, plan, planned_batches

TABLES = ("files", "elements", "instances", "blobs")


def parts(root, table, batch):
    """Every Parquet file of a partition with its time, so that a rewrite shows."""
    folder = Path(root) / table / f"batch={batch}"
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_a_batch_that_is_read_again_follows_its_files(
    instance, intake, store, planned, rows, archive
):
    first = planned[0]
    assert store(first).success
    assert instance.get_materialized_partitions(dg.AssetKey("instances")) == {first}
    before = rows()
    files = parts(intake.root, "files", first)
    (archive / "a/ct.dcm").write_bytes(b"overwritten by something else")
    store(first)
    after = rows()
    assert parts(intake.root, "files", first) != files
    status = dict(after["files"].select("file_path", "status").iter_rows())
    assert status.pop(str(archive / "a/ct.dcm")) == "rejected"
    assert set(status.values()) == {"ingested"}
    kept = set(after["instances"]["instance_key"])
    assert len(kept) == 2
    assert after["instances"].equals(
        before["instances"].filter(before["instances"]["instance_key"].is_in(kept))
    )


@pytest.mark.long("test_a_batch_that_is_read_again_follows_its_files")
def test_materialize_in_an_ephemeral_instance(instance, intake, store, planned, rows):
    for key in planned:
        assert store(key).success
    for table, stored in rows().items():
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == set(planned)
        assert stored.height > 0
    assert planned_batches(intake.root) == []


def test_one_batch_has_the_same_rows_as_from_the_command_line(store, intake, rows, archive):
    shutil.rmtree(archive / "b")
    value = intake.create_resource(None)
    [key] = plan(value.root, value.sources, value.settings)
    store(key)
    ingest(archive.parent / "by-hand", [archive], value.settings)
    by_hand = rows(archive.parent / "by-hand")
    for table, stored in rows().items():
        assert stored.equals(by_hand[table]), table


@pytest.mark.long("test_one_batch_has_the_same_rows_as_from_the_command_line")
def test_the_same_rows_as_from_the_command_line(store, intake, planned, rows, archive):
    for key in planned:
        store(key)
    value = intake.create_resource(None)
    ingest(archive.parent / "by-hand", [archive], value.settings)
    by_hand = rows(archive.parent / "by-hand")
    for table, stored in rows().items():
        assert stored.equals(by_hand[table]), table


@pytest.mark.long("test_a_batch_that_is_read_again_follows_its_files")
@pytest.mark.acceptance("D73")
def test_twice_gives_the_same_rows_and_leaves_other_batches_alone(store, intake, planned, rows):
    for key in planned:
        store(key)
    before = rows()
    first, second = planned
    others = {table: parts(intake.root, table, second) for table in TABLES}
    files = parts(intake.root, "files", first)
    assert store(first).success
    after = rows()
    for table in TABLES:
        assert after[table].equals(before[table]), table
        assert parts(intake.root, table, second) == others[table], table
    assert parts(intake.root, "files", first) != files  # it was read anew indeed


@pytest.mark.long("test_a_batch_that_is_read_again_follows_its_files")
def test_a_changed_file_is_read_anew_with_its_batch(store, planned, rows, archive):
    for key in planned:
        store(key)
    (archive / "a/ct.dcm").write_bytes(b"overwritten by something else")
    store(planned[0])
    tables = rows()
    status = dict(tables["files"].select("file_path", "status").iter_rows())
    assert status[str(archive / "a/ct.dcm")] == "rejected"
    assert tables["instances"].height == 3


@pytest.mark.acceptance("D75")
def test_the_report_is_the_metadata_of_the_materialization(store, planned, archive):
    store(planned[0])
    done = store(planned[1])
    [event] = done.asset_materializations_for_node("stored_tables")[:1]
    facts = {name: value.value for name, value in event.metadata.items()}
    assert (facts["files"], facts["created"], facts["duplicate"], facts["rejected"]) == (3, 1, 1, 1)
    assert facts["readers"]
    assert facts["version"] > 0
    assert facts["seconds"] >= 0
    assert facts["batches"] == [planned[1]]
    assert facts["instances"] == 1
    assert facts["source_bytes"] == sum(
        os.path.getsize(archive / name) for name in ("b/mr-again", "b/notes.dcm", "b/report.dcm")
    )
    assert facts["files_per_second"] > 0
    assert f"| 1 | {markdown(archive / 'b/notes.dcm')} |" in facts["reject_reasons"]
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    assert facts["arrivals"].splitlines()[-1] == f"| {today} | 4 | {'█' * 40} |"
    [reject] = event.metadata["rejects"].records
    assert reject.data["path"] == str(archive / "b/notes.dcm")
    assert reject.data["reason"]
    rows = {
        event.asset_key.to_user_string(): event.metadata["dagster/partition_row_count"].value
        for event in done.asset_materializations_for_node("stored_tables")
    }
    assert (rows["files"], rows["instances"], rows["blobs"]) == (3, 1, 0)
    assert rows["elements"] > 50


def test_a_batch_nobody_planned_fails_and_says_which_are(store, planned):
    with pytest.raises(UsageError, match=f"no batch '000099'; planned: {planned[0]}"):
        store("000099")


def test_a_run_without_a_partition_says_what_to_choose(instance, run, planned):
    with pytest.raises(dg.Failure, match="choose one, the key of a batch"):
        run("ingest")
    bounds = {
        "dagster/asset_partition_range_start": planned[0],
        "dagster/asset_partition_range_end": planned[-1],
    }
    instance.add_dynamic_partitions("batch", planned)
    with pytest.raises(dg.Failure, match="for several, start a backfill"):
        run("ingest", tags=bounds)


def test_a_launchpad_may_ask_for_another_mode(instance, intake, planned, rows, monkeypatch):
    monkeypatch.setenv("DICOM_WAREHOUSE", intake.root)
    instance.add_dynamic_partitions("batch", planned)
    build_definitions().resolve_job_def("ingest").execute_in_process(
        instance=instance, partition_key=planned[0],
        run_config={"resources": {"intake": {"config": {"mode": "minimal"}}}},
    )  # fmt: skip
    tables = rows()
    assert tables["elements"].is_empty()
    assert tables["instances"].height == 3
