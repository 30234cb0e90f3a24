"""Define sensors, which are stopped until a user starts them."""

import time
from pathlib import Path

import dagster as dg

from pipelines.assets import stored_tables
from pipelines.jobs import ingest
from pipelines.partitions import batches
from pipelines.resources import Intake
from warehouse.dicom.objects import is_object
from warehouse.dicom.sources import folder_state
from warehouse.ingest import plan, planned_batches, stored_batches
from warehouse.store.layout import MARKER
from warehouse.store.marker import identity

SETTLED_SECONDS = 600
"""Folders that changed within this time before a tick are listed again: a file may have been listed
while it was written, which does not change its folder later."""


@dg.sensor(
    name="new_files",
    job=ingest,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def new_files(
    context: dg.SensorEvaluationContext, intake: dg.ResourceParam[Intake]
) -> dg.SensorResult | dg.SkipReason:
    """Find new and changed files in the sources; start one run per batch of them.

    While no folder has changed, only folders are checked and no files are listed. Files that are
    overwritten in place are found by the job ``nightly``.

    Batches of other ingests (the command line) become partitions, too, so that Dagster shows every
    batch of the store.
    """
    if not intake.sources:
        return dg.SkipReason("no sources: set DICOM_WAREHOUSE_SOURCES, see docs/how-to/schedule.md")
    state, settled = source_state(intake)
    if state is None or state != context.cursor:
        plan(intake.root, intake.looked_into(), intake.settings)
    planned, warehouse_id = planned_batches(intake.root), identity(intake.root)
    known = context.instance.get_dynamic_partitions(str(batches.name))
    others = [key for key in stored_batches(intake.root) if key not in known and key not in planned]
    return dg.SensorResult(
        cursor=state if settled else "",
        # A batch whose run failed stays planned: its run key prevents another start. The key has
        # the ID of the warehouse, because a new warehouse counts from 1 again.
        run_requests=[
            dg.RunRequest(run_key=f"{warehouse_id}/{key}", partition_key=key) for key in planned
        ],
        dynamic_partitions_requests=[batches.build_add_request([*planned, *others])],
        asset_events=[
            dg.AssetMaterialization(table, partition=key)
            for key in others
            for table in sorted(stored_tables.keys)
        ],
    )


def source_state(intake: Intake) -> tuple[str | None, bool]:
    """Return the state of the source folders and read settings, and whether it is settled.

    The state is None before the warehouse is created, and for buckets, which have no folder times.
    """
    if (
        any(is_object(source) for source in intake.sources)
        or not Path(intake.root, MARKER).exists()
    ):
        return None, False
    state = folder_state(intake.looked_into(), exclude=intake.root)
    settled = state.newest_us < (time.time() - SETTLED_SECONDS) * 1_000_000
    settings = intake.settings
    # Files that were rejected for a limit are read again with a higher one.
    limits = map(str, settings.limits.by_unit().values())
    read_settings = (settings.mode.value, *settings.patterns, *limits)
    return "/".join([identity(intake.root), state.digest, *read_settings]), settled
