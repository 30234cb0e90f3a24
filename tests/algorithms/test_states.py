"""States of jobs as data, and what SQL says of the events: times, attempts, averages, cost."""

from __future__ import annotations

import datetime as dt
import math
import shutil
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT, function
from warehouse.algorithms import jobs
from warehouse.algorithms.jobs import Case, Event, Input, record, spec_of
from warehouse.algorithms.registry import cheapest, find_algorithm
from warehouse.algorithms.states import MAX_ATTEMPT, NEW, statuses, step, transitions
from warehouse.components.checking import now
from warehouse.errors import AlgorithmError, TransitionRefused

START = now()


def made(wh: warehouse.Warehouse, name: str = "grow", count: int = 1, **given) -> list[str]:
    """Jobs of an algorithm that nobody runs."""
    wh.algorithms.create(name, "age -> voxel-count", function=function("by_age"), **given)
    algorithm = find_algorithm(wh.root, name)
    specs = []
    for number in range(count):
        value = wh.components.add_value("age", number).value_id
        specs.append(
            spec_of(algorithm, Case(algorithm.interfaces[0], (Input("age", value),)), by="me")
        )
    jobs.add_jobs(wh.root, specs)
    wh.refresh()
    return [spec.job_id for spec in specs]


@pytest.fixture(scope="module")
def archive(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A warehouse with one job, and the id of it. Not to be changed: take ``queued``."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("queued") / "w")
    with warehouse.open(root) as wh:
        return root, made(wh)[0]


@pytest.fixture
def queued(archive: tuple[Path, str], tmp_path: Path) -> tuple[warehouse.Warehouse, str]:
    """A warehouse with one job, of its own for a test."""
    return warehouse.open(shutil.copytree(archive[0], tmp_path / "w")), archive[1]


def happened(wh: warehouse.Warehouse, job_id: str, *events: tuple) -> None:
    """Let events happen, each a name, seconds after the start, and columns."""
    some = [
        Event(
            job_id,
            what,
            START + dt.timedelta(days=9999, seconds=seconds),
            "me",
            more[0] if more else {},
        )
        for what, seconds, *more in events
    ]
    assert record(wh.root, some) == {}
    wh.refresh()


@pytest.mark.acceptance("G37")
def test_fourteen_states_are_a_table(queued: tuple[warehouse.Warehouse, str]) -> None:
    wh, job_id = queued
    # The source: Grand Challenge's ComponentJob.STATUS_CHOICES.
    labels = [
        "Queued", "Started", "Re-Queued", "Failed", "Succeeded", "Cancelled", "Provisioning", "Provisioned",
        "Executing", "Executed", "Parsing Outputs", "Executing Algorithm", "External Execution In Progress",
        "Validating inputs",
    ]  # fmt: skip
    assert wh.sql("select code, label from job_statuses order by code").fetchall() == list(
        enumerate(labels)
    )
    final, active = wh.sql(
        "select list(code order by code) filter (is_final), list(code order by code) filter (is_active) from job_statuses"
    ).fetchall()[0]
    assert final == [3, 4, 5]
    assert active == [code for code in range(14) if code not in {3, 4, 5, 12}]
    never = wh.sql(
        "select list(code order by code) from job_statuses where not is_ever_set"
    ).fetchall()
    assert never == [([1, 6, 10],)]
    row = wh.sql("from jobs").pl().row(0, named=True)
    wanted = {
        "status", "attempt", "stdout", "stderr", "exec_seconds", "invoke_seconds", "error_message",
        "detailed_error_message", "time_limit_s", "requires_gpu_type", "requires_memory_gb", "use_warm_pool",
        "created_at", "created_by", "image_id", "model_id", "interface_id",
    }  # fmt: skip
    assert wanted <= set(row)
    assert (row["job_id"], row["label"], row["is_active"]) == (job_id, "Queued", True)


@pytest.mark.acceptance("G38")
@pytest.mark.parametrize("event", sorted({event for event, _ in transitions()}))
def test_what_is_not_allowed_raises(event: str) -> None:
    for code in (NEW, *statuses()):
        found = transitions().get((event, code))
        if found:
            assert step(event, code) == found
            assert found.status in statuses()
        else:
            with pytest.raises(TransitionRefused, match="possible"):
                step(event, code)


@pytest.mark.acceptance("G38")
def test_a_forbidden_event_changes_nothing(queued: tuple[warehouse.Warehouse, str]) -> None:
    wh, job_id = queued
    with pytest.raises(TransitionRefused, match="Queued cannot be 'parsed'"):
        jobs.happen(wh.root, job_id, "parsed")
    assert jobs.states(wh.root, [job_id])[job_id].event == 0
    # Of several jobs, only the one that cannot is left out.
    other = made(wh, "other")[0]
    refused = record(wh.root, [Event(job_id, "executed", now()), Event(other, "cancelled", now())])
    assert list(refused) == [job_id]
    assert jobs.states(wh.root, [other])[other].status == 5


@pytest.mark.acceptance("G39")
def test_times_in_states_add_up(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    wh.run_algorithm("measure", [CT], workers=0)
    ((label, attempts, total, lifetime),) = wh.sql("""
        select any_value(jobs.label), max(job_times.attempt), sum(seconds),
            date_diff('microsecond', any_value(created_at), any_value(changed_at)) / 1e6
        from job_times join jobs using (job_id)
    """).fetchall()
    assert (label, attempts) == ("Succeeded", 0)
    assert math.isclose(total, lifetime, abs_tol=1e-3)
    order = wh.sql("select what, label from job_times order by event").fetchall()
    assert order == [
        ("created by system", "Queued"), ("provisioned", "Provisioned"), ("started", "Executing"),
        ("executed", "Executed"), ("parsed", "Succeeded"),
    ]  # fmt: skip


@pytest.mark.acceptance("G41")
@pytest.mark.acceptance("G66")
def test_wishes_have_bounds(wh: warehouse.Warehouse) -> None:
    for seconds in (299, 86_401):
        with pytest.raises(AlgorithmError, match="300 to 86400"):
            made(wh, time_limit_s=seconds)
    for seconds in (300, 86_400):
        made(wh, f"a{seconds}", time_limit_s=seconds)
    for memory in (3, 33):
        with pytest.raises(AlgorithmError, match="4 to 32"):
            made(wh, requires_memory_gb=memory)
    with pytest.raises(AlgorithmError, match="no GPU of type 'H9000'"):
        made(wh, requires_gpu_type="H9000")
    table = wh.sql(
        "select instance, gpu_type, memory_gb, usd_cents_per_hour from hardware where gpu_count <= 1"
    ).fetchall()
    for gpu, memory in (("", 8), ("", 9), ("T4", 16), ("T4", 17), ("A10G", 4)):
        fitting = [row for row in table if row[1] == gpu and row[2] >= memory]
        assert cheapest(gpu, memory).instance == min(fitting, key=lambda row: row[3])[0]
    assert (
        cheapest("", 8).instance == min((r for r in table if not r[1]), key=lambda row: row[3])[0]
    )


@pytest.mark.acceptance("G42")
def test_a_job_that_is_tried_again_is_the_same_job(queued: tuple[warehouse.Warehouse, str]) -> None:
    wh, job_id = queued
    for _ in range(3):
        happened(wh, job_id, ("provisioned", 0), ("started", 1), ("interrupted", 2), ("retried", 3))
    assert wh.sql("select job_id, attempt, label from jobs").fetchall() == [(job_id, 3, "Queued")]
    assert step("retried", 7, MAX_ATTEMPT - 1).attempt_step == 1
    for what, status in (("retried", 7), ("requeued", 3), ("requeued", 5)):
        with pytest.raises(TransitionRefused, match="attempt 100"):
            step(what, status, MAX_ATTEMPT)


@pytest.mark.acceptance("G43")
def test_messages_are_cut_and_details_are_by_title(queued: tuple[warehouse.Warehouse, str]) -> None:
    wh, job_id = queued
    more = {"error_message": "x" * 2000, "detailed_error_message": {"Age": "it is too old"}}
    happened(wh, job_id, ("not provisioned", 0, more))
    ((length, detail),) = wh.sql(
        "select length(error_message), detailed_error_message ->> 'Age' from jobs"
    ).fetchall()
    assert (length, detail) == (1024, "it is too old")


@pytest.mark.acceptance("G44")
@pytest.mark.acceptance("G45")
@pytest.mark.acceptance("G67")
def test_durations_averages_and_cost(wh: warehouse.Warehouse) -> None:
    ids = made(wh, count=4)
    for job_id, seconds, end in zip(
        ids, (2.0, 4.0, 0.0, 100.0), ("parsed", "parsed", "parsed", "failed"), strict=True
    ):
        fields = {
            "exec_seconds": seconds,
            "invoke_seconds": seconds / 2,
            "utilization_seconds": seconds + 1,
        }
        last = (
            [("executed", 20, fields), ("parsed", 21)]
            if end == "parsed"
            else [("failed", 20, fields)]
        )
        happened(wh, job_id, ("provisioned", 5), ("started", 10), *last)
    # By hand: of 2, 4, 0 (zero) and 100 (failed), the mean of 2 and 4.
    row = wh.sql("""
        select job_count, succeeded, failed, mean_exec_seconds, mean_invoke_seconds, compute_cost_euro_millicents
        from algorithm_averages
    """).fetchall()
    # By hand: cents per hour with 21 % tax, 1000 millicents, 0.92472705 euro a dollar, rounded up.
    costs = [
        math.ceil((s + 1) / 3600 * 12.1 * 1.21 * 1000 * 0.92472705) for s in (2.0, 4.0, 0.0, 100.0)
    ]
    assert row == [(4, 3, 1, 3.0, 1.5, sum(costs))]
    assert wh.sql(
        "select exec_seconds, invoke_seconds, utilization_seconds from jobs where exec_seconds = 2"
    ).fetchall() == [(2.0, 1.0, 3.0)]
    assert wh.sql("select job_cost(3600, 100)").fetchall() == [
        (math.ceil(100 * 1.21 * 1000 * 0.92472705),)
    ]
    legacy = wh.sql(
        "select started_at, completed_at, duration_seconds from jobs_legacy where status = 4"
    ).fetchall()
    begin = START + dt.timedelta(days=9999, seconds=10)
    assert legacy[0] == (begin, begin + dt.timedelta(seconds=11), 11.0)


@pytest.mark.acceptance("G57")
def test_measurements_are_a_time_series(queued: tuple[warehouse.Warehouse, str]) -> None:
    wh, job_id = queued
    metrics = {
        "metric_names": ["cpu_count", "cpu_percent", "cpu_percent", "memory_bytes"],
        "metric_seconds": [0.0, 1.0, 2.0, 1.0], "metric_values": [4.0, 200.0, 400.0, 1e6],
    }  # fmt: skip
    # Times count from the last start of the attempt, not from its end.
    happened(
        wh, job_id, ("provisioned", 0), ("started", 1), ("capacity", 2), ("started", 10),
        ("executed", 13, metrics),
    )  # fmt: skip
    rows = wh.sql("""
        select metric, value, cpu_fraction, epoch(measured_at - $1) from job_metrics
        order by metric, measured_at
    """, [START + dt.timedelta(days=9999)]).fetchall()  # fmt: skip
    assert rows == [
        ("cpu_count", 4.0, None, 10.0), ("cpu_percent", 200.0, 0.5, 11.0),
        ("cpu_percent", 400.0, 1.0, 12.0), ("memory_bytes", 1e6, None, 11.0),
    ]  # fmt: skip


def test_the_cost_is_that_of_all_attempts_when_the_job_has_ended(
    queued: tuple[warehouse.Warehouse, str],
) -> None:
    wh, job_id = queued
    query = "select utilization_seconds, compute_cost_euro_millicents from jobs"
    begin = ("provisioned", 0), ("started", 0)
    happened(wh, job_id, *begin, ("failed", 1, {"utilization_seconds": 36000.0}))
    # By hand: as in test_durations_averages_and_cost, for 10 hours, and then for 10 seconds more.
    first, both = (
        math.ceil(s / 3600 * 12.1 * 1.21 * 1000 * 0.92472705) for s in (36000.0, 36010.0)
    )
    assert wh.sql(query).fetchall() == [(36000.0, first)]
    happened(
        wh, job_id, ("requeued", 2), *begin, ("executed", 9, {"utilization_seconds": 10.0})
    )  # fmt: skip
    assert wh.sql(query).fetchall() == [(10.0, None)]
    happened(wh, job_id, ("parsed", 10))
    assert wh.sql(query).fetchall() == [(10.0, both)]
    averages = "select compute_cost_euro_millicents from algorithm_averages"
    assert wh.sql(averages).fetchall() == [(both,)]
