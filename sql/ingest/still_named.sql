-- How many elements of instances that stay name, as UID, PatientID or name, what is erased.
--
-- reads:     erased, erased_entities
-- variables: elements_files
select count(*) as n
from read_parquet(getvariable('elements_files'), hive_partitioning = false) as stored
where
    case stored.tag when '00100020' then 'patient' when '00100010' then 'name' else stored.vr end
    in ('patient', 'name', 'UI')
    and exists (
        select 1
        from erased_entities
        where
            key = trim(stored.text)
            and case level when 'patient' then '00100020' when 'name' then '00100010' else stored.tag end
            = stored.tag
    )
    and stored.instance_id not in (select instance_id from erased)
