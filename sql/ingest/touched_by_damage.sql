-- The files whose rows are damaged, with their series as far as it can still be read.
--
-- reads:     files, harmed
-- variables: instances
select
    files.path,
    files.mode,
    min(instances.SeriesInstanceUID) as SeriesInstanceUID
from files
semi join harmed using (instance_id)
left join read_parquet(getvariable('instances')) as instances using (instance_id)
where files.status = 'ingested'
group by files.path, files.mode
order by files.path
