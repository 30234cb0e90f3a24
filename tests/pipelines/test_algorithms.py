"""A cohort leads to jobs, outputs and annotations, a partition at a time."""

import shutil

import dagster as dg
import pytest

import warehouse
from pipelines.definitions import build_definitions
from pipelines.resources import IntakeResource
from tests.algorithms.conftest import FUNCTIONS, template  # noqa: F401 - a fixture


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
