"""What a night does: lists everything, checks everything, asks every cohort again."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.assets import cohort_runs, source_listing, vanished_files
from pipelines.checks import CHECKS, check_result, check_spec
from pipelines.show import _bar_table, _table
from warehouse.catalog.connect import open_catalog
from warehouse.ingest import ingest, planned_batches
from warehouse.store import delta, locks
from warehouse.store.delta import Change
from warehouse.store.tables import names

STORED = set(names())
pytestmark = pytest.mark.usefixtures("asked_here")


@pytest.fixture
def stored(intake):
    value = intake.create_resource(None)
    ingest(value.root, value.sources, value.settings)
    folder = Path(value.root) / "cohorts"
    folder.mkdir()
    (folder / "mr.sql").write_text(
        "-- MR.\nselect series_key from instances where Modality = 'MR'\n"
    )
    return value.root


def made(done):
    return {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in done.get_asset_materialization_events()
    }


def test_what_a_night_makes_lists_and_asks_cohorts(stored, intake, archive, instance):
    """Without the checks, and a second time after a cohort that cannot be asked was saved."""
    (archive / "a/ct.dcm").write_bytes((archive / "a/plan.dcm").read_bytes())
    assets, resources = [source_listing, vanished_files, cohort_runs], {"intake": intake}
    done = dg.materialize(assets, resources=resources, instance=instance)
    assert done.success
    shown = made(done)
    assert set(shown) == {asset.key.to_user_string() for asset in assets}
    assert shown["source_listing"]["waiting"].value == planned_batches(stored) == ["000003"]
    assert "000003" in instance.get_dynamic_partitions("batch")
    assert "| mr |  | mr-0001 | 1 | yes |  |" in shown["cohort_runs"]["runs"].value
    (Path(stored) / "cohorts/bad.sql").write_text("-- Bad.\nselect x from nowhere\n")
    done = dg.materialize(
        [cohort_runs], resources=resources, instance=instance, raise_on_error=False
    )
    assert not done.success
    [failure] = [e for e in done.all_events if e.is_step_failure]
    assert "whose query failed: bad" in str(failure.step_failure_data.error)


@pytest.mark.long("test_what_a_night_makes_lists_and_asks_cohorts")
def test_a_night_lists_checks_and_asks_cohorts(run, stored, archive, instance):
    # Overwritten in place, under the old name: no folder has changed.
    (archive / "a/ct.dcm").write_bytes((archive / "a/plan.dcm").read_bytes())
    done = run("nightly")
    assert done.success
    assert all(check.passed for check in done.get_asset_check_evaluations())
    shown = made(done)
    assert set(shown) == {"source_listing", "vanished_files", "cohort_runs"}
    assert shown["source_listing"]["waiting"].value == planned_batches(stored) == ["000003"]
    assert "000003" in instance.get_dynamic_partitions("batch")
    assert "| mr |  | mr-0001 | 1 | yes |  |" in shown["cohort_runs"]["runs"].value
    again = made(run("nightly"))["cohort_runs"]
    assert (again["questions"].value, again["changed"].value) == (1, 0)


def test_checks_of_a_store_that_contradicts_itself_hold_cohorts_back(stored):
    base = delta.snapshot(stored)
    with locks.locked(stored):
        lost = Change(remove=list(base.parts["instances"]))
        delta.commit(stored, {"instances": lost}, base, "lose all instances")
    catalog = open_catalog(stored)
    waits_for = {key.to_user_string() for key in cohort_runs.asset_deps[cohort_runs.key]}
    failed = {
        name for name, model in CHECKS.items()
        if model.severity == "error" and set(model.depends) <= STORED
        and not check_result(catalog, model).passed
    }  # fmt: skip
    assert failed
    for name in failed:
        spec = check_spec(CHECKS[name])
        assert spec.blocking
        assert spec.asset_key.to_user_string() in waits_for


@pytest.mark.long("test_checks_of_a_store_that_contradicts_itself_hold_cohorts_back")
def test_no_cohort_is_asked_of_a_store_that_contradicts_itself(run, stored):
    base = delta.snapshot(stored)
    with locks.locked(stored):
        lost = Change(remove=list(base.parts["instances"]))
        delta.commit(stored, {"instances": lost}, base, "lose all instances")
    done = run("nightly", raise_on_error=False)
    assert not done.success
    assert set(made(done)) == {"source_listing", "vanished_files"}
    assert not (Path(stored) / "cohorts/runs").exists()


@pytest.mark.long("test_what_a_night_makes_lists_and_asks_cohorts")
def test_a_cohort_that_cannot_be_asked_fails_the_night_and_is_named(run, stored):
    (Path(stored) / "cohorts/bad.sql").write_text("-- Bad.\nselect x from nowhere\n")
    done = run("nightly", raise_on_error=False)
    assert not done.success
    [failure] = [e for e in done.all_events if e.is_step_failure]
    assert "whose query failed: bad" in str(failure.step_failure_data.error)
    assert (Path(stored) / "cohorts/runs/mr-0001").is_dir()


def test_text_of_files_stays_in_its_cell():
    table = _table(["reason", "files", "first"], [("a | b\n<b>`c`", 1200, "/x/\u202e\t|")])
    # What reorders the line that is read is escaped too, and `>` with `<`.
    assert table.splitlines()[2:] == [r"| a \| b\\n&lt;b&gt;\`c\` | 1,200 | /x/\\u202e\\t\| |"]
    assert _table(["x"], []) == "none"


def test_a_plot_has_a_bar_per_day():
    lines = _bar_table([("2026-01-01", 40), ("2026-01-02", 1), ("2026-01-03", 20)]).splitlines()
    assert [line.count("█") for line in lines[2:]] == [40, 1, 20]
    assert _bar_table([]) == "none"
