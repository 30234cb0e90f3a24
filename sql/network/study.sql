-- What a query at study level can ask (PS3.4 C.6.2.1.2): of a study, and of its patient.
--
-- A study with instances of two patients has a row for each, about the instances of that patient, as in
-- QIDO-RS and Orthanc; those that state no PatientID are found under the first one of the study. The patient
-- is as the headers of the study state it: a name may have changed since another study.
select
    instances.study_key,
    coalesce(nullif(instances.PatientID, ''), studies.PatientID, instances.patient_key) as found_under,
    arg_min(instances.StudyInstanceUID, instances.instance_key) as StudyInstanceUID,
    arg_min(instances.StudyID, instances.instance_key) as StudyID,
    arg_min(instances.StudyDate, instances.instance_key) as StudyDate,
    arg_min(instances.StudyTime, instances.instance_key) as StudyTime,
    arg_min(instances.StudyDescription, instances.instance_key) as StudyDescription,
    arg_min(instances.AccessionNumber, instances.instance_key) as AccessionNumber,
    arg_min(instances.ReferringPhysicianName, instances.instance_key) as ReferringPhysicianName,
    list_sort(list(distinct instances.Modality) filter (where instances.Modality is not null)) as ModalitiesInStudy,
    count(distinct instances.series_key) as NumberOfStudyRelatedSeries,
    count(*) as NumberOfStudyRelatedInstances,
    arg_min(instances.PatientID, instances.instance_key) as PatientID,
    arg_min(instances.IssuerOfPatientID, instances.instance_key) as IssuerOfPatientID,
    arg_min(instances.PatientName, instances.instance_key) as PatientName,
    arg_min(instances.PatientBirthDate, instances.instance_key) as PatientBirthDate,
    arg_min(instances.PatientSex, instances.instance_key) as PatientSex
from instances
inner join studies on instances.study_key = studies.study_key
group by instances.study_key, found_under
