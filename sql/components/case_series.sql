-- Each series that was asked for, with a digest of its instances and of size and modification time of their files: if
-- one differs, it is another job. Paths do not count, as a file may be moved, and neither do duplicates.
select
    instances.series_key,
    md5(string_agg(
        concat_ws(' ', instances.instance_key, files.size_bytes, epoch_us(files.modified_at)), chr(10)
        order by instances.instance_key
    )) as state
from instances
inner join files on instances.instance_id = files.instance_id
where instances.series_key in (select unnest($1))
group by instances.series_key
