-- Instances that are of another series than before, although no part with their elements went.
--
-- A rebuild may find so; sets of elements are counted by series, and have to be counted again.
select count(*) as instance_count
from read_parquet(getvariable('gone_instances')) as gone
join read_parquet(getvariable('came_instances')) as came on gone.instance_id = came.instance_id
where gone.series_key is distinct from came.series_key
