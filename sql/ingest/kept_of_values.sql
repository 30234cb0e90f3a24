-- One part of `socket_values` or `annotations`, in its order, without values that are erased.
--
-- reads:     gone_values
-- variables: part
select stored.* exclude (batch)
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where stored.value_id not in (select value_id from gone_values)
