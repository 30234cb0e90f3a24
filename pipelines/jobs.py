"""What can be started by name: selections of assets and checks, and the planning of batches."""

import dagster as dg

from pipelines.assets import stored_tables
from pipelines.partitions import batches
from pipelines.resources import Intake
from warehouse.ingest import plan, planned_batches

ingest = dg.define_asset_job(
    "ingest",
    # With the checks of these tables. Those of views ask about the whole warehouse once more for
    # every batch and are left to the job below.
    selection=dg.AssetSelection.assets(stored_tables),
    description="Read one batch of files into the stored tables, and check them.",
)

check = dg.define_asset_job(
    "check",
    selection=dg.AssetSelection.all_asset_checks(),
    description="Run every check on the warehouse as it is, without reading a file.",
)


@dg.op
def plan_new_files(context: dg.OpExecutionContext, intake: dg.ResourceParam[Intake]) -> None:
    """Find new and changed files, put them down as batches, and make these partitions."""
    found = plan(intake.root, intake.sources, intake.settings)
    context.instance.add_dynamic_partitions(str(batches.name), planned_batches(intake.root))
    context.log.info("%d new batches: %s", len(found), ", ".join(found))


@dg.job(description="Find new files and make batches of them, to be materialised by hand.")
def plan_batches() -> None:
    """Do by a click what the sensor ``new_files`` does by itself, up to starting the runs."""
    plan_new_files()
