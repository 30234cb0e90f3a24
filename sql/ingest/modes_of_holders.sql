-- In which mode the instances of some ids were read.
--
-- reads:     files
select instance_id, mode
from files
where status = 'ingested'
order by instance_id
