-- One part of `files`, without rows that are read anew; a file that lost its instance says why.
--
-- reads:     touched
-- variables: part
select
    stored.* exclude (batch) replace (
        coalesce(touched.becomes, stored.status) as status,
        case when touched.becomes = 'removed' then 'no longer there' else stored.reason end as reason,
        case when touched.path is null then stored.instance_id end as instance_id
    )
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
left join touched on touched.path = stored.path and touched.becomes is not null
where stored.path not in (select path from touched where becomes is null)
order by stored.path
