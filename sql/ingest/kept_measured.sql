-- One part of `measured_segments`, in its order, without segmentations that are erased, or that lie on an erased grid.
--
-- reads:     erased_entities
-- variables: part
select stored.* exclude (batch)
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where
    stored.instance_key not in (select key from erased_entities where level = 'instance')
    and coalesce(stored.grid_series_uid, '') not in (select key from erased_entities where level = 'series')
