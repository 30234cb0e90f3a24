-- Whether a key of what would be erased is only the first value of its element.
--
-- Earlier versions of the software stored it: DOMAIN of `DOMAIN\1` and `DOMAIN\2`, two patients.
--
-- reads:     erased
-- variables: asked_level, elements_files
with asked as (
    select
        instance_id,
        case getvariable('asked_level')
            when 'patient' then patient_key when 'study' then study_key when 'series' then series_key
        end as key
    from erased
)

select 1 as found
from read_parquet(getvariable('elements_files'), hive_partitioning = false) as stored
inner join asked on stored.instance_id = asked.instance_id
where
    stored.path = ''
    and stored.vm > 1
    and stored.tag = case getvariable('asked_level')
        when 'patient' then '00100020' when 'study' then '0020000D' else '0020000E'
    end
    and not contains(asked.key, '\')
    and not starts_with(asked.key, 'missing:')
limit 1
