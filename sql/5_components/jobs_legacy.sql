-- One row per job, with the columns that the older edition of Grand Challenge had.
--
-- grain:   job_id
-- depends: jobs, job_events
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  status | BIGINT | state, as in `job_statuses`
-- column:  started_at | TIMESTAMP | when the newest attempt began to execute, UTC; null before
-- column:  completed_at | TIMESTAMP | when the job ended, UTC; null before
-- column:  duration_seconds | DOUBLE | from one to the other
-- column:  compute_cost_euro_millicents | BIGINT | as in `jobs`, 1000th of a euro cent; null before the job has ended
create or replace view jobs_legacy as
with
starts as (
    select job_id, attempt, max(happened_at) as started_at from job_events
    where status = 8
    group by job_id, attempt
)
select
    jobs.job_id,
    jobs.status,
    starts.started_at,
    if(jobs.is_final, jobs.changed_at, null) as completed_at,
    date_diff('microsecond', starts.started_at, completed_at) / 1e6 as duration_seconds,
    jobs.compute_cost_euro_millicents
from jobs
left join starts on jobs.job_id = starts.job_id and jobs.attempt = starts.attempt;
