"""New files become partitions and runs, once."""

import datetime as dt
import os
import shutil

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.resources import IntakeResource
from pipelines.sensors import new_files, source_state
from warehouse.ingest import ingest, planned_batches
from warehouse.listener.spool import Spool
from warehouse.store.tables import REGISTRY


@pytest.fixture
def tick(instance, intake):
    """Evaluate the sensor; partitions are made as the daemon would make them."""

    cursors = [None]

    def tick(resource=intake):
        context = dg.build_sensor_context(
            instance=instance, resources={"intake": resource}, cursor=cursors[-1]
        )
        result = new_files(context)
        cursors.append(result.cursor if isinstance(result, dg.SensorResult) else None)
        if isinstance(result, dg.SensorResult):
            for request in result.dynamic_partitions_requests:
                instance.add_dynamic_partitions("batch", request.partition_keys)
        return result

    return tick


@pytest.mark.acceptance("D74")
def test_one_run_per_new_batch_and_none_when_they_are_done(tick, store, intake):
    requests = tick().run_requests
    assert [request.partition_key for request in requests] == planned_batches(intake.root)
    assert len(requests) == 2
    for request in requests:
        store(request.partition_key)
    assert tick().run_requests == []


def test_a_batch_that_waits_keeps_its_run_key(tick):
    first, second = tick(), tick()
    assert [r.run_key for r in first.run_requests] == [r.run_key for r in second.run_requests]


def test_a_new_warehouse_in_the_same_place_starts_anew(tick, intake):
    before = {request.run_key for request in tick().run_requests}
    shutil.rmtree(intake.root)
    after = {request.run_key for request in tick().run_requests}
    assert len(after) == 2
    assert not before & after


def test_a_new_file_is_a_new_batch(tick, store, archive):
    for request in tick().run_requests:
        store(request.partition_key)
    shutil.copyfile(archive / "a/plan.dcm", archive / "b/plan-again.dcm")
    [request] = tick().run_requests
    assert request.partition_key == "000003"


def test_batches_of_the_command_line_become_partitions(tick, instance, intake):
    value = intake.create_resource(None)
    ingest(value.root, value.sources, value.settings)
    result = tick()
    assert result.run_requests == []
    assert set(instance.get_dynamic_partitions("batch")) == {"000001", "000002"}
    assert {(e.asset_key.to_user_string(), e.partition) for e in result.asset_events} == {
        (table, key)
        for table in (table.name for table in REGISTRY if not table.is_appended)
        for key in ("000001", "000002")
    }
    assert tick().asset_events == []


def test_without_sources_it_says_what_to_set(tick, monkeypatch, tmp_path):
    monkeypatch.delenv("DICOM_WAREHOUSE_SOURCES", raising=False)
    result = tick(IntakeResource(root=str(tmp_path / "none")))
    assert "DICOM_WAREHOUSE_SOURCES" in result.skip_message
    assert not (tmp_path / "none").exists()


def test_a_click_plans_the_same_batches(instance, intake):
    job = build_definitions(intake).resolve_job_def("plan_batches")
    for _ in range(2):
        assert job.execute_in_process(instance=instance).success
    assert list(instance.get_dynamic_partitions("batch")) == planned_batches(intake.root)
    assert len(planned_batches(intake.root)) == 2


def configured(intake, **changes):
    """Return the same intake with other settings."""
    same = {name: getattr(intake, name) for name in ("root", "sources", "mode", "workers")}
    return IntakeResource(**{**same, **changes})


def rest(folder):
    """Let folders look as if nothing had happened in them for long."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def test_files_are_not_listed_while_folders_rest(tick, intake, archive):
    rest(archive)
    value = intake.create_resource(None)
    ingest(value.root, value.sources, value.settings)
    for _ in range(2):
        assert tick().run_requests == []
    # Overwritten in place: only a listing can tell, and there is none.
    (archive / "a/ct.dcm").write_bytes(b"overwritten")
    assert tick().run_requests == []
    # A file that comes changes its folder: then everything is listed.
    shutil.copyfile(archive / "a/plan.dcm", archive / "b/plan-again.dcm")
    [request] = tick().run_requests
    assert request.partition_key == "000003"


def test_a_file_that_was_listed_half_written_is_found_again(tick, store, archive):
    whole = (archive / "a/ct.dcm").read_bytes()
    (archive / "a/ct.dcm").write_bytes(whole[:3000])
    for request in tick().run_requests:
        store(request.partition_key)
    # The folder changed a moment ago, so that it is listed in spite of being the same.
    (archive / "a/ct.dcm").write_bytes(whole)
    assert len(tick().run_requests) == 1


@pytest.mark.parametrize("less", [{"mode": "minimal"}, {"limits": ["elements=3"]}])
def test_another_way_to_read_is_no_rest(tick, archive, intake, less):
    rest(archive)
    lower = configured(intake, **less)
    value = lower.create_resource(None)
    ingest(value.root, value.sources, value.settings)
    assert tick(lower).run_requests == []
    assert len(tick(intake).run_requests) > 0


def test_a_bucket_is_always_listed(store, planned, archive, intake):
    rest(archive)
    assert source_state(intake.create_resource(None))[0] is not None
    buckets = configured(intake, sources=[str(archive), "s3://bucket/prefix"])
    assert source_state(buckets.create_resource(None)) == (None, False)


@pytest.mark.acceptance("D74")
def test_a_folder_a_day(tick, store, archive, intake):
    daily = configured(intake, days=2)
    assert tick(daily).run_requests == []
    today = dt.datetime.now().astimezone().date()
    for back in (0, 1, 5):
        day = archive / f"{today - dt.timedelta(days=back):%Y/%m/%d}"
        day.mkdir(parents=True)
        shutil.copyfile(archive / "a/ct.dcm", day / f"{back}.dcm")
    [request] = tick(daily).run_requests
    done = store(request.partition_key)
    [event] = done.asset_materializations_for_node("stored_tables")[:1]
    assert event.metadata["files"].value == 2
    assert tick(daily).run_requests == []


def test_what_a_listener_received_is_a_new_batch(tick, store, archive, intake, tmp_path):
    """The spool is a source like any other; what is still being received is not seen."""
    spool = Spool(tmp_path / "received")
    watched = configured(intake, sources=[str(spool.files)])
    assert tick(watched).run_requests == []
    part = spool.begin(next(archive.rglob("*.dcm")).read_bytes())
    assert tick(watched).run_requests == []
    spool.keep(part, "CT1")
    (request,) = tick(watched).run_requests
    store(request.partition_key)
    assert tick(watched).run_requests == []
    spool.close()
