-- Files that should hold their instance and do not: a duplicate whose holder went away, or comes
-- later in the order of paths. They are read again, as completely
-- as before.
select duplicates.path, duplicates.mode
from files as duplicates
left join files as holders
    on holders.instance_key = duplicates.instance_key and holders.status = 'ingested'
where
    duplicates.status = 'duplicate'
    and (holders.path is null or holders.path > duplicates.path)
order by duplicates.path
