-- One row per frame as a slice of a stack: where it lies, and what tells it from its neighbours.
--
-- What `geometry_of` needs to judge the frames of an image; `image_slices` has the same columns for
-- the images of a series.
--
-- grain:   whole, slice_key
-- depends: frames, instances
-- column:  whole | BIGINT | the image: its instance_id
-- column:  stack | VARCHAR | StackID; '' if the frame has none
-- column:  slice_key | BIGINT | frame_number
-- column:  position | DOUBLE[] | centre of the first voxel, mm, LPS
-- column:  along_row | DOUBLE[] | direction cosines of a row
-- column:  along_column | DOUBLE[] | direction cosines of a column
-- column:  spacing | DOUBLE[] | mm between rows, between columns
-- column:  row_count | BIGINT | Rows
-- column:  column_count | BIGINT | Columns
-- column:  sample_count | BIGINT | SamplesPerPixel
-- column:  is_single | BOOLEAN | true: a frame is one slice
-- column:  moment | BIGINT | when: TemporalPositionIndex, else µs after the R peak, else date and time of acquisition in µs
-- column:  diffusion | DOUBLE[] | b-value in s/mm² and gradient direction
-- column:  echo_time | DOUBLE | ms
-- column:  inversion_time | DOUBLE | null: frames do not state it
-- column:  flip_angle | DOUBLE | null: frames do not state it
-- column:  kind | VARCHAR[] | FrameType
-- column:  segment | BIGINT[] | ReferencedSegmentNumber
create or replace view frame_slices as
select
    frames.instance_id as whole,
    coalesce(frames.StackID, '') as stack,
    frames.frame_number as slice_key,
    frames.ImagePositionPatient as position,
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
    coalesce(
        frames.TemporalPositionIndex,
        try_cast(1000 * frames.NominalCardiacTriggerDelayTime as bigint),
        epoch_us(frames.FrameAcquisitionDateTime)
    ) as moment,
    if(
        frames.DiffusionBValue is null and frames.DiffusionGradientOrientation is null, null,
        [frames.DiffusionBValue] || coalesce(frames.DiffusionGradientOrientation, [])
    ) as diffusion,
    frames.EffectiveEchoTime as echo_time,
    cast(null as double) as inversion_time,
    cast(null as double) as flip_angle,
    frames.FrameType as kind,
    frames.ReferencedSegmentNumber as segment
from frames
join instances on frames.instance_id = instances.instance_id
where instances.pixel_offset is not null;
