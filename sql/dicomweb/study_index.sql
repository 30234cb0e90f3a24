-- The studies of a version as QIDO-RS matches them: what one row of `studies` says, and the patient.
--
-- Made once of a version, in memory. `holder` is the instance whose header is shown. A study with
-- instances of two patients has a row for each, about the instances of that patient, as in Orthanc: by
-- `found_under`, which is the first PatientID of the study for instances that state none.
create or replace table qido_patients as
select distinct
    instances.study_key,
    instances.patient_key,
    coalesce(nullif(instances.PatientID, ''), studies.PatientID, instances.patient_key) as found_under
from instances
inner join studies on instances.study_key = studies.study_key;

create or replace table qido_studies as
select
    study_key,
    found_under,
    arg_min(instance_id, instance_key) as holder,
    arg_min(StudyInstanceUID, instance_key) as StudyInstanceUID,
    arg_min(PatientID, instance_key) as PatientID,
    arg_min(PatientName, instance_key) as PatientName,
    concat_ws('=',
        coalesce(arg_min(PatientName, instance_key), ''),
        arg_min(ideographic_name, instance_key),
        arg_min(phonetic_name, instance_key)
    ) as whole_name,
    arg_min(PatientBirthDate, instance_key) as PatientBirthDate,
    arg_min(PatientSex, instance_key) as PatientSex,
    arg_min(IssuerOfPatientID, instance_key) as IssuerOfPatientID,
    arg_min(StudyID, instance_key) as StudyID,
    arg_min(StudyDate, instance_key) as StudyDate,
    arg_min(StudyTime, instance_key) as StudyTime,
    arg_min(StudyDescription, instance_key) as StudyDescription,
    arg_min(AccessionNumber, instance_key) as AccessionNumber,
    arg_min(ReferringPhysicianName, instance_key) as ReferringPhysicianName,
    list_sort(list(distinct Modality) filter (where Modality is not null)) as ModalitiesInStudy,
    list_sort(list(distinct SOPClassUID) filter (where SOPClassUID is not null)) as SOPClassesInStudy,
    count(distinct series_key) as NumberOfStudyRelatedSeries,
    count(*) as NumberOfStudyRelatedInstances
from instances
inner join qido_patients using (study_key, patient_key)
group by study_key, found_under
