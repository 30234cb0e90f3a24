"""A cohort leads to jobs, outputs and annotations, a partition at a time."""

import shutil

import dagster as dg
import pytest

import warehouse
from pipelines.algorithms import algorithm_outputs
from pipelines.definitions import build_definitions
from pipelines.resources import Intake, IntakeResource
from pipelines.schedules import new_members
from tests.algorithms.conftest import FUNCTIONS, template  # noqa: F401 - a fixture
from warehouse.settings import IngestSettings


@pytest.mark.usefixtures("asked_here")
def test_a_partition_has_the_outputs_of_an_algorithm_for_a_run(
    template, instance, tmp_path, monkeypatch  # noqa: F811
):  # fmt: skip
    """The schedule and an asset by themselves, without the job that connects them."""
    root = tmp_path / "w"
    shutil.copytree(template, root)
    wh = warehouse.open(root)
    wh.algorithms.create("spots", "ct -> spots", function=f"{FUNCTIONS}:spots")
    wh.save_cohort("cts", "select series_key from instances where series_key = '1.2.10'")
    run = wh.cohort("cts").run
    settings = IngestSettings(workers=1)
    intake = Intake(root=root, sources=(), settings=settings, algorithms=(("spots", "cts"),))
    # A context gives the instance to nobody if it is in memory.
    monkeypatch.setattr(dg.ScheduleEvaluationContext, "instance", instance)
    (request,) = new_members(dg.build_schedule_context(), intake=intake)
    assert request.partition_key == f"spots@{run}"
    assert instance.has_dynamic_partition("algorithm_run", request.partition_key)
    context = dg.build_asset_context(partition_key=request.partition_key, instance=instance)
    for succeeded, done_before in ((1, 0), (0, 1)):
        counts = algorithm_outputs(context, intake=intake).metadata
        assert (counts["succeeded"], counts["done_before"]) == (succeeded, done_before)


@pytest.mark.long("test_a_partition_has_the_outputs_of_an_algorithm_for_a_run")
@pytest.mark.usefixtures("asked_here")
@pytest.mark.acceptance("G69")
@pytest.mark.acceptance("G70")
def test_the_new_members_of_a_cohort_every_night(template, tmp_path):  # noqa: F811
    root = tmp_path / "w"
    shutil.copytree(template, root)
    wh = warehouse.open(root)
    wh.algorithms.create("spots", "ct -> spots", function=f"{FUNCTIONS}:spots")
    wh.save_cohort("cts", "select series_key from instances where Modality = 'CT'")
    run = wh.cohort("cts").run
    intake = IntakeResource(root=str(root), algorithms=["spots@cts"])
    definitions = build_definitions(intake)
    with dg.instance_for_test() as instance:
        schedule = definitions.resolve_schedule_def("new_members")
        resources = {"intake": intake}
        with dg.build_schedule_context(
            instance=instance, resources=resources, repository_def=definitions.get_repository_def()
        ) as context:
            (request,) = schedule.evaluate_tick(context).run_requests
        assert request.partition_key == f"spots@{run}"
        job = definitions.resolve_job_def("run_algorithm")
        for expected in ((2, 2, 0), (2, 0, 2)):
            done = job.execute_in_process(instance=instance, partition_key=request.partition_key)
            assert done.success
            metadata = {
                event.asset_key.to_user_string(): {k: v.value for k, v in event.materialization.metadata.items()}
                for event in done.get_asset_materialization_events()
            }  # fmt: skip
            outputs = metadata["algorithm_outputs"]
            assert (outputs["cases"], outputs["succeeded"], outputs["done_before"]) == expected
            assert metadata["job_events"]["succeeded"] == expected[1]
            assert metadata["algorithm_annotations"]["shapes"] == 4
    wh.refresh()
    assert wh.sql("select label, asked_for from jobs").fetchall() == [("Succeeded", run)] * 2
