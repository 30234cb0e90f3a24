-- How many files were rejected for each reason, the most frequent first.
--
-- reads:     files
select coalesce(reason, 'not stated') as reason, count(*) as n
from files
where status = 'rejected'
group by all
order by n desc, reason asc
