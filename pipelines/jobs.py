"""Define jobs: named selections of assets and checks."""

import dagster as dg

from pipelines.algorithms import algorithm_annotations, algorithm_jobs, algorithm_outputs
from pipelines.assets import cohort_runs, source_listing, stored_tables, vanished_files
from pipelines.segments import segment_measurements

ingest = dg.define_asset_job(
    "ingest",
    # Includes the checks of these tables. Those of views would query the whole warehouse again for
    # every batch, so the jobs below run them.
    selection=dg.AssetSelection.assets(stored_tables),
    description="Read one batch of files into the stored tables, and check them.",
)

check = dg.define_asset_job(
    "check",
    selection=dg.AssetSelection.all_asset_checks(),
    description="Run every check on the warehouse, without reading a file.",
)

plan_batches = dg.define_asset_job(
    "plan_batches",
    selection=dg.AssetSelection.assets(source_listing),
    description="Find new files and plan batches of them, to be materialized by hand.",
)

nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.assets(source_listing, vanished_files, cohort_runs)
    | dg.AssetSelection.all_asset_checks(),
    description="List all sources, find vanished files, run every check, and run every cohort "
    "again if they pass.",
)

vanished = dg.define_asset_job(
    "vanished",
    selection=dg.AssetSelection.assets(vanished_files),
    description="Count files that vanished from the sources; remove rows if that is the policy.",
)

measure = dg.define_asset_job(
    "measure",
    selection=dg.AssetSelection.assets(segment_measurements),
    description="Count the voxels of new and changed segments, for their volumes.",
)

run_algorithm = dg.define_asset_job(
    "run_algorithm",
    selection=dg.AssetSelection.assets(algorithm_jobs, algorithm_outputs, algorithm_annotations),
    description="Run an algorithm over those members of a cohort run that it has not processed.",
)
