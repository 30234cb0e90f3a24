-- Instances of a batch, and the size of its source files.
select
    count(*) filter (where status = 'ingested') as instances,
    cast(coalesce(sum(size_bytes), 0) as bigint) as source_bytes
from files
where batch = getvariable('batch')
