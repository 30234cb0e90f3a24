-- The first instance of a study with a value of an attribute, where the first one of all has none.
--
-- A row per study and attribute; the attributes are those of `qido_studies` that are always returned.
with firsts as (
    select
        arg_min(instance_id, instance_key) as holder,
        arg_min(instance_id, instance_key) filter (where StudyDate is not null) as "00080020",
        arg_min(instance_id, instance_key) filter (where StudyTime is not null) as "00080030",
        arg_min(instance_id, instance_key) filter (where AccessionNumber is not null) as "00080050",
        arg_min(instance_id, instance_key) filter (where ReferringPhysicianName is not null) as "00080090",
        arg_min(instance_id, instance_key) filter (where StudyDescription is not null) as "00081030",
        arg_min(instance_id, instance_key) filter (where PatientName is not null) as "00100010",
        arg_min(instance_id, instance_key) filter (where PatientID is not null) as "00100020",
        arg_min(instance_id, instance_key) filter (where PatientBirthDate is not null) as "00100030",
        arg_min(instance_id, instance_key) filter (where PatientSex is not null) as "00100040",
        arg_min(instance_id, instance_key) filter (where StudyID is not null) as "00200010"
    from instances
    inner join qido_patients using (study_key, patient_key)
    group by study_key, found_under
)

select
    holder,
    tag,
    instance_id
from (unpivot firsts on columns(* exclude (holder)) into name tag value instance_id)
where instance_id <> holder
