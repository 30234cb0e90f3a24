-- The first rejected files among those that were listed, for the report.
--
-- reads:     all_listed, files
select files.path, files.reason
from files
semi join all_listed using (path)
where files.status = 'rejected'
order by files.path
limit 1000
