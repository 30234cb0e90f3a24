-- Number of instances that files of some batches hold.
--
-- reads:     files
-- variables: batches
select count(*)
from files
where status = 'ingested' and list_contains(getvariable('batches'), batch)
