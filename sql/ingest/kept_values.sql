-- One part of `vendor_values`, in its order, without payloads that no instance holds any more.
--
-- reads:     released
-- variables: part
select stored.* exclude (batch)
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where stored.payload not in (select payload from released)
