-- The first instance of a study with a value of an attribute, where the first one of all has none.
--
-- A row per study and attribute; the attributes are those of `qido_studies` that are always returned.
with firsts as (
    select
        arg_min(instance_id, instance_key) as holder,
        unnest([
            {
                'tag': '00080020',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where StudyDate is not null)
            },
            {
                'tag': '00080030',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where StudyTime is not null)
            },
            {
                'tag': '00080050',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where AccessionNumber is not null)
            },
            {
                'tag': '00080090',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where ReferringPhysicianName is not null)
            },
            {
                'tag': '00081030',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where StudyDescription is not null)
            },
            {
                'tag': '00100010',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where PatientName is not null)
            },
            {
                'tag': '00100020',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where PatientID is not null)
            },
            {
                'tag': '00100030',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where PatientBirthDate is not null)
            },
            {
                'tag': '00100040',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where PatientSex is not null)
            },
            {
                'tag': '00200010',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where StudyID is not null)
            }
        ]) as first
    from instances
    where study_key is not null
    group by study_key
)

select
    holder,
    first.tag,
    first.instance_id
from firsts
where first.instance_id <> holder
