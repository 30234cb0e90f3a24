-- Patients of the members, with every name and ID that their instances in the warehouse have.
with patients as (
    select distinct coalesce(patient_key, 'none') as patient
    from instances
    semi join members on instances.instance_key = members.instance_key
)

select
    patients.patient,
    list(distinct PatientName) filter (where PatientName is not null) as person_names,
    list(distinct PatientID) filter (where PatientID is not null) as ids
from instances
join patients on coalesce(instances.patient_key, 'none') = patients.patient
group by all
order by all
