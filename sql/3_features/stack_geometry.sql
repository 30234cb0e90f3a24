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
-- column:  position_count | BIGINT | distinct positions along the normal: slices per volume
-- column:  volume_count | BIGINT | number of volumes: the largest number of frames at one position; null if frames are not parallel
-- column:  complete_volume_count | BIGINT | number of volumes with all positions: the smallest number of frames at one position
-- column:  volumes_differ_in | VARCHAR[] | attributes that differ between frames at one position: time, trigger time, cardiac phase, respiratory phase, diffusion, echo, inversion, flip angle, repetition time, image type, segment, tube voltage, kernel, nuclear medicine vectors; empty if no stated attribute differs
-- column:  has_geometry | BOOLEAN | every frame has position, orientation, pixel spacing and size, all below 1 km
-- column:  has_single_shape | BOOLEAN | Rows, Columns and SamplesPerPixel are equal in all
-- column:  has_single_spacing | BOOLEAN | PixelSpacing is equal in all
-- column:  has_single_orientation | BOOLEAN | all orientations equal the first one: slices are parallel
-- column:  is_orthonormal | BOOLEAN | row and column directions are orthogonal unit vectors
-- column:  has_unique_positions | BOOLEAN | no two frames at one position along the normal
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
-- column:  is_volume | BOOLEAN | all conditions hold, with two slices or more
-- column:  is_volume_stack | BOOLEAN | several volumes at the same positions: all other conditions hold, and positions occur equally often, with the same conditions each, or something stated differs
-- column:  why_not | VARCHAR | why it is not a volume; null if it is
create or replace view stack_geometry as
select
    geometry.whole as instance_id,
    instances.series_key,
    geometry.stack,
    geometry.slice_count as frame_count,
    geometry.* exclude (whole, stack, slice_count, has_one_frame_each)
from geometry_of('frame_slices') as geometry
join instances on geometry.whole = instances.instance_id;
