-- The files that a batch holds, to read them anew.
select path, instance_id
from files
where batch = getvariable('batch')
order by path
