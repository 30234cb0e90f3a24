-- What a query at study level can ask (PS3.4 C.6.2.1.2): of a study, and of its (first) patient.
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
    patients.IssuerOfPatientID,
    patients.PatientName,
    patients.PatientBirthDate,
    patients.PatientSex
from studies
left join patients using (patient_key)
where studies.StudyInstanceUID is not null
