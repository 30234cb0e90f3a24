-- One part of `value_set_entries`, in its order, without items named as what is erased.
--
-- An erased value is taken out of its item by the same entry that put it there: what was there before
-- does not come back.
--
-- reads:     erased_entities, gone_values
-- variables: part
select
    stored.* exclude (batch) replace (
        case
            when stored.value_id not in (select value_id from gone_values) then stored.value_id
        end as value_id
    )
from read_parquet(getvariable('part'), hive_partitioning = true) as stored
where stored.item not in (select key from erased_entities)
