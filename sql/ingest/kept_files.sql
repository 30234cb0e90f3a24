-- One part of `files`, without rows that are read anew; a file that lost its instance is a duplicate.
select
    stored.* exclude (batch) replace (
        case when touched.path is null then stored.status else 'duplicate' end as status,
        case when touched.path is null then stored.instance_id end as instance_id
    )
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
left join touched on touched.path = stored.path and not touched.is_replaced
where stored.path not in (select path from touched where is_replaced)
