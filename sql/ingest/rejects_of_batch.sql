-- The first rejected files of a batch, for the report.
--
-- reads:     files
-- variables: batch
select path, reason
from files
where batch = getvariable('batch') and status = 'rejected'
order by path
limit 100
