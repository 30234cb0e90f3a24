-- Listed files that have to be read: new ones, changed ones, those once read less completely, and
-- those rejected for a limit that is higher now.
--
-- reads:     files, listed
-- variables: first_path, last_path, limits, mode
with around as (
    -- Of a large ledger most row groups hold no path between the first that is listed and the last.
    -- Objects have whole seconds. Earlier versions stored the milliseconds that some servers list.
    select
        path,
        status,
        size_bytes,
        if(starts_with(path, 's3://'), date_trunc('second', modified_at), modified_at)
            as modified_at,
        mode,
        reason
    from files
    where path between getvariable('first_path') and getvariable('last_path')
)

select
    listed.path,
    listed.size_bytes,
    listed.modified_us,
    listed.archive,
    listed.member,
    listed.reason,
    around.reason as reason_before,
    around.path is not null as is_known
from listed
left join around using (path)
where
    around.path is null
    or around.status = 'removed'
    or around.size_bytes is distinct from listed.size_bytes
    or around.modified_at is distinct from make_timestamp(listed.modified_us)
    or (
        around.status <> 'rejected'
        and list_position(['minimal', 'normal', 'full'], around.mode)
        < list_position(['minimal', 'normal', 'full'], getvariable('mode'))
    )
    or (
        around.status = 'rejected'
        and around.reason like 'more than % refused, see Limits of the settings'
        and try_cast(regexp_extract(around.reason, '^more than (\d+) ', 1) as bigint)
        < getvariable('limits')[regexp_extract(around.reason, '^more than \d+ (.+): refused', 1)]
    )
order by listed.path
