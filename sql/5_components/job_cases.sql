-- One row per algorithm and case: the job that counts.
--
-- A case is a series, or an item of a set, or a job alone. Of several jobs of one case that of the newest
-- version of the algorithm counts, and of those the one that was asked for last.
--
-- grain:   algorithm, job_id
-- depends: jobs
-- column:  algorithm | VARCHAR | key to `algorithms`
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  series_key | VARCHAR | key to `series`; null for an item without one
-- column:  item | VARCHAR | item of a set; null for a series of a cohort
-- column:  algorithm_version | BIGINT | version of the algorithm
-- column:  status | BIGINT | state, as in `job_statuses`
-- column:  label | VARCHAR | the same in words
-- column:  why_not | VARCHAR | why there are no outputs; null if there are
create or replace view job_cases as
select
    algorithm,
    job_id,
    series_key,
    item,
    algorithm_version,
    status,
    label,
    case
        when status <> 4 and error_message <> '' then error_message
        when status <> 4 then concat('the job is in state ', label)
    end as why_not
from jobs
qualify
    row_number() over (
        partition by algorithm, coalesce(item, series_key, job_id)
        order by algorithm_version desc, created_at desc, job_id desc
    ) = 1;
