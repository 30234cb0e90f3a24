-- One row per image as a slice of its series: its position, and attributes that distinguish volumes.
--
-- What `geometry_of` needs to judge the images of a series; `frame_slices` has the same columns for
-- the frames of an image. GE says in (0043,xx2F) alone which part of a complex image an image is, and
-- puts all parts into one series (dcm2niix, `kRealImaginaryMagPhaseGE`).
--
-- grain:   whole, slice_key
-- depends: instances, elements
-- column:  whole | VARCHAR | the series: its series_key
-- column:  instance_id | BIGINT | key to `instances`
-- column:  stack | VARCHAR | '': a series is one stack
-- column:  slice_key | VARCHAR | the image: its instance_key
-- column:  position | DOUBLE[] | center of the first voxel, mm, LPS
-- column:  position_why_not | VARCHAR | that functional groups may have the position of a single frame; else null
-- column:  along_row | DOUBLE[] | direction cosines of a row
-- column:  along_column | DOUBLE[] | direction cosines of a column
-- column:  spacing | DOUBLE[] | mm between rows, between columns
-- column:  row_count | BIGINT | Rows
-- column:  column_count | BIGINT | Columns
-- column:  sample_count | BIGINT | SamplesPerPixel
-- column:  is_single | BOOLEAN | the image is one slice: neither several frames nor a mosaic
-- column:  temporal_position | BIGINT | TemporalPositionIdentifier
-- column:  acquired_us | BIGINT | date and time of acquisition, µs since 1970; without a date since midnight
-- column:  elapsed_ms | DOUBLE | FrameReferenceTime
-- column:  trigger_ms | DOUBLE | TriggerTime, or NominalCardiacTriggerDelayTime
-- column:  acquisition_number | BIGINT | AcquisitionNumber
-- column:  content_us | BIGINT | ContentDate and ContentTime, µs since 1970; without a date since midnight
-- column:  number | BIGINT | InstanceNumber
-- column:  cardiac_percent | DOUBLE | NominalPercentageOfCardiacPhase
-- column:  respiratory_ms | DOUBLE | NominalRespiratoryTriggerDelayTime
-- column:  respiratory_percent | DOUBLE | NominalPercentageOfRespiratoryPhase
-- column:  b_value | DOUBLE | DiffusionBValue, s/mm²; private elements are read by `diffusion_frames` only
-- column:  direction | DOUBLE[] | DiffusionGradientOrientation at length one; null if it is far from a unit vector
-- column:  echo_time | DOUBLE | ms
-- column:  inversion_time | DOUBLE[] | InversionTime, ms
-- column:  flip_angle | DOUBLE | degrees
-- column:  repetition_time | DOUBLE | ms
-- column:  echo_number | BIGINT | first of EchoNumbers
-- column:  kind | VARCHAR[] | ImageType, and ComplexImageComponent, which GE states in a private element
-- column:  segment | BIGINT[] | null: images have no segments
-- column:  tube_voltage | DOUBLE | KVP, kV
-- column:  kernel | VARCHAR[] | ConvolutionKernel
-- column:  vectors | BIGINT[] | null: images have no vectors
create or replace view image_slices as
with stated as (
    select
        instance_id,
        max("timestamp") filter (where tag = '0008002A') as AcquisitionDateTime,
        max("real") filter (where tag = '00181060') as TriggerTime,
        max("real") filter (where tag = '00541300') as FrameReferenceTime,
        max("real") filter (where tag = '00209153') as NominalCardiacTriggerDelayTime,
        max("real") filter (where tag = '00209241') as NominalPercentageOfCardiacPhase,
        max("real") filter (where tag = '00209245') as NominalPercentageOfRespiratoryPhase,
        max("real") filter (where tag = '00209255') as NominalRespiratoryTriggerDelayTime,
        max(text) filter (where tag = '00089208') as ComplexImageComponent,
        list("real" order by "index") filter (where tag = '00189089') as DiffusionGradientOrientation,
        bool_or(tag = '52009230') as has_groups
    from elements
    where
        tag in (
            '0008002A', '00089208', '00181060', '00189089', '00209153', '00209241', '00209245', '00209255',
            '00541300', '52009230'
        )
        and ("index" = 0 and path = '' or tag = '00189089' and path in (
            '', 'MRDiffusionSequence[0].DiffusionGradientDirectionSequence[0]'
        ))
        and vm > 0
    group by instance_id
),

-- Its creator may reserve any block.
parts as (
    select
        instance_id,
        ge_image_part(max("integer")) as image_part
    from elements
    where
        path = '' and creator = 'GEMS_PARM_01' and tag between '00431000' and '0043FFFF'
        and tag[7:8] = '2F' and "index" = 0 and vm > 0
    group by instance_id
)

select
    instances.series_key as whole,
    instances.instance_id,
    '' as stack,
    instances.instance_key as slice_key,
    instances.ImagePositionPatient as position,
    if(
        coalesce(nullif(instances.NumberOfFrames, 0), 1) = 1 and instances.ImagePositionPatient is null and stated.has_groups,
        'functional groups may have them, see frames', null
    ) as position_why_not,
    if(
        len(instances.ImageOrientationPatient) = 6, instances.ImageOrientationPatient[1:3], null
    ) as along_row,
    if(
        len(instances.ImageOrientationPatient) = 6, instances.ImageOrientationPatient[4:6], null
    ) as along_column,
    instances.PixelSpacing as spacing,
    instances."Rows" as row_count,
    instances."Columns" as column_count,
    instances.SamplesPerPixel as sample_count,
    coalesce(nullif(instances.NumberOfFrames, 0), 1) = 1
    and not coalesce(list_contains(instances.ImageType, 'MOSAIC'), false) as is_single,
    instances.TemporalPositionIdentifier as temporal_position,
    coalesce(
        coalesce(epoch_us(instances.AcquisitionDate), 0) + epoch_us(instances.AcquisitionTime),
        epoch_us(stated.AcquisitionDateTime)
    ) as acquired_us,
    stated.FrameReferenceTime as elapsed_ms,
    coalesce(stated.TriggerTime, stated.NominalCardiacTriggerDelayTime) as trigger_ms,
    instances.AcquisitionNumber as acquisition_number,
    coalesce(epoch_us(instances.ContentDate), 0) + epoch_us(instances.ContentTime) as content_us,
    instances.InstanceNumber as number,
    stated.NominalPercentageOfCardiacPhase as cardiac_percent,
    stated.NominalRespiratoryTriggerDelayTime as respiratory_ms,
    stated.NominalPercentageOfRespiratoryPhase as respiratory_percent,
    instances.DiffusionBValue as b_value,
    gradient_direction(stated.DiffusionGradientOrientation) as direction,
    instances.EchoTime as echo_time,
    if(instances.InversionTime is null, null, [instances.InversionTime]) as inversion_time,
    instances.FlipAngle as flip_angle,
    instances.RepetitionTime as repetition_time,
    instances.EchoNumbers[1] as echo_number,
    if(
        coalesce(stated.ComplexImageComponent, parts.image_part) is null, instances.ImageType,
        coalesce(instances.ImageType, []) || [coalesce(stated.ComplexImageComponent, parts.image_part)]
    ) as kind,
    cast(null as bigint[]) as segment,
    instances.KVP as tube_voltage,
    instances.ConvolutionKernel as kernel,
    cast(null as bigint[]) as vectors
from instances
left join stated on instances.instance_id = stated.instance_id
left join parts on instances.instance_id = parts.instance_id
where instances.pixel_offset is not null and instances.series_key is not null;
