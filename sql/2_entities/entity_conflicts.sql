-- One row per attribute of an entity for which its instances have different values.
--
-- Missing values do not count as disagreement. Some attributes differ by nature in some series
-- (EchoTime in a multi-echo series): the list says so, it does not say that something is wrong. Frames
-- of one instance that disagree are in `series.frames_differ`.
--
-- grain:   level, entity_key, attribute
-- depends: instances, frame_values
-- column:  level | VARCHAR | series, study or patient
-- column:  entity_key | VARCHAR | series_key, study_key or patient_key
-- column:  attribute | VARCHAR | column of the entity view
-- column:  value_count | BIGINT | distinct values
-- column:  values | VARCHAR[] | these values as text, in order
create or replace view entity_conflicts as
with series_values as (
    unpivot (
        select
            series_key as entity_key,
            cast(StudyInstanceUID as varchar) as StudyInstanceUID,
            cast(PatientID as varchar) as PatientID,
            cast(SeriesNumber as varchar) as SeriesNumber,
            cast(SeriesDate as varchar) as SeriesDate,
            cast(SeriesTime as varchar) as SeriesTime,
            cast(SeriesDescription as varchar) as SeriesDescription,
            cast(Modality as varchar) as Modality,
            cast(BodyPartExamined as varchar) as BodyPartExamined,
            cast(Laterality as varchar) as Laterality,
            cast(PatientPosition as varchar) as PatientPosition,
            cast(ProtocolName as varchar) as ProtocolName,
            cast(Manufacturer as varchar) as Manufacturer,
            cast(ManufacturerModelName as varchar) as ManufacturerModelName,
            cast(DeviceSerialNumber as varchar) as DeviceSerialNumber,
            cast(StationName as varchar) as StationName,
            cast(SoftwareVersions as varchar) as SoftwareVersions,
            cast(InstitutionName as varchar) as InstitutionName,
            cast(OperatorsName as varchar) as OperatorsName,
            cast(FrameOfReferenceUID as varchar) as FrameOfReferenceUID,
            cast(if(frames.instance_id is null, instances.ScanningSequence, frames.ScanningSequence) as varchar) as ScanningSequence,
            cast(if(frames.instance_id is null, instances.SequenceVariant, frames.SequenceVariant) as varchar) as SequenceVariant,
            cast(if(frames.instance_id is null, instances.ScanOptions, frames.ScanOptions) as varchar) as ScanOptions,
            cast(if(frames.instance_id is null, instances.MRAcquisitionType, frames.MRAcquisitionType) as varchar) as MRAcquisitionType,
            cast(if(frames.instance_id is null, instances.SequenceName, frames.SequenceName) as varchar) as SequenceName,
            cast(pulse_sequence_name as varchar) as pulse_sequence_name,
            cast(if(frames.instance_id is null, instances.MagneticFieldStrength, frames.MagneticFieldStrength) as varchar) as MagneticFieldStrength,
            cast(if(frames.instance_id is null, instances.EchoTime, frames.EchoTime) as varchar) as EchoTime,
            cast(if(frames.instance_id is null, instances.InversionTime, frames.InversionTime) as varchar) as InversionTime,
            cast(if(frames.instance_id is null, instances.RepetitionTime, frames.RepetitionTime) as varchar) as RepetitionTime,
            cast(if(frames.instance_id is null, instances.EchoTrainLength, frames.EchoTrainLength) as varchar) as EchoTrainLength,
            cast(if(frames.instance_id is null, instances.FlipAngle, frames.FlipAngle) as varchar) as FlipAngle,
            cast(if(frames.instance_id is null, instances.PixelSpacing, frames.PixelSpacing) as varchar) as PixelSpacing,
            cast(if(frames.instance_id is null, instances.SliceThickness, frames.SliceThickness) as varchar) as SliceThickness,
            cast(if(frames.instance_id is null, instances.SpacingBetweenSlices, frames.SpacingBetweenSlices) as varchar) as SpacingBetweenSlices,
            cast(Rows as varchar) as Rows,
            cast(Columns as varchar) as Columns,
            cast(ImageType as varchar) as ImageType,
            cast(if(frames.instance_id is null, instances.InPlanePhaseEncodingDirection, frames.InPlanePhaseEncodingDirection) as varchar) as InPlanePhaseEncodingDirection,
            cast(if(frames.instance_id is null, instances.KVP, frames.KVP) as varchar) as KVP,
            cast(if(frames.instance_id is null, instances.ConvolutionKernel, frames.ConvolutionKernel) as varchar) as ConvolutionKernel,
            cast(if(frames.instance_id is null, instances.ContrastBolusAgent, frames.ContrastBolusAgent) as varchar) as ContrastBolusAgent
        from instances
        left join frame_values as frames on instances.instance_id = frames.instance_id
        where series_key is not null
    ) on columns(* exclude (entity_key)) into name attribute value stated
),

study_values as (
    unpivot (
        select
            study_key as entity_key,
            cast(PatientID as varchar) as PatientID,
            cast(StudyID as varchar) as StudyID,
            cast(StudyDate as varchar) as StudyDate,
            cast(StudyTime as varchar) as StudyTime,
            cast(StudyDescription as varchar) as StudyDescription,
            cast(AccessionNumber as varchar) as AccessionNumber,
            cast(ReferringPhysicianName as varchar) as ReferringPhysicianName
        from instances
        where study_key is not null
    ) on columns(* exclude (entity_key)) into name attribute value stated
),

patient_values as (
    unpivot (
        select
            patient_key as entity_key,
            cast(IssuerOfPatientID as varchar) as IssuerOfPatientID,
            cast(PatientName as varchar) as PatientName,
            cast(PatientBirthDate as varchar) as PatientBirthDate,
            cast(PatientSex as varchar) as PatientSex
        from instances
        where patient_key is not null
    ) on columns(* exclude (entity_key)) into name attribute value stated
),

stated_values as (
    select 'series' as level, entity_key, attribute, stated from series_values
    union all
    select 'study' as level, entity_key, attribute, stated from study_values
    union all
    select 'patient' as level, entity_key, attribute, stated from patient_values
)

select
    level,
    entity_key,
    attribute,
    count(distinct stated) as value_count,
    list_sort(list(distinct stated)) as "values"
from stated_values
group by level, entity_key, attribute
having count(distinct stated) > 1;
