-- One part of `elements`, `instances` or `vendor_payloads`, in its order, without instances that have gone.
--
-- reads:     gone
-- variables: part
select stored.* exclude (batch)
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where stored.instance_id not in (select instance_id from gone)
