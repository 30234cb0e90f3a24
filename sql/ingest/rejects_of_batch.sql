-- The first rejected files of a batch, for the report.
select path, reason
from files
where batch = getvariable('batch') and status = 'rejected'
order by path
limit 100
