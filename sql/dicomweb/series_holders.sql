-- The first instance of a series with a value of an attribute, where the first one of all has none.
--
-- A row per series and attribute; the attributes are those of `qido_series` that are always returned.
with firsts as (
    select
        arg_min(instance_id, instance_key) as holder,
        arg_min(instance_id, instance_key) filter (where SeriesDate is not null) as "00080021",
        arg_min(instance_id, instance_key) filter (where SeriesTime is not null) as "00080031",
        arg_min(instance_id, instance_key) filter (where Modality is not null) as "00080060",
        arg_min(instance_id, instance_key) filter (where SeriesDescription is not null) as "0008103E",
        arg_min(instance_id, instance_key) filter (where SeriesNumber is not null) as "00200011"
    from instances
    inner join qido_patients using (study_key, patient_key)
    group by study_key, series_key, found_under
)

select
    holder,
    tag,
    instance_id
from (unpivot firsts on columns(* exclude (holder)) into name tag value instance_id)
where instance_id <> holder
