-- One row per event of a job: the state that it began, and its duration.
--
-- The last state of a job that is done lasts for ever: its end is null.
--
-- grain:   job_id, event
-- depends: job_events, job_statuses
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  event | BIGINT | number of the event, from 0
-- column:  what | VARCHAR | name of the event
-- column:  attempt | BIGINT | number of the attempt, from 0
-- column:  status | BIGINT | state, as in `job_statuses`
-- column:  label | VARCHAR | the same in words
-- column:  began_at | TIMESTAMP | when the state began, UTC
-- column:  ended_at | TIMESTAMP | when it ended, UTC; null for the present one
-- column:  seconds | DOUBLE | how long it lasted; null for the present one
-- column:  happened_by | VARCHAR | who caused it, as stated
-- column:  error_message | VARCHAR | what went wrong; empty if nothing did
create or replace view job_times as
select
    job_events.job_id,
    job_events.event,
    job_events.what,
    job_events.attempt,
    job_events.status,
    job_statuses.label,
    job_events.happened_at as began_at,
    lead(job_events.happened_at) over (
        partition by job_events.job_id order by job_events.event
    ) as ended_at,
    date_diff('microsecond', began_at, ended_at) / 1e6 as seconds,
    job_events.happened_by,
    job_events.error_message
from job_events
inner join job_statuses on job_events.status = job_statuses.code;
