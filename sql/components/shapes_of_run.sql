-- How many shapes the outputs of the jobs of a run hold, by socket.
select
    job_outputs.slug,
    count(*) as shape_count
from jobs
inner join job_outputs on jobs.job_id = job_outputs.job_id
inner join annotations on job_outputs.value_id = annotations.value_id
where jobs.algorithm = $1 and jobs.asked_for = $2 and jobs.status = 4
group by job_outputs.slug
order by job_outputs.slug
