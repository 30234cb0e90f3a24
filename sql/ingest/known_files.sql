-- The files that are thought to be there.
--
-- reads:     files
select path, batch, size_bytes, modified_at
from files
where status <> 'removed'
order by path
