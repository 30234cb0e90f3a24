-- One row per MR series: pulse sequence and acquisition.
--
-- An attribute is that of the instance with the smallest instance_key that has one; where instances
-- differ by their nature, the least and the most are given, or all values. Of images with functional
-- groups the value is that of the first frame that has one, as in `series`. In mode minimal attributes that `instances` does not have are null; `not_read` says so.
-- How each image was encoded and weighted is in `mr_encoding`, what kind of sequence it is in
-- `sequence_types`.
--
-- grain:   series_key
-- depends: series, instances, normal_elements, unread_series, frame_values
-- column:  series_key | VARCHAR | SeriesInstanceUID; if it is missing, `missing:` and instance_key
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SeriesNumber | BIGINT | Series Number (0020,0011)
-- column:  series_at | TIMESTAMP | SeriesDate and the SeriesTime beside it as written, in the clock of the device; midnight if the time is missing, null without a date
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E)
-- column:  BodyPartExamined | VARCHAR | Body Part Examined (0018,0015)
-- column:  ProtocolName | VARCHAR | Protocol Name (0018,1030)
-- column:  Manufacturer | VARCHAR | Manufacturer (0008,0070)
-- column:  manufacturer_name | VARCHAR | normalized manufacturer name: Siemens, GE, Philips, Canon, UIH, …; Manufacturer as stated if it is none of the known ones
-- column:  ManufacturerModelName | VARCHAR | Manufacturer's Model Name (0008,1090)
-- column:  PatientPosition | VARCHAR | Patient Position (0018,5100)
-- column:  ImageType | VARCHAR[] | Image Type (0008,0008)
-- column:  Rows | BIGINT | Rows (0028,0010)
-- column:  Columns | BIGINT | Columns (0028,0011)
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm
-- column:  MagneticFieldStrength | DOUBLE | Magnetic Field Strength (0018,0087), as stored: tesla, or gauss
-- column:  magnetic_field_strength_t | DOUBLE | MagneticFieldStrength in tesla: more than 20 is taken for gauss; null if it is no field strength
-- column:  ScanningSequence | VARCHAR[] | Scanning Sequence (0018,0020)
-- column:  SequenceVariant | VARCHAR[] | Sequence Variant (0018,0021)
-- column:  ScanOptions | VARCHAR[] | Scan Options (0018,0022)
-- column:  MRAcquisitionType | VARCHAR | MR Acquisition Type (0018,0023)
-- column:  SequenceName | VARCHAR | Sequence Name (0018,0024)
-- column:  pulse_sequence_name | VARCHAR | PulseSequenceName (0018,9005), else the private one of GE (0019,xx9C) by GEMS_ACQU_01
-- column:  RepetitionTime | DOUBLE | Repetition Time (0018,0080), ms
-- column:  EchoTime | DOUBLE | Echo Time (0018,0081), ms
-- column:  InversionTime | DOUBLE | Inversion Time (0018,0082), ms
-- column:  FlipAngle | DOUBLE | Flip Angle (0018,1314), degrees
-- column:  EchoTrainLength | BIGINT | Echo Train Length (0018,0091)
-- column:  InPlanePhaseEncodingDirection | VARCHAR | In-plane Phase Encoding Direction (0018,1312)
-- column:  ContrastBolusAgent | VARCHAR | Contrast/Bolus Agent (0018,0010)
-- column:  ImagingFrequency | DOUBLE | Imaging Frequency (0018,0084), MHz
-- column:  ImagedNucleus | VARCHAR | Imaged Nucleus (0018,0085), such as 1H
-- column:  ReceiveCoilName | VARCHAR | Receive Coil Name (0018,1250)
-- column:  TransmitCoilName | VARCHAR | Transmit Coil Name (0018,1251)
-- column:  NumberOfPhaseEncodingSteps | BIGINT | Number of Phase Encoding Steps (0018,0089)
-- column:  PercentSampling | DOUBLE | Percent Sampling (0018,0093), percent
-- column:  PercentPhaseFieldOfView | DOUBLE | Percent Phase Field of View (0018,0094), percent
-- column:  VariableFlipAngleFlag | VARCHAR | Variable Flip Angle Flag (0018,1315), Y or N
-- column:  SAR | DOUBLE | SAR (0018,1316), W/kg
-- column:  TriggerTime | DOUBLE | Trigger Time (0018,1060), ms
-- column:  NumberOfTemporalPositions | BIGINT | Number of Temporal Positions (0020,0105)
-- column:  ParallelReductionFactorInPlane | DOUBLE | Parallel Reduction Factor In-plane (0018,9069)
-- column:  AcquisitionDuration | DOUBLE | Acquisition Duration (0018,9073), s
-- column:  PixelBandwidth | DOUBLE | Pixel Bandwidth (0018,0095), Hz per pixel
-- column:  NumberOfAverages | DOUBLE | Number of Averages (0018,0083)
-- column:  echo_times_ms | DOUBLE[] | different values of EchoTime, of instances and of frames, ascending
-- column:  inversion_times_ms | DOUBLE[] | different values of InversionTime, of instances and of frames, ascending
-- column:  repetition_times_ms | DOUBLE[] | different values of RepetitionTime, of instances and of frames, ascending
-- column:  flip_angles_degrees | DOUBLE[] | different values of FlipAngle, of instances and of frames, ascending
-- column:  b_values | DOUBLE[] | different values of DiffusionBValue (0018,9087), of instances and of frames, s/mm², ascending; `diffusion_series` has those of vendors too
-- column:  temporal_position_count | BIGINT | different values of TemporalPositionIdentifier (0020,0100), or most values of TemporalPositionIndex (0020,9128) of frames of an instance; null if there is none
-- column:  functional_groups | VARCHAR[] | attributes that an instance states in functional groups: columns of these names are read from there; in order; null without functional groups
-- column:  frames_differ | VARCHAR[] | attributes whose values differ between frames of an instance: columns of these names have the first value; null without functional groups
-- column:  frame_types | VARCHAR[] | different values of Frame Type (0008,9007), each with backslashes between its parts, in order; null without functional groups
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  instance_count | BIGINT | instances; copies of a file count once
-- column:  image_count | BIGINT | instances with pixel data
-- column:  frame_count | BIGINT | frames of these images: NumberOfFrames, or 1 if it is missing
create or replace view mr_series as
with said as (
    select
        instances.series_key,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag in ('00180084', '00189098')) as ImagingFrequency,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag in ('00180085', '00189100')) as ImagedNucleus,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181250') as ReceiveCoilName,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181251') as TransmitCoilName,
        arg_min(elements."integer", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00180089') as NumberOfPhaseEncodingSteps,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00180093') as PercentSampling,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00180094') as PercentPhaseFieldOfView,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181315') as VariableFlipAngleFlag,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181316') as SAR,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181060') as TriggerTime,
        arg_min(elements."integer", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00200105') as NumberOfTemporalPositions,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189069') as ParallelReductionFactorInPlane,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189073') as AcquisitionDuration
    from normal_elements as elements
    join instances on elements.instance_id = instances.instance_id
    where
        instances.Modality = 'MR'
        and is_stated_at(elements.path)
        and elements."index" = 0
        and elements.tag in (
            '00180084', '00180085', '00180089', '00180093', '00180094', '00181060', '00181250',
            '00181251', '00181315', '00181316', '00189069', '00189073', '00189098', '00189100', '00200105'
        )
    group by instances.series_key
),

ranges as (
    select
        instances.series_key,
        arg_min(
            if(frames.instance_id is null, instances.PixelBandwidth, frames.PixelBandwidth), instance_key
        ) as PixelBandwidth,
        arg_min(
            if(frames.instance_id is null, instances.NumberOfAverages, frames.NumberOfAverages), instance_key
        ) as NumberOfAverages,
        different_values(
            list(distinct instances.EchoTime) filter (where frames.instance_id is null and instances.EchoTime is not null),
            list(frames.echo_times_ms) filter (where frames.echo_times_ms is not null)
        ) as echo_times_ms,
        different_values(
            list(distinct instances.InversionTime) filter (where frames.instance_id is null and instances.InversionTime is not null),
            list(frames.inversion_times_ms) filter (where frames.inversion_times_ms is not null)
        ) as inversion_times_ms,
        different_values(
            list(distinct instances.RepetitionTime) filter (where frames.instance_id is null and instances.RepetitionTime is not null),
            list(frames.repetition_times_ms) filter (where frames.repetition_times_ms is not null)
        ) as repetition_times_ms,
        different_values(
            list(distinct instances.FlipAngle) filter (where frames.instance_id is null and instances.FlipAngle is not null),
            list(frames.flip_angles_degrees) filter (where frames.flip_angles_degrees is not null)
        ) as flip_angles_degrees,
        different_values(
            list(distinct instances.DiffusionBValue) filter (where frames.instance_id is null and instances.DiffusionBValue is not null),
            list(frames.b_values) filter (where frames.b_values is not null)
        ) as b_values,
        coalesce(
            max(frames.temporal_position_count), nullif(count(distinct TemporalPositionIdentifier), 0)
        ) as temporal_position_count,
        nullif(list_sort(list_distinct(flatten(list(frames.frame_types)))), []) as frame_types
    from instances
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where Modality = 'MR'
    group by instances.series_key
)

select
    series.series_key,
    series.study_key,
    series.patient_key,
    series.SeriesInstanceUID,
    series.StudyInstanceUID,
    series.PatientID,
    series.SeriesNumber,
    series.series_at,
    series.SeriesDescription,
    series.BodyPartExamined,
    series.ProtocolName,
    series.Manufacturer,
    series.manufacturer_name,
    series.ManufacturerModelName,
    series.PatientPosition,
    series.ImageType,
    series."Rows",
    series."Columns",
    series.PixelSpacing,
    series.SliceThickness,
    series.SpacingBetweenSlices,
    series.MagneticFieldStrength,
    series.magnetic_field_strength_t,
    series.ScanningSequence,
    series.SequenceVariant,
    series.ScanOptions,
    series.MRAcquisitionType,
    series.SequenceName,
    series.pulse_sequence_name,
    series.RepetitionTime,
    series.EchoTime,
    series.InversionTime,
    series.FlipAngle,
    series.EchoTrainLength,
    series.InPlanePhaseEncodingDirection,
    series.ContrastBolusAgent,
    said.ImagingFrequency,
    said.ImagedNucleus,
    said.ReceiveCoilName,
    said.TransmitCoilName,
    said.NumberOfPhaseEncodingSteps,
    said.PercentSampling,
    said.PercentPhaseFieldOfView,
    said.VariableFlipAngleFlag,
    said.SAR,
    said.TriggerTime,
    said.NumberOfTemporalPositions,
    said.ParallelReductionFactorInPlane,
    said.AcquisitionDuration,
    ranges.PixelBandwidth,
    ranges.NumberOfAverages,
    ranges.echo_times_ms,
    ranges.inversion_times_ms,
    ranges.repetition_times_ms,
    ranges.flip_angles_degrees,
    ranges.b_values,
    ranges.temporal_position_count,
    series.functional_groups,
    series.frames_differ,
    ranges.frame_types,
    unread_series.elements_not_read as not_read,
    series.instance_count,
    series.image_count,
    series.frame_count
from series
left join said on series.series_key = said.series_key
left join ranges on series.series_key = ranges.series_key
left join unread_series on series.series_key = unread_series.series_key
where series.Modality = 'MR';
