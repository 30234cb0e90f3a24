-- What a query at series level can ask (PS3.4 C.6.1.1.4): of a series, its study and its patient.
--
-- `study` is the query at study level, so that both levels say the same. A series whose instances are
-- of two studies or patients has a row for each, as in QIDO-RS.
with held as (
    select
        instances.study_key,
        instances.series_key,
        coalesce(nullif(instances.PatientID, ''), studies.PatientID, instances.patient_key) as found_under,
        arg_min(instances.SeriesInstanceUID, instances.instance_key) as SeriesInstanceUID,
        arg_min(instances.SeriesNumber, instances.instance_key) as SeriesNumber,
        arg_min(instances.SeriesDate, instances.instance_key) as SeriesDate,
        arg_min(instances.SeriesTime, instances.instance_key) as SeriesTime,
        arg_min(instances.SeriesDescription, instances.instance_key) as SeriesDescription,
        arg_min(instances.Modality, instances.instance_key) as Modality,
        arg_min(instances.BodyPartExamined, instances.instance_key) as BodyPartExamined,
        arg_min(instances.Laterality, instances.instance_key) as Laterality,
        arg_min(instances.PatientPosition, instances.instance_key) as PatientPosition,
        arg_min(instances.ProtocolName, instances.instance_key) as ProtocolName,
        arg_min(instances.Manufacturer, instances.instance_key) as Manufacturer,
        arg_min(instances.ManufacturerModelName, instances.instance_key) as ManufacturerModelName,
        arg_min(instances.StationName, instances.instance_key) as StationName,
        arg_min(instances.InstitutionName, instances.instance_key) as InstitutionName,
        arg_min(instances.OperatorsName, instances.instance_key) as OperatorsName,
        arg_min(instances.FrameOfReferenceUID, instances.instance_key) as FrameOfReferenceUID,
        count(*) as NumberOfSeriesRelatedInstances
    from instances
    inner join studies on instances.study_key = studies.study_key
    group by instances.study_key, instances.series_key, found_under
)

select
    held.*,
    study.StudyInstanceUID,
    study.StudyID,
    study.StudyDate,
    study.StudyTime,
    study.StudyDescription,
    study.AccessionNumber,
    study.ReferringPhysicianName,
    study.ModalitiesInStudy,
    study.PatientID,
    study.IssuerOfPatientID,
    study.PatientName,
    study.PatientBirthDate,
    study.PatientSex
from held
inner join study on held.study_key = study.study_key and held.found_under = study.found_under
