-- Files that have vanished, to be marked so; not those that were read anew since they were missed.
--
-- reads:     files, vanished
-- makes:     touched
create or replace temp table touched as
select files.path, files.instance_id, files.status, 'removed' as becomes
from files
join vanished
    on
        files.path = vanished.path
        and files.batch = vanished.batch
        and files.size_bytes is not distinct from vanished.size_bytes
        and files.modified_at is not distinct from vanished.modified_at
where files.status <> 'removed'
