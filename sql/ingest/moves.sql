-- Which known files are at another path now, and which rows of `files` give way to them.
--
-- `moving` has path and new path. Where the new path is known already and holds no instance, its row
-- gives way, if it has the same size; where it does hold one, or another size, both rows stay as they are.
--
-- reads:     files, moving
-- makes:     moves
create or replace temp table moves as
select
    moving.old,
    moving.new,
    coalesce(moving.modified_at, there.modified_at, files.modified_at) as modified_at,
    cast(files.batch as bigint) as batch,
    files.instance_id,
    there.path is not null as gives_up,
    cast(there.batch as bigint) as other_batch
from moving
join files on files.path = moving.old
left join files as there on there.path = moving.new and there.path not in (select old from moving)
where
    there.path is null
    or (there.instance_id is null and there.size_bytes is not distinct from files.size_bytes);
