-- Instances per day of arrival: of the last modification of their file, not of a date in a header.
select cast(modified_at as date) as day, count(*) as instances
from files
where status = 'ingested' and modified_at is not null
group by day
order by day desc
limit 30
