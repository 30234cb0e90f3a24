-- One row per series: whether its images make a volume, with one column per condition.
--
-- Slices are ordered by their position along the normal of the first image, never by
-- InstanceNumber. A series is a volume if every condition holds; `why_not` names those that do
-- not, with figures. If all hold but that positions are unique, it is a stack of volumes, over time
-- or whatever `volumes_differ_in` names. Images of several frames and Siemens mosaics hold more than
-- one slice each and are no volume here: see `stack_geometry` and `mosaic_geometry`. Tolerances:
-- cosine_tolerance(), spacing_tolerance() of a spacing and drift_tolerance_pixels(), or twice
-- rounding_mm() of the pixel spacing, whichever is larger.
--
-- grain:   series_key
-- example: select series_key, is_volume, why_not from series_geometry limit 5
-- depends: image_slices, unread_series
-- column:  series_key | VARCHAR | key to `series`; only series with images
-- column:  slice_count | BIGINT | images of one frame each
-- column:  position_count | BIGINT | distinct positions along the normal: slices per volume
-- column:  volume_count | BIGINT | number of volumes: the largest number of images at one position; null if images are not parallel
-- column:  complete_volume_count | BIGINT | number of volumes with all positions: the smallest number of images at one position
-- column:  volumes_differ_in | VARCHAR[] | attributes that differ between images at one position: time, trigger time, cardiac phase, respiratory phase, diffusion, echo, inversion, flip angle, repetition time, image type, segment, tube voltage, kernel, nuclear medicine vectors; empty if no stated attribute differs
-- column:  has_geometry | BOOLEAN | every image has position, orientation, pixel spacing and size, all below 1 km
-- column:  has_one_frame_each | BOOLEAN | no image holds several frames or is a mosaic
-- column:  has_single_shape | BOOLEAN | Rows, Columns and SamplesPerPixel are equal in all
-- column:  has_single_spacing | BOOLEAN | PixelSpacing is equal in all
-- column:  has_single_orientation | BOOLEAN | all orientations equal the first one: slices are parallel
-- column:  is_orthonormal | BOOLEAN | row and column directions are orthogonal unit vectors
-- column:  has_unique_positions | BOOLEAN | no two images at one position along the normal
-- column:  is_complete | BOOLEAN | no gap is large enough for a missing slice at the usual spacing
-- column:  is_evenly_spaced | BOOLEAN | all positions lie on a regular grid
-- column:  is_aligned | BOOLEAN | positions lie on a line along the normal: no gantry tilt
-- column:  slice_spacing_mm | DOUBLE | distance between positions along the normal; the median if they are uneven
-- column:  distances_mm | DOUBLE[] | distinct distances between neighboring positions, ascending; one if they are even
-- column:  missing_count | BIGINT | number of slices missing in gaps
-- column:  drift_mm | DOUBLE | largest shift of a slice within its plane, against the first
-- column:  tilt_degrees | DOUBLE | angle between the normal and the line from the first position to the last, 0 to 90
-- column:  extent_mm | DOUBLE[] | along columns, rows and slices, outer edges
-- column:  affine | DOUBLE[] | of the volume or of each in the stack; 4 × 4, row-major: maps (column, row, slice, 1), from 0, to the voxel center in mm, LPS
-- column:  not_read | VARCHAR | what was not stored by the import mode: it distinguishes volumes at the same positions, or may have positions that are missing; then `volumes_differ_in`, `is_volume_stack` and the affine are null; null if nothing
-- column:  is_volume | BOOLEAN | all conditions hold, with two slices or more
-- column:  is_volume_stack | BOOLEAN | several volumes at the same positions: all other conditions hold, and positions occur equally often, with the same conditions each, or something stated differs
-- column:  why_not | VARCHAR | why it is not a volume; null if it is
create or replace view series_geometry as
with judged as (
    select
        geometry.*,
        -- Positions that are missing may be in functional groups.
        if(
            geometry.volume_count > 1 or geometry.position_count is null, unread_series.elements_not_read, null
        ) as not_read
    from geometry_of('image_slices') as geometry
    left join unread_series on geometry.whole = unread_series.series_key
)

select
    whole as series_key,
    * exclude (whole, stack, affine, is_volume, is_volume_stack, why_not, not_read)
    replace (if(not_read is null, volumes_differ_in, null) as volumes_differ_in),
    if(not_read is null, affine, null) as affine,
    not_read,
    is_volume,
    if(not_read is null, is_volume_stack, null) as is_volume_stack,
    coalesce(not_read, why_not) as why_not
from judged;
