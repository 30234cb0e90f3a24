"""Define schedules, which are stopped until a user starts them."""

import os
import zoneinfo

import dagster as dg

from pipelines.jobs import nightly, run_algorithm
from pipelines.maintenance import maintain
from pipelines.partitions import algorithm_runs
from pipelines.resources import Intake


def time_zone() -> str:
    """Return the IANA name of the time zone of this machine, by ``$TZ`` or ``/etc/localtime``.

    UTC if neither names one. Dagster itself takes UTC for a schedule without a time zone.
    """
    stated = os.environ.get("TZ", "").removeprefix(":")
    if not stated and os.path.islink("/etc/localtime"):
        stated = os.readlink("/etc/localtime")
    name = stated.rpartition("zoneinfo/")[2]
    return name if name in zoneinfo.available_timezones() else "UTC"


every_night = dg.ScheduleDefinition(
    name="every_night",
    job=nightly,
    cron_schedule="0 2 * * *",
    # Scanners nearby are idle at night.
    execution_timezone=time_zone(),
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

every_morning = dg.ScheduleDefinition(
    name="every_morning",
    job=maintain,
    cron_schedule="0 4 * * *",
    execution_timezone=time_zone(),
    default_status=dg.DefaultScheduleStatus.STOPPED,
)


@dg.schedule(
    name="new_members",
    job=run_algorithm,
    cron_schedule="0 3 * * *",
    execution_timezone=time_zone(),
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
