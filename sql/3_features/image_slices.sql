-- One row per image as a slice of its series: where it lies, and what tells it from its neighbours.
--
-- What `geometry_of` needs to judge the images of a series; `frame_slices` has the same columns for
-- the frames of an image.
--
-- grain:   whole, slice_key
-- depends: instances
-- column:  whole | VARCHAR | the series: its series_key
-- column:  stack | VARCHAR | '': a series is one stack
-- column:  slice_key | VARCHAR | the image: its instance_key
-- column:  position | DOUBLE[] | centre of the first voxel, mm, LPS
-- column:  along_row | DOUBLE[] | direction cosines of a row
-- column:  along_column | DOUBLE[] | direction cosines of a column
-- column:  spacing | DOUBLE[] | mm between rows, between columns
-- column:  row_count | BIGINT | Rows
-- column:  column_count | BIGINT | Columns
-- column:  sample_count | BIGINT | SamplesPerPixel
-- column:  is_single | BOOLEAN | the image is one slice: neither several frames nor a mosaic
-- column:  moment | BIGINT | when: TemporalPositionIdentifier, else date and time of acquisition in µs
-- column:  diffusion | DOUBLE[] | b-value in s/mm²
-- column:  echo_time | DOUBLE | ms
-- column:  inversion_time | DOUBLE | ms
-- column:  flip_angle | DOUBLE | degrees
-- column:  kind | VARCHAR[] | ImageType
-- column:  segment | BIGINT[] | null: images have no segments
create or replace view image_slices as
select
    series_key as whole,
    '' as stack,
    instance_key as slice_key,
    ImagePositionPatient as position,
    if(len(ImageOrientationPatient) = 6, ImageOrientationPatient[1:3], null) as along_row,
    if(len(ImageOrientationPatient) = 6, ImageOrientationPatient[4:6], null) as along_column,
    PixelSpacing as spacing,
    "Rows" as row_count,
    "Columns" as column_count,
    SamplesPerPixel as sample_count,
    coalesce(NumberOfFrames, 1) = 1
    and not coalesce(list_contains(ImageType, 'MOSAIC'), false) as is_single,
    coalesce(
        TemporalPositionIdentifier,
        coalesce(epoch_us(AcquisitionDate), 0) + epoch_us(AcquisitionTime)
    ) as moment,
    if(DiffusionBValue is null, null, [DiffusionBValue]) as diffusion,
    EchoTime as echo_time,
    InversionTime as inversion_time,
    FlipAngle as flip_angle,
    ImageType as kind,
    cast(null as bigint[]) as segment
from instances
where pixel_offset is not null and series_key is not null;
