-- Unknown files that have name, size and time of a known one which was not listed.
--
-- reads:     all_listed, files, unseen
-- variables: mode
select
    files.path as old,
    unseen.path as new,
    files.SOPInstanceUID as uid
from unseen
inner join files
    on
        parse_filename(files.path, false, 'forward_slash') = parse_filename(unseen.path, false, 'forward_slash')
        and files.size_bytes = unseen.size_bytes
        and files.modified_at = make_timestamp(unseen.modified_us)
where
    files.status in ('ingested', 'duplicate')
    and files.SOPInstanceUID is not null
    and not unseen.is_known
    and unseen.archive is null
    and unseen.reason is null
    and list_position(['minimal', 'normal', 'full'], files.mode)
    >= list_position(['minimal', 'normal', 'full'], getvariable('mode'))
    and files.path not in (select path from all_listed)
order by unseen.path, files.path
