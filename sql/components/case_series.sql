-- Each series that was asked for, with a digest of its instances: others make another job.
select
    series_key,
    md5(string_agg(concat(instance_key, ' ', pixel_length), chr(10) order by instance_key)) as state
from instances
where series_key in (select unnest($1))
group by series_key
