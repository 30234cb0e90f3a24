-- Patients of the members, with every name and ID that their instances have.
select
    coalesce(patient_key, 'none') as patient,
    list(distinct PatientName) filter (where PatientName is not null) as person_names,
    list(distinct PatientID) filter (where PatientID is not null) as ids
from instances
semi join members on instances.instance_key = members.instance_key
group by all
order by all
