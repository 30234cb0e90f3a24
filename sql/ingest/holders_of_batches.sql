-- Number of instances that files of some batches hold.
select count(*)
from files
where status = 'ingested' and list_contains(getvariable('batches'), batch)
