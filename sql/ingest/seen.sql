-- Listed files that need not be read again, by what they were found to be.
--
-- reads:     files, listed, unseen
select files.status, count(*) as n
from listed
join files using (path)
where listed.path not in (select path from unseen)
group by files.status
