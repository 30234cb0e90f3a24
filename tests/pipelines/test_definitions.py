"""What Dagster knows is what ``sql/`` says."""

import datetime as dt
import os
import runpy
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from pipelines.definitions import build_definitions, defs
from pipelines.schedules import every_morning, every_night, new_members, time_zone
from warehouse.sqlfiles import read_checks, read_models
from warehouse.store.tables import REGISTRY

TABLES = {model.name: model for model in read_models() if model.is_view}
GRAPH = defs.resolve_asset_graph()


def node(name):
    return GRAPH.get(dg.AssetKey(name))


def test_definitions_load_with_nothing_set():
    dg.Definitions.validate_loadable(build_definitions())


def test_the_module_loads_with_nothing_set_and_writes_nothing(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("DICOM_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # As `dagster -m` finds them: by the module, which is run anew.
    monkeypatch.delitem(sys.modules, "pipelines.definitions")
    module = runpy.run_module("pipelines.definitions").values()
    (found,) = [each for each in module if isinstance(each, dg.Definitions)]
    dg.Definitions.validate_loadable(found)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_line_finds_them_valid(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "pipelines.definitions"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "All code locations passed validation" in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


RUNS = ["algorithm_jobs", "algorithm_outputs", "algorithm_annotations"]
ALSO = {"source_listing", "vanished_files", "cohort_runs", "segment_measurements", *RUNS}
"""Where the tables begin, and what is made of them."""


def parents(name):
    return {key.to_user_string() for key in node(name).parent_keys}


@pytest.mark.acceptance("D73")
def test_every_table_and_view_is_an_asset_and_no_macro():
    assert {key.to_user_string() for key in GRAPH.get_all_asset_keys()} == set(TABLES) | ALSO


def test_stored_tables_are_partitioned_by_batch_and_run_and_views_are_neither():
    stored = {name for name in TABLES if node(name).is_executable}
    assert stored == {table.name for table in REGISTRY if not table.is_appended}
    assert {name for name in TABLES if node(name).partitions_def is not None} == stored
    assert {node(name).partitions_def.name for name in stored} == {"batch"}


@pytest.mark.acceptance("D73")
def test_the_lineage_is_the_graph_of_the_headers():
    for name, model in TABLES.items():
        if not model.table:
            assert parents(name) == set(model.depends) & set(TABLES)
    # What is stored comes from the sources; `instances` is the answer of a view over other tables.
    assert parents("source_listing") == set()
    assert parents("elements") == parents("files") == {"source_listing"}
    assert parents("instances") == {"source_listing", "elements", "files"}
    assert parents("patients") == {"instances"}
    assert parents("cohort_runs") >= {"vanished_files", "instances", "elements"}


@pytest.mark.acceptance("G70")
def test_a_cohort_leads_to_jobs_outputs_and_annotations():
    before = "cohort_runs"
    for name in RUNS:
        assert parents(name) == {before}
        assert node(name).partitions_def.name == "algorithm_run"
        before = name


def test_no_arrow_leads_back_to_a_lower_layer():
    for name in set(TABLES) | ALSO:
        for parent in parents(name):
            assert node(parent).group_name <= node(name).group_name, (parent, name)


def test_assets_carry_the_header():
    for name, model in TABLES.items():
        assert node(name).group_name == model.layer
        assert node(name).description == model.description
        schema = node(name).metadata["dagster/column_schema"]
        assert [(c.name, c.type, c.description) for c in schema.columns] == [
            (c.name, c.type, c.description) for c in model.columns
        ]


def test_every_check_file_is_a_check_of_a_table_it_reads():
    found = {key.name: key.asset_key.to_user_string() for key in GRAPH.asset_check_keys}
    assert set(found) == {"values_are_valid", *(check.name for check in read_checks())}
    for check in read_checks():
        assert found[check.name] in check.depends


def test_checks_block_unless_they_only_warn():
    blocking = {key.name for key in GRAPH.asset_check_keys if GRAPH.get(key).blocking}
    assert blocking == {check.name for check in read_checks() if check.severity == "error"}
    assert blocking == {
        "elements_of_one_batch", "file_without_instance", "instance_held_twice",
        "instance_without_file", "orphan_elements", "orphan_values", "orphan_vendor_payloads", "rows_of_every_file",
    }  # fmt: skip


def test_jobs_and_sensors():
    repository = defs.get_repository_def()
    names = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert names == {
        "ingest",
        "check",
        "plan_batches",
        "nightly",
        "maintain",
        "vanished",
        "measure",
        "run_algorithm",
    }
    for name, job in {"every_night": "nightly", "every_morning": "maintain"}.items():
        schedule = repository.get_schedule_def(name)
        assert schedule.job_name == job
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    sensor = repository.get_sensor_def("new_files")
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


@pytest.mark.parametrize(
    ("stated", "zone", "hour"),
    [
        ("America/New_York", "America/New_York", 7),
        (":Europe/Berlin", "Europe/Berlin", 1),
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo", 17),
        ("XYZ-5", "UTC", 2),
    ],
)
def test_schedules_run_at_night_where_the_machine_is(monkeypatch, stated, zone, hour):
    """Hours in UTC: New York is 5 h behind in winter, Berlin 1 h and Tokyo 9 h ahead."""
    monkeypatch.setenv("TZ", stated)
    assert time_zone() == zone
    noon = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC).timestamp()
    following = next(schedule_execution_time_iterator(noon, "0 2 * * *", time_zone()))
    assert following.astimezone(dt.UTC).hour == hour


def test_every_schedule_has_the_time_zone_of_the_machine():
    for schedule in (every_night, every_morning, new_members):
        assert schedule.execution_timezone == time_zone()
