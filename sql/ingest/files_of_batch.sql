-- The files that a batch holds, to read them anew.
--
-- reads:     files
-- variables: batch
select path, instance_id, size_bytes, epoch_us(modified_at) as modified_us
from files
where batch = getvariable('batch')
order by path
