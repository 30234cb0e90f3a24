-- One row per series.
--
-- Where instances disagree about an attribute, the value of the instance with the smallest
-- instance_key that has one is taken, and `entity_conflicts` lists the disagreement.
--
-- Of an image with functional groups (enhanced and other multi-frame objects) the value is that of
-- `frame_values`: of the first frame that has one, `frames_differ` naming the columns of which frames
-- have several. Lists of all values are in `mr_series` and `ct_series`, each frame is in `frames`.
--
-- grain:   series_key
-- example: select Modality, count(*) as n, sum(instance_count) as images from series group by all
-- depends: instances, frame_values
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- column:  series_key | VARCHAR | SeriesInstanceUID; if it is missing, `missing:` and instance_key
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SeriesNumber | BIGINT | Series Number (0020,0011)
-- column:  SeriesDate | DATE | Series Date (0008,0021)
-- column:  SeriesTime | TIME | Series Time (0008,0031)
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E)
-- column:  Modality | VARCHAR | Modality (0008,0060)
-- column:  BodyPartExamined | VARCHAR | Body Part Examined (0018,0015)
-- column:  Laterality | VARCHAR | Laterality (0020,0060)
-- column:  PatientPosition | VARCHAR | Patient Position (0018,5100)
-- column:  ProtocolName | VARCHAR | Protocol Name (0018,1030)
-- column:  Manufacturer | VARCHAR | Manufacturer (0008,0070)
-- column:  manufacturer_name | VARCHAR | normalized manufacturer name: Siemens, GE, Philips, Canon, UIH, …; Manufacturer as stated if it is none of the known ones
-- column:  ManufacturerModelName | VARCHAR | Manufacturer's Model Name (0008,1090)
-- column:  DeviceSerialNumber | VARCHAR | Device Serial Number (0018,1000)
-- column:  StationName | VARCHAR | Station Name (0008,1010)
-- column:  SoftwareVersions | VARCHAR[] | Software Versions (0018,1020)
-- column:  InstitutionName | VARCHAR | Institution Name (0008,0080)
-- column:  OperatorsName | VARCHAR[] | Operators' Name (0008,1070), as written: Family^Given^Middle^Prefix^Suffix of each
-- column:  FrameOfReferenceUID | VARCHAR | Frame of Reference UID (0020,0052)
-- column:  ScanningSequence | VARCHAR[] | Scanning Sequence (0018,0020)
-- column:  SequenceVariant | VARCHAR[] | Sequence Variant (0018,0021)
-- column:  ScanOptions | VARCHAR[] | Scan Options (0018,0022)
-- column:  MRAcquisitionType | VARCHAR | MR Acquisition Type (0018,0023)
-- column:  SequenceName | VARCHAR | Sequence Name (0018,0024)
-- column:  PulseSequenceName | VARCHAR | Pulse Sequence Name (0018,9005)
-- column:  pulse_sequence_name | VARCHAR | PulseSequenceName (0018,9005), else the private one of GE (0019,xx9C) by GEMS_ACQU_01
-- column:  MagneticFieldStrength | DOUBLE | Magnetic Field Strength (0018,0087), as stored: tesla, or gauss
-- column:  magnetic_field_strength_t | DOUBLE | MagneticFieldStrength in tesla: more than 20 is taken for gauss; null if it is no field strength
-- column:  EchoTime | DOUBLE | Echo Time (0018,0081), ms
-- column:  InversionTime | DOUBLE | Inversion Time (0018,0082), ms
-- column:  RepetitionTime | DOUBLE | Repetition Time (0018,0080), ms
-- column:  EchoTrainLength | BIGINT | Echo Train Length (0018,0091)
-- column:  FlipAngle | DOUBLE | Flip Angle (0018,1314), degrees
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm
-- column:  Rows | BIGINT | Rows (0028,0010)
-- column:  Columns | BIGINT | Columns (0028,0011)
-- column:  ImageType | VARCHAR[] | Image Type (0008,0008)
-- column:  InPlanePhaseEncodingDirection | VARCHAR | In-plane Phase Encoding Direction (0018,1312)
-- column:  KVP | DOUBLE | KVP (0018,0060), kV
-- column:  ConvolutionKernel | VARCHAR[] | Convolution Kernel (0018,1210)
-- column:  ContrastBolusAgent | VARCHAR | Contrast/Bolus Agent (0018,0010)
-- column:  series_at | TIMESTAMP | SeriesDate and the SeriesTime beside it as written, in the clock of the device; midnight if the time is missing, null without a date
-- column:  spatial_resolution_mm | DOUBLE[] | PixelSpacing (rows, columns) and SliceThickness; two values without a thickness, null without a spacing
-- column:  instance_count | BIGINT | instances; copies of a file count once
-- column:  image_count | BIGINT | instances with pixel data
-- column:  frame_count | BIGINT | frames of these: NumberOfFrames, 1 where it is missing or 0; null beyond 64 bits
-- column:  has_missing_uid | BOOLEAN | PatientID or a UID is missing or empty in some instance
-- column:  functional_groups | VARCHAR[] | attributes that an instance states in functional groups: columns of these names are read from there; in order; null without functional groups
-- column:  frames_differ | VARCHAR[] | attributes whose values differ between frames of an instance: columns of these names have the first value; null without functional groups
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that attributes of frames are null; null if nothing
create or replace view series as
with gathered as (
    select
        instances.series_key,
        arg_min(study_key, instance_key) as study_key,
        arg_min(patient_key, instance_key) as patient_key,
        arg_min(SeriesInstanceUID, instance_key) as SeriesInstanceUID,
        arg_min(StudyInstanceUID, instance_key) as StudyInstanceUID,
        arg_min(PatientID, instance_key) as PatientID,
        arg_min(SeriesNumber, instance_key) as SeriesNumber,
        arg_min(SeriesDate, instance_key) as SeriesDate,
        arg_min(SeriesTime, instance_key) as SeriesTime,
        arg_min(SeriesDate + SeriesTime, instance_key) as first_series_at,
        arg_min(SeriesDescription, instance_key) as SeriesDescription,
        arg_min(Modality, instance_key) as Modality,
        arg_min(BodyPartExamined, instance_key) as BodyPartExamined,
        arg_min(Laterality, instance_key) as Laterality,
        arg_min(PatientPosition, instance_key) as PatientPosition,
        arg_min(ProtocolName, instance_key) as ProtocolName,
        arg_min(Manufacturer, instance_key) as Manufacturer,
        arg_min(ManufacturerModelName, instance_key) as ManufacturerModelName,
        arg_min(DeviceSerialNumber, instance_key) as DeviceSerialNumber,
        arg_min(StationName, instance_key) as StationName,
        arg_min(SoftwareVersions, instance_key) as SoftwareVersions,
        arg_min(InstitutionName, instance_key) as InstitutionName,
        arg_min(OperatorsName, instance_key) as OperatorsName,
        arg_min(FrameOfReferenceUID, instance_key) as FrameOfReferenceUID,
        arg_min(if(frames.instance_id is null, instances.ScanningSequence, frames.ScanningSequence), instance_key) as ScanningSequence,
        arg_min(if(frames.instance_id is null, instances.SequenceVariant, frames.SequenceVariant), instance_key) as SequenceVariant,
        arg_min(if(frames.instance_id is null, instances.ScanOptions, frames.ScanOptions), instance_key) as ScanOptions,
        arg_min(if(frames.instance_id is null, instances.MRAcquisitionType, frames.MRAcquisitionType), instance_key) as MRAcquisitionType,
        arg_min(if(frames.instance_id is null, instances.SequenceName, frames.SequenceName), instance_key) as SequenceName,
        arg_min(PulseSequenceName, instance_key) as PulseSequenceName,
        arg_min(pulse_sequence_name, instance_key) as pulse_sequence_name,
        arg_min(if(frames.instance_id is null, instances.MagneticFieldStrength, frames.MagneticFieldStrength), instance_key) as MagneticFieldStrength,
        arg_min(if(frames.instance_id is null, instances.EchoTime, frames.EchoTime), instance_key) as EchoTime,
        arg_min(if(frames.instance_id is null, instances.InversionTime, frames.InversionTime), instance_key) as InversionTime,
        arg_min(if(frames.instance_id is null, instances.RepetitionTime, frames.RepetitionTime), instance_key) as RepetitionTime,
        arg_min(if(frames.instance_id is null, instances.EchoTrainLength, frames.EchoTrainLength), instance_key) as EchoTrainLength,
        arg_min(if(frames.instance_id is null, instances.FlipAngle, frames.FlipAngle), instance_key) as FlipAngle,
        arg_min(if(frames.instance_id is null, instances.PixelSpacing, frames.PixelSpacing), instance_key) as PixelSpacing,
        arg_min(if(frames.instance_id is null, instances.SliceThickness, frames.SliceThickness), instance_key) as SliceThickness,
        arg_min(if(frames.instance_id is null, instances.SpacingBetweenSlices, frames.SpacingBetweenSlices), instance_key) as SpacingBetweenSlices,
        arg_min(Rows, instance_key) as Rows,
        arg_min(Columns, instance_key) as Columns,
        arg_min(ImageType, instance_key) as ImageType,
        arg_min(if(frames.instance_id is null, instances.InPlanePhaseEncodingDirection, frames.InPlanePhaseEncodingDirection), instance_key) as InPlanePhaseEncodingDirection,
        arg_min(if(frames.instance_id is null, instances.KVP, frames.KVP), instance_key) as KVP,
        arg_min(if(frames.instance_id is null, instances.ConvolutionKernel, frames.ConvolutionKernel), instance_key) as ConvolutionKernel,
        arg_min(if(frames.instance_id is null, instances.ContrastBolusAgent, frames.ContrastBolusAgent), instance_key) as ContrastBolusAgent,
        count(*) as instance_count,
        count(pixel_offset) as image_count,
        try_cast(coalesce(sum(coalesce(nullif(NumberOfFrames, 0), 1)) filter (where pixel_offset is not null), 0) as bigint)
            as frame_count,
        bool_or(has_missing_uid) as has_missing_uid,
        list_sort(list_distinct(flatten(
            list(frames.functional_groups) filter (where frames.functional_groups is not null)
        ))) as functional_groups,
        list_sort(list_distinct(flatten(
            list(frames.frames_differ) filter (where frames.frames_differ is not null)
        ))) as frames_differ,
        min(frames.not_read) as not_read
    from instances
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where instances.series_key is not null
    group by instances.series_key
)

select
    series_key,
    study_key,
    patient_key,
    SeriesInstanceUID,
    StudyInstanceUID,
    PatientID,
    SeriesNumber,
    SeriesDate,
    SeriesTime,
    SeriesDescription,
    Modality,
    BodyPartExamined,
    Laterality,
    PatientPosition,
    ProtocolName,
    Manufacturer,
    manufacturer_name(Manufacturer) as manufacturer_name,
    ManufacturerModelName,
    DeviceSerialNumber,
    StationName,
    SoftwareVersions,
    InstitutionName,
    OperatorsName,
    FrameOfReferenceUID,
    ScanningSequence,
    SequenceVariant,
    ScanOptions,
    MRAcquisitionType,
    SequenceName,
    PulseSequenceName,
    pulse_sequence_name,
    MagneticFieldStrength,
    field_strength_tesla(MagneticFieldStrength) as magnetic_field_strength_t,
    EchoTime,
    InversionTime,
    RepetitionTime,
    EchoTrainLength,
    FlipAngle,
    PixelSpacing,
    SliceThickness,
    SpacingBetweenSlices,
    Rows,
    Columns,
    ImageType,
    InPlanePhaseEncodingDirection,
    KVP,
    ConvolutionKernel,
    ContrastBolusAgent,
    -- A time beside another date is not of this one.
    if(cast(first_series_at as date) = SeriesDate, first_series_at, cast(SeriesDate as timestamp)) as series_at,
    case when PixelSpacing is not null
        then list_filter(PixelSpacing || [SliceThickness], lambda mm: mm is not null)
    end as spatial_resolution_mm,
    instance_count,
    image_count,
    frame_count,
    has_missing_uid,
    functional_groups,
    frames_differ,
    not_read
from gathered;
