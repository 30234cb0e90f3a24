-- One part of `job_specs` or `job_events`, in its order, without jobs that are erased.
--
-- reads:     gone_jobs
-- variables: part
select stored.* exclude (batch)
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where stored.job_id not in (select job_id from gone_jobs)
