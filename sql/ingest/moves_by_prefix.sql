-- Known files beneath a place, with their paths beneath another one; see `moves`.
--
-- reads:     files
-- variables: prefixes
select
    files.path as old,
    list_first(list_filter(
        getvariable('prefixes'),
        lambda p: files.path = p.old or starts_with(files.path, p.old || '/') or starts_with(files.path, p.old || '!/')
    )) as prefix
from files
where prefix is not null
