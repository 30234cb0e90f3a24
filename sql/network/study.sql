-- What a query at study level can ask (PS3.4 C.6.2.1.2): of a study, and of its (first) patient.
--
-- The patient is as the headers of the study state it: a name may have changed since another study.
with patient as (
    select
        study_key,
        patient_key,
        arg_min(IssuerOfPatientID, instance_key) as IssuerOfPatientID,
        arg_min(PatientName, instance_key) as PatientName,
        arg_min(PatientBirthDate, instance_key) as PatientBirthDate,
        arg_min(PatientSex, instance_key) as PatientSex
    from instances
    group by study_key, patient_key
)

select
    studies.StudyInstanceUID,
    studies.StudyID,
    studies.StudyDate,
    studies.StudyTime,
    studies.StudyDescription,
    studies.AccessionNumber,
    studies.ReferringPhysicianName,
    studies.modalities as ModalitiesInStudy,
    studies.series_count as NumberOfStudyRelatedSeries,
    studies.instance_count as NumberOfStudyRelatedInstances,
    studies.PatientID,
    patient.IssuerOfPatientID,
    patient.PatientName,
    patient.PatientBirthDate,
    patient.PatientSex
from studies
left join patient using (study_key, patient_key)
where studies.StudyInstanceUID is not null
