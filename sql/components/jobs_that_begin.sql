-- Jobs whose id begins as $1 does: two are enough to know that it names none.
select * exclude (batch)
from job_specs
where starts_with(job_id, $1)
limit 2
