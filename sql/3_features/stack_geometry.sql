-- One row per stack of a multi-frame image: whether its frames make a volume.
--
-- The same conditions as in `series_geometry`, for frames with one StackID; frames without any are
-- one stack. A stack of volumes has several frames at each position: over time, diffusion, echoes,
-- or the segments of a segmentation. A segmentation may leave out empty frames: then slices are
-- missing.
--
-- grain:   instance_id, stack
-- depends: frame_slices, instances
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  stack | VARCHAR | StackID; '' if frames have none
-- column:  frame_count | BIGINT | frames of the stack
-- column:  position_count | BIGINT | different positions along the normal: slices per volume
-- column:  volume_count | BIGINT | volumes: frames at the position that has most; null if frames are not parallel
-- column:  complete_volume_count | BIGINT | volumes that have all positions: frames at the position that has fewest
-- column:  volumes_differ_in | VARCHAR[] | what differs between frames at one position: time, trigger time, cardiac phase, respiratory phase, diffusion, echo, inversion, flip angle, repetition time, image type, segment, tube voltage, kernel, nuclear medicine vectors; empty if nothing stated does
-- column:  has_geometry | BOOLEAN | every frame has position, orientation, pixel spacing and size, none of them beyond 1 km
-- column:  has_single_shape | BOOLEAN | Rows, Columns and SamplesPerPixel are the same in all
-- column:  has_single_spacing | BOOLEAN | PixelSpacing is the same in all
-- column:  has_single_orientation | BOOLEAN | all directions are those of the first: the slices are parallel
-- column:  is_orthonormal | BOOLEAN | rows and columns are at right angles, and their directions of length one
-- column:  has_unique_positions | BOOLEAN | no two frames at one position along the normal
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
-- column:  is_volume | BOOLEAN | all conditions hold, with two slices or more
-- column:  is_volume_stack | BOOLEAN | several volumes at the same positions: all other conditions hold, and positions occur equally often, with the same conditions each, or something stated differs
-- column:  why_not | VARCHAR | what is against a volume; null for one
create or replace view stack_geometry as
select
    geometry.whole as instance_id,
    instances.series_key,
    geometry.stack,
    geometry.slice_count as frame_count,
    geometry.* exclude (whole, stack, slice_count, has_one_frame_each)
from geometry_of('frame_slices') as geometry
join instances on geometry.whole = instances.instance_id;
