"""What starts runs by itself. Off until somebody switches it on."""

import dagster as dg

from pipelines.assets import stored_tables
from pipelines.jobs import ingest
from pipelines.partitions import batches
from pipelines.resources import Intake
from warehouse.ingest import plan, planned_batches, stored_batches
from warehouse.store.delta import identity


@dg.sensor(
    name="new_files",
    job=ingest,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def new_files(
    context: dg.SensorEvaluationContext, intake: dg.ResourceParam[Intake]
) -> dg.SensorResult | dg.SkipReason:
    """Look for new and changed files in the sources; start one run per batch of them.

    Batches that came by another road (the command line) become partitions too, so that Dagster
    shows every folder of the store.
    """
    if not intake.sources:
        return dg.SkipReason("no sources: set DICOM_WAREHOUSE_SOURCES, see docs/how-to/schedule.md")
    plan(intake.root, intake.sources, intake.settings)
    planned, warehouse_id = planned_batches(intake.root), identity(intake.root)
    known = context.instance.get_dynamic_partitions(str(batches.name))
    others = [key for key in stored_batches(intake.root) if key not in known and key not in planned]
    return dg.SensorResult(
        # A batch whose run failed stays planned: its run key keeps it from being started again and
        # again. With the warehouse in the key, a new warehouse may count from 1 again.
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
