-- Jobs of an algorithm, of a version of it, and in a state; a parameter that is null selects all.
select
    job_id,
    algorithm,
    series_key,
    item,
    label,
    attempt,
    exec_seconds,
    error_message
from jobs
where
    ($1::varchar is null or algorithm = $1)
    and ($2::bigint is null or algorithm_version = $2)
    and ($3::varchar is null or label = $3)
order by created_at, job_id
