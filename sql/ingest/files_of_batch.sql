-- The files that a batch holds, to read them anew.
--
-- reads:     files
-- variables: batch
select path, instance_id
from files
where batch = getvariable('batch')
order by path
