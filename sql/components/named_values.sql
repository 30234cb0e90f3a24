-- Digests of the files that a version names: content of values, and archives of artifacts that are kept.
select sha256
from read_parquet(getvariable('socket_values_parts'), hive_partitioning = false)
union
select file_sha256
from (
    select *
    from read_parquet(getvariable('artifact_events_parts'), hive_partitioning = false)
    qualify row_number() over (partition by artifact_id order by event desc) = 1
)
where file_sha256 is not null
