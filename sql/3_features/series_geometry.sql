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
-- column:  series_key | VARCHAR | the series; only those with images
-- column:  slice_count | BIGINT | images of one frame each
-- column:  position_count | BIGINT | different positions along the normal: slices per volume
-- column:  volume_count | BIGINT | volumes: images at the position that has most; null if images are not parallel
-- column:  complete_volume_count | BIGINT | volumes that have all positions: images at the position that has fewest
-- column:  volumes_differ_in | VARCHAR[] | what differs between images at one position: time, trigger time, cardiac phase, respiratory phase, diffusion, echo, inversion, flip angle, repetition time, image type, segment, tube voltage, kernel, nuclear medicine vectors; empty if nothing stated does
-- column:  has_geometry | BOOLEAN | every image has position, orientation, pixel spacing and size, none of them beyond 1 km
-- column:  has_one_frame_each | BOOLEAN | no image holds several frames or is a mosaic
-- column:  has_single_shape | BOOLEAN | Rows, Columns and SamplesPerPixel are the same in all
-- column:  has_single_spacing | BOOLEAN | PixelSpacing is the same in all
-- column:  has_single_orientation | BOOLEAN | all directions are those of the first: the slices are parallel
-- column:  is_orthonormal | BOOLEAN | rows and columns are at right angles, and their directions of length one
-- column:  has_unique_positions | BOOLEAN | no two images at one position along the normal
-- column:  is_complete | BOOLEAN | no gap with room for whole slices at the usual spacing
-- column:  is_evenly_spaced | BOOLEAN | all positions lie on a regular grid
-- column:  is_aligned | BOOLEAN | positions lie on a line along the normal: no gantry tilt
-- column:  slice_spacing_mm | DOUBLE | between positions, along the normal; if they are uneven the usual distance, which is the median
-- column:  distances_mm | DOUBLE[] | the different distances between neighboring positions, ascending; one if they are even
-- column:  missing_count | BIGINT | slices that gaps have room for
-- column:  drift_mm | DOUBLE | largest shift of a slice within its plane, against the first
-- column:  tilt_degrees | DOUBLE | between the normal and the line from the first position to the last, from 0 to 90
-- column:  extent_mm | DOUBLE[] | along columns, rows and slices, outer edges
-- column:  affine | DOUBLE[] | of the volume or of each in the stack: 4 × 4, row by row: (column, row, slice, 1), each from 0, to mm in LPS at the center of the voxel
-- column:  not_read | VARCHAR | what the import mode left out of what tells volumes at the same positions apart: `volumes_differ_in`, `is_volume_stack` and the affine are null; null if nothing
-- column:  is_volume | BOOLEAN | all conditions hold, with two slices or more
-- column:  is_volume_stack | BOOLEAN | several volumes at the same positions: all other conditions hold, and positions occur equally often, with the same conditions each, or something stated differs
-- column:  why_not | VARCHAR | what is against a volume; null for one
create or replace view series_geometry as
with judged as (
    select
        geometry.*,
        if(geometry.volume_count > 1, unread_series.elements_not_read, null) as not_read
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
