-- One row per segment of a segmentation, with its volume in ml if its frames were counted.
--
-- Counting reads pixels: `wh.measure_segments()`, or the asset `segment_measurements`, does it for objects that are new
-- or whose file or images have changed. Before that, and where a volume is not known, `volume_why_not` says why. A value
-- of a label map that no segment describes has a row without `item`.
--
-- grain:   instance_id, item, SegmentNumber
-- depends: segmentations, instances, files, measured_segments
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Segment Sequence, from 0; null if elements were not read, and for values without a segment
-- column:  instance_key | VARCHAR | identity of the segmentation
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  SegmentNumber | BIGINT | Segment Number (0062,0004)
-- column:  SegmentLabel | VARCHAR | Segment Label (0062,0005)
-- column:  segmented_SeriesInstanceUID | VARCHAR | series of the images
-- column:  voxel_count | DOUBLE | voxels, of a fractional segmentation the sum of fractions
-- column:  volume_ml | DOUBLE | their volume, ml
-- column:  grid_series_uid | VARCHAR | series whose grid defined the voxel size; null if the frames defined it
-- column:  volume_why_not | VARCHAR | why volume_ml is null, or what is unusual about the segment; null if nothing
-- column:  warnings | VARCHAR[] | parts of the object that were not used, and contradictions in it
-- column:  state | VARCHAR | digest of the size and modification time of the file and of the segmented images: the state that the numbers are valid for
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view segment_volumes as
with
    segmented as (
        select distinct
            instance_id,
            segmented_SeriesInstanceUID as series_uid
        from segmentations
        where not_read is null
    ),

    images as (
        select
            instances.SeriesInstanceUID as series_uid,
            count(*) as image_count,
            max(epoch_us(files.modified_at)) as changed_us
        from instances
        join files on instances.instance_id = files.instance_id
        where instances.SeriesInstanceUID in (select segmented.series_uid from segmented)
        group by instances.SeriesInstanceUID
    ),

    states as (
        select
            segmented.instance_id,
            instances.instance_key,
            sha256(concat_ws(
                ' ', files.size_bytes, epoch_us(files.modified_at), images.series_uid, images.image_count,
                images.changed_us
            )) as state
        from segmented
        join instances on segmented.instance_id = instances.instance_id
        join files on segmented.instance_id = files.instance_id
        left join images on segmented.series_uid = images.series_uid
    ),

    measured as (
        select
            states.instance_id,
            measured_segments.*
        from states
        join measured_segments
            on states.instance_key = measured_segments.instance_key and states.state = measured_segments.state
    ),

    undescribed as (
        select *
        from measured
        where
            SegmentNumber >= 0
            and not exists (
                select 1
                from segmentations
                where
                    segmentations.instance_id = measured.instance_id
                    and segmentations.SegmentNumber = measured.SegmentNumber
            )
    )

select
    segments.instance_id,
    segments.item,
    instances.instance_key,
    segments.series_key,
    segments.SOPInstanceUID,
    segments.SegmentNumber,
    segments.SegmentLabel,
    segments.segmented_SeriesInstanceUID,
    if(segments.segment_why_not is null, measured.voxel_count, null) as voxel_count,
    if(segments.segment_why_not is null, measured.volume_ml, null) as volume_ml,
    measured.grid_series_uid,
    if(segments.not_read is null, coalesce(
        segments.segment_why_not, measured.why_not, if(measured.instance_id is null, 'not measured yet', null)
    ), null) as volume_why_not,
    measured.warnings,
    states.state,
    segments.not_read
from segmentations as segments
join instances on segments.instance_id = instances.instance_id
left join states on segments.instance_id = states.instance_id
left join measured
    on segments.instance_id = measured.instance_id and segments.SegmentNumber = measured.SegmentNumber
union all by name
select
    undescribed.instance_id,
    cast(null as bigint) as item,
    instances.instance_key,
    instances.series_key,
    instances.SOPInstanceUID,
    undescribed.SegmentNumber,
    cast(null as varchar) as SegmentLabel,
    segmented.series_uid as segmented_SeriesInstanceUID,
    undescribed.voxel_count,
    undescribed.volume_ml,
    undescribed.grid_series_uid,
    undescribed.why_not as volume_why_not,
    undescribed.warnings,
    undescribed.state,
    cast(null as varchar) as not_read
from undescribed
join instances on undescribed.instance_id = instances.instance_id
join segmented on undescribed.instance_id = segmented.instance_id;
