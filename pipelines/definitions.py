"""Assemble the Dagster definitions."""

import dagster as dg

from pipelines.algorithms import algorithm_annotations, algorithm_jobs, algorithm_outputs
from pipelines.assets import cohort_runs, source_listing, stored_tables, vanished_files, views
from pipelines.checks import checks, values_are_valid
from pipelines.jobs import check, ingest, measure, nightly, plan_batches, run_algorithm, vanished
from pipelines.maintenance import maintain
from pipelines.resources import IntakeResource
from pipelines.schedules import every_morning, every_night, new_members
from pipelines.segments import segment_measurements
from pipelines.sensors import new_files


def build_definitions(intake: IntakeResource | None = None) -> dg.Definitions:
    """Return the definitions, with an intake of the environment unless another is given."""
    return dg.Definitions(
        assets=[
            source_listing,
            vanished_files,
            stored_tables,
            *views,
            segment_measurements,
            cohort_runs,
            algorithm_jobs,
            algorithm_outputs,
            algorithm_annotations,
        ],
        asset_checks=[checks, values_are_valid],
        jobs=[ingest, check, plan_batches, nightly, maintain, vanished, measure, run_algorithm],
        schedules=[every_night, every_morning, new_members],
        sensors=[new_files],
        resources={"intake": intake or IntakeResource()},
        # Steps share the process of their run: the library reads files in parallel, and a process
        # per check would cost more than the check.
        executor=dg.in_process_executor,
    )


defs = build_definitions()
