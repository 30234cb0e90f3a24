-- The series of a version as QIDO-RS matches them: what one row of `series` says of the top level.
--
-- Made once of a version, in memory. `holder` is the instance whose header is shown. A series whose
-- instances are of two studies or patients has a row for each, about the instances of these.
create or replace table qido_series as
select
    study_key,
    found_under,
    series_key,
    arg_min(instance_id, instance_key) as holder,
    arg_min(SeriesInstanceUID, instance_key) as SeriesInstanceUID,
    arg_min(Modality, instance_key) as Modality,
    arg_min(SeriesNumber, instance_key) as SeriesNumber,
    arg_min(SeriesDate, instance_key) as SeriesDate,
    arg_min(SeriesTime, instance_key) as SeriesTime,
    arg_min(SeriesDescription, instance_key) as SeriesDescription,
    arg_min(BodyPartExamined, instance_key) as BodyPartExamined,
    arg_min(Laterality, instance_key) as Laterality,
    arg_min(ProtocolName, instance_key) as ProtocolName,
    arg_min(Manufacturer, instance_key) as Manufacturer,
    arg_min(ManufacturerModelName, instance_key) as ManufacturerModelName,
    arg_min(StationName, instance_key) as StationName,
    arg_min(InstitutionName, instance_key) as InstitutionName,
    arg_min(FrameOfReferenceUID, instance_key) as FrameOfReferenceUID,
    count(*) as NumberOfSeriesRelatedInstances
from instances
inner join qido_patients using (study_key, patient_key)
group by study_key, series_key, found_under
