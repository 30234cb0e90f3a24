"""What runs at an hour. Off until somebody switches it on."""

import dagster as dg

from pipelines.jobs import nightly
from pipelines.maintenance import maintain

every_night = dg.ScheduleDefinition(
    name="every_night",
    job=nightly,
    cron_schedule="0 2 * * *",
    # Of the machine: nights are quiet where the scanners stand.
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
