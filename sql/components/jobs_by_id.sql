-- What the jobs with the ids in $1 are to do.
select * exclude (batch)
from job_specs
where job_id in (select unnest($1))
