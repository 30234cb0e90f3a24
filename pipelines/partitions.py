"""Define partitions of stored tables: a partition is an ingest batch, the folder ``batch=KEY``.

The warehouse assigns the keys (``warehouse.ingest.plan``); the sensor and the asset of the sources
register them with Dagster.
"""

import dagster as dg

batches = dg.DynamicPartitionsDefinition(name="batch")

algorithm_runs = dg.DynamicPartitionsDefinition(name="algorithm_run")
"""``ALGORITHM@RUN``: an algorithm over the run of a cohort; schedule ``new_members`` adds them."""


def partition_of(context: dg.AssetExecutionContext, named: str) -> str:
    """Return the partition key of a run, which commands can leave out or give as a range.

    Raises
    ------
    dagster.Failure
        The run has no partition, or several.
    """
    if not context.has_partition_key:
        raise dg.Failure(
            f"the run is of no single partition: choose one, {named}, in the launchpad or with "
            "dagster asset materialize --partition KEY; for several, start a backfill",
            allow_retries=False,
        )
    key: str = context.partition_key
    return key
