-- What becomes of the files of a batch, and of files stored before that they touch.
--
-- `staged` are the files of this batch as they were read, `ledger` is the table `files` at the newest
-- version. Of several files that hold one instance, the one whose path comes first
-- holds it in the warehouse: so the answer depends on the files and not on their order. Files that
-- are to stay forgotten are staged with the status `forgotten` and without identity, and leave no row.
-- A stored file that could not be opened or read this time, as on an unmounted disk, keeps its rows.
--
-- Leaves two tables: `verdict`, one row per staged file, and `touched`, one row per file of the
-- ledger that is read anew (`becomes` is null) or loses its instance (`becomes` says its status).
--
-- reads:     ledger, staged
-- makes:     known, unreachable, fresh, holders, winners, verdict, touched
-- variables: read_anew
create or replace temp table known as
select ledger.* from ledger semi join staged using (path);

-- Of these nothing was read, so nothing is known to have changed. Not a duplicate that no longer exists
-- when it should take over its instance.
create or replace temp table unreachable as
select staged.path
from staged
join known using (path)
where
    staged.status = 'rejected'
    and staged.modified_at is null
    and staged.reason like 'cannot be %'
    and known.status in ('ingested', 'duplicate');

-- A file that another writer has read meanwhile, unchanged and as completely, is theirs. Not one that
-- was rejected for another reason: it was beyond a limit that is higher now.
create or replace temp table fresh as
select staged.*
from staged
left join known using (path)
where
    staged.path not in (select path from unreachable)
    and (
        getvariable('read_anew')
        or known.path is null
        or known.status in ('duplicate', 'removed')
        or known.size_bytes is distinct from staged.size_bytes
        or known.modified_at is distinct from staged.modified_at
        or list_position(['minimal', 'normal', 'full'], known.mode)
        < list_position(['minimal', 'normal', 'full'], staged.mode)
        or (known.status = 'rejected' and known.reason is distinct from staged.reason)
    );

create or replace temp table holders as
select ledger.path, ledger.instance_id, ledger.instance_key
from ledger
semi join fresh using (instance_key)
where ledger.status = 'ingested';

create or replace temp table winners as
select instance_key, min(path) as path
from (
    select instance_key, path from fresh where instance_key is not null
    union all
    select instance_key, path from holders anti join fresh using (path)
)
group by instance_key;

create or replace temp table verdict as
select
    staged.path,
    staged.instance_id,
    case
        when fresh.path is null and (known.status = 'rejected' or unreachable.path is not null) then 'rejected'
        when fresh.path is null then 'existing'
        when fresh.status = 'forgotten' then 'forgotten'
        when fresh.status = 'rejected' then 'rejected'
        when winners.path <> fresh.path then 'duplicate'
        when holders.path is not null and holders.path <> fresh.path then 'duplicate'
        when known.path is not null and known.status not in ('duplicate', 'removed') then 'replaced'
        else 'created'
    end as outcome,
    case
        when fresh.path is null or fresh.status = 'forgotten' then null
        when fresh.status = 'rejected' then 'rejected'
        when winners.path = fresh.path then 'ingested'
        else 'duplicate'
    end as status,
    unreachable.path is not null as is_unreachable
from staged
left join fresh using (path)
left join known using (path)
left join unreachable using (path)
left join winners on winners.instance_key = fresh.instance_key
left join holders on holders.instance_key = fresh.instance_key;

create or replace temp table touched as
select path, instance_id, cast(null as varchar) as becomes
from known
semi join fresh using (path)
union all
select holders.path, holders.instance_id, 'duplicate' as becomes
from holders
join winners using (instance_key)
anti join fresh on fresh.path = holders.path
where winners.path <> holders.path;
