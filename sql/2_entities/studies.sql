-- One row per study.
--
-- Where instances disagree about an attribute, the value of the instance with the smallest
-- instance_key that has one is taken, and `entity_conflicts` lists the disagreement.
-- One study may hold series of several patients; `patient_key` is then that of the first.
--
-- grain:   study_key
-- example: select PatientID, StudyDate, modalities, series_count from studies limit 5
-- depends: instances
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- column:  study_key | VARCHAR | StudyInstanceUID; if it is missing, `missing:` and SeriesInstanceUID or instance_key
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  StudyID | VARCHAR | Study ID (0020,0010)
-- column:  StudyDate | DATE | Study Date (0008,0020)
-- column:  StudyTime | TIME | Study Time (0008,0030)
-- column:  StudyDescription | VARCHAR | Study Description (0008,1030)
-- column:  AccessionNumber | VARCHAR | Accession Number (0008,0050)
-- column:  ReferringPhysicianName | VARCHAR | Referring Physician's Name (0008,0090), as written: Family^Given^Middle^Prefix^Suffix
-- column:  study_at | TIMESTAMP | StudyDate and the StudyTime beside it as written, in the clock of the device; midnight if the time is missing, null without a date
-- column:  modalities | VARCHAR[] | distinct Modality of its instances, in order
-- column:  patient_count | BIGINT | patients
-- column:  series_count | BIGINT | series
-- column:  instance_count | BIGINT | instances
create or replace view studies as
with gathered as (
    select
        study_key,
        arg_min(patient_key, instance_key) as patient_key,
        arg_min(StudyInstanceUID, instance_key) as StudyInstanceUID,
        arg_min(PatientID, instance_key) as PatientID,
        arg_min(StudyID, instance_key) as StudyID,
        arg_min(StudyDate, instance_key) as StudyDate,
        arg_min(StudyTime, instance_key) as StudyTime,
        arg_min(StudyDate + StudyTime, instance_key) as first_study_at,
        arg_min(StudyDescription, instance_key) as StudyDescription,
        arg_min(AccessionNumber, instance_key) as AccessionNumber,
        arg_min(ReferringPhysicianName, instance_key) as ReferringPhysicianName,
        list_sort(list(distinct Modality) filter (where Modality is not null)) as modalities,
        count(distinct patient_key) as patient_count,
        count(distinct series_key) as series_count,
        count(*) as instance_count
    from instances
    where study_key is not null
    group by study_key
)

select
    study_key,
    patient_key,
    StudyInstanceUID,
    PatientID,
    StudyID,
    StudyDate,
    StudyTime,
    StudyDescription,
    AccessionNumber,
    ReferringPhysicianName,
    -- A time beside another date is not of this one.
    if(cast(first_study_at as date) = StudyDate, first_study_at, cast(StudyDate as timestamp)) as study_at,
    modalities,
    patient_count,
    series_count,
    instance_count
from gathered;
