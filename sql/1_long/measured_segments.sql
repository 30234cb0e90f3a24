-- One row per segment of a segmentation whose frames were counted: `segment_volumes` has the valid ones.
--
-- Made of pixels, when somebody asks for it, and not at ingest. A row is of one state of the file and of the images
-- that were segmented; after a change of either it counts no more, and the segments are counted again.
--
-- grain:   instance_key, state, SegmentNumber
-- table:   measured_segments
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  instance_key | VARCHAR | identity of the segmentation
-- column:  state | VARCHAR | digest of the measured state, see `segment_volumes`
-- column:  SegmentNumber | BIGINT | Segment Number (0062,0004), or the value in a label map; -1 for an object without numbers
-- column:  voxel_count | DOUBLE | voxels, of a fractional segmentation the sum of fractions; null if frames cannot be counted
-- column:  volume_ml | DOUBLE | their volume, ml; null if it is not known
-- column:  grid_series_uid | VARCHAR | series whose grid defined the voxel size; null if the frames defined it
-- column:  why_not | VARCHAR | why volume_ml is null, or what is unusual about the segment; null if nothing
-- column:  warnings | VARCHAR[] | parts that were not used, and contradictions
create or replace view measured_segments as
select
    batch,
    instance_key,
    state,
    SegmentNumber,
    voxel_count,
    volume_ml,
    grid_series_uid,
    why_not,
    warnings
from read_parquet(
    getvariable('stored').measured_segments, hive_partitioning = true, hive_types = {'batch': varchar}
);
