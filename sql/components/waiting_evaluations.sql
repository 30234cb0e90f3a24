-- Evaluations by a method ($1) of a version of an algorithm ($2) that wait for its jobs, except one of them ($3).
select job_id
from jobs
where algorithm = $1 and item = $2 and job_id <> $3 and label = 'Executing Algorithm'
