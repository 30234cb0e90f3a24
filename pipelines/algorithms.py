"""Define assets that run algorithms over cohorts: create jobs, execute them, store their outputs.

A partition is an algorithm over a run of a cohort, ``ALGORITHM@RUN``. Finished jobs are not
executed again, so materializing a partition again executes the missing ones. The events of jobs are
a table, which ``algorithm_outputs`` reports as materialized.
"""

import dagster as dg

from pipelines.partitions import algorithm_runs, partition_of
from pipelines.resources import Intake

GROUP = "6_algorithms"


def parted(key: str) -> tuple[str, str]:
    """Return the algorithm and the cohort run of a partition key."""
    algorithm, _, run = key.partition("@")
    return algorithm, run


@dg.asset(
    name="algorithm_jobs", deps=["cohort_runs"], partitions_def=algorithm_runs, group_name=GROUP,
    kinds={"deltalake"},
)  # fmt: skip
def algorithm_jobs(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> dg.MaterializeResult[None]:
    """Jobs of an algorithm for the members of a run, with their inputs; queued, not executed."""
    algorithm, run = parted(partition_of(context, "ALGORITHM@RUN"))
    queued = intake.warehouse().algorithms.queue(algorithm, run)
    return dg.MaterializeResult(
        metadata={"cases": queued.cases, "new": queued.new, "no_interface": len(queued.unmatched)}
    )


@dg.asset(
    name="algorithm_outputs", deps=[algorithm_jobs], partitions_def=algorithm_runs,
    group_name=GROUP, kinds={"python", "docker"}, pool="algorithms",
)  # fmt: skip
def algorithm_outputs(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> dg.MaterializeResult[None]:
    """Execute the jobs that are not done, on a Dask scheduler if one is set; store outputs."""
    algorithm, run = parted(partition_of(context, "ALGORITHM@RUN"))
    wh = intake.warehouse()
    done = wh.algorithms.run(algorithm, run, scheduler=intake.settings.scheduler)
    counts = {
        "cases": done.cases, "succeeded": done.succeeded, "failed": done.failed,
        "done_before": done.done_before, "seconds": done.seconds,
    }  # fmt: skip
    context.log_event(dg.AssetMaterialization("job_events", metadata=counts))
    first = [f"{job}: {why}" for job, why in list(done.failures.items())[:20]]
    return dg.MaterializeResult(metadata=counts | {"failures": first})


@dg.asset(
    name="algorithm_annotations", deps=[algorithm_outputs], partitions_def=algorithm_runs,
    group_name=GROUP, kinds={"duckdb"},
)  # fmt: skip
def algorithm_annotations(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> dg.MaterializeResult[None]:
    """Count the shapes in the outputs of a run, by socket."""
    algorithm, run = parted(partition_of(context, "ALGORITHM@RUN"))
    counts = intake.warehouse().algorithms.shape_counts(algorithm, run)
    return dg.MaterializeResult(metadata={"shapes": sum(counts.values()), "by_socket": counts})
