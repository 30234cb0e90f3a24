-- One row per frame as a slice of a stack: its position, and attributes that distinguish volumes.
--
-- What `geometry_of` needs to judge the frames of an image; `image_slices` has the same columns for
-- the images of a series.
--
-- grain:   whole, slice_key
-- depends: frames, instances
-- column:  whole | BIGINT | the image: its instance_id
-- column:  instance_id | BIGINT | the image too
-- column:  stack | VARCHAR | StackID; '' if the frame has none
-- column:  slice_key | BIGINT | frame_number
-- column:  series_key | VARCHAR | key to `series`
-- column:  position | DOUBLE[] | center of the first voxel, mm, LPS
-- column:  position_why_not | VARCHAR | why there is no position; null where there is one
-- column:  along_row | DOUBLE[] | direction cosines of a row
-- column:  along_column | DOUBLE[] | direction cosines of a column
-- column:  spacing | DOUBLE[] | mm between rows, between columns
-- column:  row_count | BIGINT | Rows
-- column:  column_count | BIGINT | Columns
-- column:  sample_count | BIGINT | SamplesPerPixel
-- column:  is_single | BOOLEAN | true: a frame is one slice
-- column:  temporal_position | BIGINT | TemporalPositionIndex
-- column:  acquired_us | BIGINT | FrameAcquisitionDateTime, or FrameReferenceDateTime, µs since 1970
-- column:  elapsed_ms | DOUBLE | TemporalPositionTimeOffset in ms, or frame_time_ms
-- column:  trigger_ms | DOUBLE | NominalCardiacTriggerDelayTime
-- column:  acquisition_number | BIGINT | FrameAcquisitionNumber
-- column:  content_us | BIGINT | null: frames do not state it
-- column:  number | BIGINT | frame_number
-- column:  cardiac_percent | DOUBLE | NominalPercentageOfCardiacPhase
-- column:  respiratory_ms | DOUBLE | NominalRespiratoryTriggerDelayTime
-- column:  respiratory_percent | DOUBLE | NominalPercentageOfRespiratoryPhase
-- column:  b_value | DOUBLE | DiffusionBValue, s/mm²
-- column:  direction | DOUBLE[] | DiffusionGradientOrientation at length one; null if it is far from a unit vector
-- column:  echo_time | DOUBLE | EffectiveEchoTime, ms
-- column:  inversion_time | DOUBLE[] | InversionTimes, ms
-- column:  flip_angle | DOUBLE | degrees
-- column:  repetition_time | DOUBLE | ms
-- column:  echo_number | BIGINT | null: frames do not state it
-- column:  kind | VARCHAR[] | FrameType and ComplexImageComponent
-- column:  segment | BIGINT[] | ReferencedSegmentNumber
-- column:  tube_voltage | DOUBLE | null: frames do not state it
-- column:  kernel | VARCHAR[] | null: frames do not state it
-- column:  vectors | BIGINT[] | nuclear medicine: numbers of energy window, detector, phase, rotation, R-R interval, time slot, angular view and time slice; null if none is stated
create or replace view frame_slices as
select
    frames.instance_id as whole,
    frames.instance_id,
    coalesce(frames.StackID, '') as stack,
    frames.frame_number as slice_key,
    frames.series_key,
    frames.ImagePositionPatient as position,
    frames.position_why_not,
    if(
        len(frames.ImageOrientationPatient) = 6, frames.ImageOrientationPatient[1:3], null
    ) as along_row,
    if(
        len(frames.ImageOrientationPatient) = 6, frames.ImageOrientationPatient[4:6], null
    ) as along_column,
    frames.PixelSpacing as spacing,
    instances."Rows" as row_count,
    instances."Columns" as column_count,
    instances.SamplesPerPixel as sample_count,
    true as is_single,
    frames.TemporalPositionIndex as temporal_position,
    epoch_us(coalesce(
        frames.FrameAcquisitionDateTime, frames.FrameReferenceDateTime
    )) as acquired_us,
    coalesce(1000 * frames.TemporalPositionTimeOffset, frames.frame_time_ms) as elapsed_ms,
    frames.NominalCardiacTriggerDelayTime as trigger_ms,
    frames.FrameAcquisitionNumber as acquisition_number,
    cast(null as bigint) as content_us,
    frames.frame_number as number,
    frames.NominalPercentageOfCardiacPhase as cardiac_percent,
    frames.NominalRespiratoryTriggerDelayTime as respiratory_ms,
    frames.NominalPercentageOfRespiratoryPhase as respiratory_percent,
    frames.DiffusionBValue as b_value,
    gradient_direction(frames.DiffusionGradientOrientation) as direction,
    frames.EchoTime as echo_time,
    frames.InversionTimes as inversion_time,
    frames.FlipAngle as flip_angle,
    frames.RepetitionTime as repetition_time,
    cast(null as bigint) as echo_number,
    if(
        frames.ComplexImageComponent is null, frames.FrameType,
        coalesce(frames.FrameType, []) || [frames.ComplexImageComponent]
    ) as kind,
    frames.ReferencedSegmentNumber as segment,
    cast(null as double) as tube_voltage,
    cast(null as varchar[]) as kernel,
    if(
        coalesce(
            frames.energy_window_number, frames.detector_number, frames.phase_number,
            frames.rotation_number, frames.rr_interval_number, frames.time_slot_number,
            frames.angular_view_number, frames.time_slice_number
        ) is null,
        null,
        [
            frames.energy_window_number, frames.detector_number, frames.phase_number,
            frames.rotation_number, frames.rr_interval_number, frames.time_slot_number,
            frames.angular_view_number, frames.time_slice_number
        ]
    ) as vectors
from frames
join instances on frames.instance_id = instances.instance_id
where instances.pixel_offset is not null;
