-- Which Parquet files hold the rows of a series that has pixels: those of `instances` and of `files`.
--
-- Asked once of a version, when pixels are first asked for, so that a look-up reads the one or
-- two files that matter instead of all. Of `files` the range of instances decides. $1 is a series; null
-- takes all of them.
with of_instances as (
    select
        series_key,
        filename as part,
        min(instance_id) as first_id,
        max(instance_id) as last_id
    from read_parquet(getvariable('stored').instances, hive_partitioning = false, filename = true)
    where pixel_offset is not null and ($1 is null or series_key = $1)
    group by all
),

of_files as (
    select
        filename as part,
        min(instance_id) as first_id,
        max(instance_id) as last_id
    from read_parquet(getvariable('stored').files, hive_partitioning = false, filename = true)
    where instance_id is not null
    group by all
)

select
    of_instances.series_key,
    list(distinct of_instances.part) as instances_parts,
    list(distinct of_files.part) as files_parts,
    min(of_instances.first_id) as first_id,
    max(of_instances.last_id) as last_id
from of_instances
inner join of_files
    on of_instances.first_id <= of_files.last_id and of_files.first_id <= of_instances.last_id
group by of_instances.series_key
