-- Listed files that have to be read: new ones, changed ones, those once read less completely, and
-- those rejected for a limit that is higher now.
--
-- reads:     files, listed
-- variables: limits, mode
select
    listed.path,
    listed.size_bytes,
    listed.modified_us,
    listed.archive,
    listed.member,
    listed.reason,
    files.reason as reason_before
from listed
left join files using (path)
where
    files.path is null
    or files.status = 'removed'
    or files.size_bytes is distinct from listed.size_bytes
    or files.modified_at is distinct from make_timestamp(listed.modified_us)
    or (
        files.status <> 'rejected'
        and list_position(['minimal', 'normal', 'full'], files.mode)
        < list_position(['minimal', 'normal', 'full'], getvariable('mode'))
    )
    or (
        files.status = 'rejected'
        and files.reason like 'more than % refused, see Limits of the settings'
        and try_cast(regexp_extract(files.reason, '^more than (\d+) ', 1) as bigint)
        < getvariable('limits')[regexp_extract(files.reason, '^more than \d+ (.+): refused', 1)]
    )
order by listed.path
