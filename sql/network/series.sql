-- What a query at series level can ask (PS3.4 C.6.1.1.4): of a series, its study and its patient.
--
-- The patient is as the headers of the study state it, as at study level.
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
    series.instance_count as NumberOfSeriesRelatedInstances,
    series.StudyInstanceUID,
    studies.StudyID,
    studies.StudyDate,
    studies.StudyTime,
    studies.StudyDescription,
    studies.AccessionNumber,
    studies.ReferringPhysicianName,
    studies.modalities as ModalitiesInStudy,
    series.PatientID,
    patient.IssuerOfPatientID,
    patient.PatientName,
    patient.PatientBirthDate,
    patient.PatientSex
from series
left join studies using (study_key)
left join patient on series.study_key = patient.study_key and series.patient_key = patient.patient_key
where series.SeriesInstanceUID is not null
