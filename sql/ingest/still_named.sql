-- How many elements of instances that stay name, as UID, PatientID or name, what is erased.
--
-- A PatientID is compared as a whole text, as `DOMAIN\1` does not name DOMAIN.
--
-- reads:     erased, erased_entities
-- variables: elements_files
with named as (
    select instance_id, tag, vr, text
    from read_parquet(getvariable('elements_files'), hive_partitioning = false)
    where tag <> '00100020'
    union all
    select instance_id, tag, vr, string_agg(trim(text), '\' order by "index") as text
    from read_parquet(getvariable('elements_files'), hive_partitioning = false)
    where tag = '00100020'
    group by instance_id, path, tag, vr
)

select count(*) as n
from named as stored
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
