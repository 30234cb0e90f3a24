"""How stored tables are cut. One partition = one ingest batch = one Parquet folder ``batch=KEY``.

Keys are given out by the warehouse (``warehouse.ingest.plan``), not here; sensor and job register
them with Dagster.
"""

import dagster as dg

batches = dg.DynamicPartitionsDefinition(name="batch")
