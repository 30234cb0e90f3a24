-- What a query at series level can ask (PS3.4 C.6.1.1.4): of a series, its study and its patient.
--
-- The patient is as the headers of the study state it, as at study level. A series whose instances
-- are in two studies has a row for each, as in QIDO-RS.
with held as (
    select
        study_key,
        series_key,
        arg_min(patient_key, instance_key) as patient_key,
        count(*) as instance_count
    from instances
    group by study_key, series_key
),

patient as (
    select
        study_key,
        patient_key,
        arg_min(PatientID, instance_key) as PatientID,
        arg_min(IssuerOfPatientID, instance_key) as IssuerOfPatientID,
        arg_min(PatientName, instance_key) as PatientName,
        arg_min(PatientBirthDate, instance_key) as PatientBirthDate,
        arg_min(PatientSex, instance_key) as PatientSex
    from instances
    group by study_key, patient_key
)

select
    series.SeriesInstanceUID,
    series.SeriesNumber,
    series.SeriesDate,
    series.SeriesTime,
    series.SeriesDescription,
    series.Modality,
    series.BodyPartExamined,
    series.Laterality,
    series.PatientPosition,
    series.ProtocolName,
    series.Manufacturer,
    series.ManufacturerModelName,
    series.StationName,
    series.InstitutionName,
    series.OperatorsName,
    series.FrameOfReferenceUID,
    held.instance_count as NumberOfSeriesRelatedInstances,
    studies.StudyInstanceUID,
    studies.StudyID,
    studies.StudyDate,
    studies.StudyTime,
    studies.StudyDescription,
    studies.AccessionNumber,
    studies.ReferringPhysicianName,
    studies.modalities as ModalitiesInStudy,
    patient.PatientID,
    patient.IssuerOfPatientID,
    patient.PatientName,
    patient.PatientBirthDate,
    patient.PatientSex
from held
inner join series on held.series_key = series.series_key
left join studies on held.study_key = studies.study_key
left join patient on held.study_key = patient.study_key and held.patient_key = patient.patient_key
where series.SeriesInstanceUID is not null
