-- Listed files that have to be read: new ones, changed ones, and those once read less completely.
--
-- reads:     files, listed
-- variables: mode
select listed.path, listed.size_bytes, listed.modified_us, listed.archive, listed.member, listed.reason
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
order by listed.path
