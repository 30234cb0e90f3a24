-- Which known files are at another path now, and which rows of `files` give way to them.
--
-- `moving` has path and new path. The row of a file that no longer exists at the new path gives way, and so
-- do, if they have the same size, that of a duplicate of the moved instance and that of a reject. Where
-- the new path is that of any other row, or of one that stays itself, both rows stay as they are.
--
-- reads:     files, moving
-- makes:     landing, moves
create or replace temp table landing as
select
    moving.old,
    moving.new,
    -- The time of a file that no longer exists, or had other content, says nothing about the moved one.
    coalesce(
        moving.modified_at,
        case when there.status = 'duplicate' or there.status = files.status then there.modified_at end,
        files.modified_at
    ) as modified_at,
    cast(files.batch as bigint) as batch,
    files.instance_id,
    there.path is not null as gives_up,
    cast(there.batch as bigint) as other_batch,
    there.path is null
    or there.status = 'removed'
    or (
        there.instance_id is null
        and files.status <> 'removed'
        and there.size_bytes is not distinct from files.size_bytes
        and (there.status <> 'duplicate' or there.instance_key is not distinct from files.instance_key)
    ) as is_free
from moving
join files on files.path = moving.old
left join files as there on there.path = moving.new and there.path not in (select old from moving);

create or replace temp table moves as
with recursive staying as (
    select old from landing where not is_free
    union
    select landing.old from landing join staying on landing.new = staying.old
)

select * exclude (is_free)
from landing
where old not in (select old from staying);
