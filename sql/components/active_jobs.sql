-- How many jobs stand in one of the states in $1, of each algorithm and of who asked for them.
select
    job_specs.algorithm,
    job_specs.created_by,
    count(*) as job_count
from job_specs
inner join (
    select
        job_id,
        arg_max(status, event) as status
    from job_events
    group by job_id
) as newest on job_specs.job_id = newest.job_id
where newest.status in (select unnest($1))
group by job_specs.algorithm, job_specs.created_by
