-- What a query at series level can ask (PS3.4 C.6.1.1.4): of a series, its study and its patient.
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
    patients.IssuerOfPatientID,
    patients.PatientName,
    patients.PatientBirthDate,
    patients.PatientSex
from series
left join studies using (study_key)
left join patients on series.patient_key = patients.patient_key
where series.SeriesInstanceUID is not null
