-- Listed files that need not be read again, by what they were found to be.
--
-- reads:     files, listed, unseen
-- variables: first_path, last_path
select files.status, count(*) as n
from listed
join files using (path)
where
    files.path between getvariable('first_path') and getvariable('last_path')
    and listed.path not in (select path from unseen)
group by files.status
