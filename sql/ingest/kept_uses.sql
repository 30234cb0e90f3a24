-- One part of `value_uses`, in its order, without statements about what is erased.
--
-- A name of a file that names what is erased is no longer known.
--
-- reads:     erased_entities, gone_uses, gone_values
-- variables: part
select
    stored.* exclude (batch) replace (
        case
            when
                not exists (
                    select 1
                    from erased_entities
                    where length(key) >= 6 and contains(stored.file_name, key)
                )
                then stored.file_name
        end as file_name
    )
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where
    stored.use_id not in (select use_id from gone_uses)
    and stored.value_id not in (select value_id from gone_values)
