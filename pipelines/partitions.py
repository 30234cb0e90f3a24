"""Define partitions of stored tables: a partition is an ingest batch, the folder ``batch=KEY``.

The warehouse assigns the keys (``warehouse.ingest.plan``); the sensor and the asset of the sources
register them with Dagster.
"""

import dagster as dg

batches = dg.DynamicPartitionsDefinition(name="batch")

algorithm_runs = dg.DynamicPartitionsDefinition(name="algorithm_run")
"""``ALGORITHM@RUN``: an algorithm over the run of a cohort; schedule ``new_members`` adds them."""
