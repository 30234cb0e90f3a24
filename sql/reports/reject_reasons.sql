-- The most frequent reasons for which files of a batch were rejected, with an example.
select reason, count(*) as n, min(path) as example
from files
where batch = getvariable('batch') and status = 'rejected'
group by reason
order by n desc, reason asc
limit 20
