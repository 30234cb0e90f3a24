-- Files that should hold their instance and do not: a duplicate whose holder went away, or comes
-- later in the order of paths. They are read again, as completely
-- as before.
--
-- reads:     files
with duplicates as materialized (
    select path, mode, instance_key from files where status = 'duplicate'
),

-- Of these only: there are few duplicates, and a join would hold every other file in memory.
holders as (
    select path, instance_key
    from files semi join duplicates using (instance_key)
    where status = 'ingested'
)

select duplicates.path, duplicates.mode
from duplicates
left join holders using (instance_key)
where holders.path is null or holders.path > duplicates.path
order by duplicates.path
