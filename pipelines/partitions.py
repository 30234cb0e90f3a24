"""Partitions of stored tables. One partition = one ingest batch = one Parquet folder ``batch=KEY``.

Keys are given out by the warehouse (``warehouse.ingest.plan``), not here; sensor and job register
them with Dagster.
"""

import dagster as dg

batches = dg.DynamicPartitionsDefinition(name="batch")

algorithm_runs = dg.DynamicPartitionsDefinition(name="algorithm_run")
"""``ALGORITHM@RUN``: an algorithm over the run of a cohort; schedule ``new_members`` adds them."""
