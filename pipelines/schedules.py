"""Define schedules, which are stopped until a user starts them."""

import dagster as dg

from pipelines.jobs import nightly, run_algorithm
from pipelines.maintenance import maintain
from pipelines.partitions import algorithm_runs
from pipelines.resources import Intake

every_night = dg.ScheduleDefinition(
    name="every_night",
    job=nightly,
    cron_schedule="0 2 * * *",
    # The time zone of the machine: scanners nearby are idle at night.
    execution_timezone=None,
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

every_morning = dg.ScheduleDefinition(
    name="every_morning",
    job=maintain,
    cron_schedule="0 4 * * *",
    execution_timezone=None,
    default_status=dg.DefaultScheduleStatus.STOPPED,
)


@dg.schedule(
    name="new_members",
    job=run_algorithm,
    cron_schedule="0 3 * * *",
    execution_timezone=None,
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def new_members(
    context: dg.ScheduleEvaluationContext, intake: dg.ResourceParam[Intake]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Run algorithms over the newest run of their cohorts, which ``every_night`` creates."""
    if not intake.algorithms:
        return dg.SkipReason("no algorithms: set DICOM_WAREHOUSE_ALGORITHMS=algorithm@cohort")
    wh = intake.warehouse()
    keys = [f"{name}@{wh.find_run(cohort).run}" for name, cohort in intake.algorithms]
    context.instance.add_dynamic_partitions(str(algorithm_runs.name), keys)
    return [dg.RunRequest(run_key=key, partition_key=key) for key in keys]
