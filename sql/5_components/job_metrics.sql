-- One row per measurement while a job ran: memory and processors.
--
-- grain:   job_id, attempt, metric, measured_at
-- depends: job_events
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  attempt | BIGINT | number of the attempt, from 0
-- column:  metric | VARCHAR | cpu_percent: of one processor; cpu_count; memory_bytes
-- column:  measured_at | TIMESTAMP | when it was measured, UTC
-- column:  value | DOUBLE | what was measured: percent of one processor, a count, or bytes
-- column:  cpu_fraction | DOUBLE | of cpu_percent: part of all processors that it had, 0 to 1; null for others
create or replace view job_metrics as
with
every as (
    select
        job_id,
        attempt,
        unnest(metric_names) as metric,
        unnest(metric_seconds) as seconds,
        unnest(metric_values) as measured
    from job_events
    where metric_names is not null
),
starts as (
    select job_id, attempt, max(happened_at) as started_at from job_events
    where what = 'started'
    group by job_id, attempt
),
counts as (
    select job_id, attempt, max(measured) as cpu_count from every
    where metric = 'cpu_count'
    group by job_id, attempt
)
select
    every.job_id,
    every.attempt,
    every.metric,
    starts.started_at + to_microseconds(cast(every.seconds * 1e6 as bigint)) as measured_at,
    every.measured as "value",
    if(every.metric = 'cpu_percent', every.measured / (counts.cpu_count * 100), null) as cpu_fraction
from every
inner join starts on every.job_id = starts.job_id and every.attempt = starts.attempt
left join counts on every.job_id = counts.job_id and every.attempt = counts.attempt;
