-- Instances of a cohort: those of the entities in `picked`, whose level `picked_level` says.
select
    instances.instance_key,
    instances.series_key,
    instances.study_key,
    instances.patient_key,
    instances.instance_id,
    instances.file_path as path,
    files.size_bytes,
    files.modified_at
from instances
inner join files using (instance_id)
semi join picked
    on
        picked.key = case getvariable('picked_level')
            when 'instance' then instances.instance_key
            when 'series' then instances.series_key
            when 'study' then instances.study_key
            when 'patient' then instances.patient_key
        end
order by instances.instance_key
