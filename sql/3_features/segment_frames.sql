-- One row per frame of a segmentation: its segment, source image and position.
--
-- From headers alone: no pixel is read. A frame of a label map holds all segments, and names none. Frames
-- beyond the functional groups, functional groups beyond the frames, and frames of a segment that the object does
-- not have, have a row and the reason. Positions are those of `frames`.
--
-- grain:   instance_id, frame_number
-- depends: frames, instances, normal_elements
-- column:  instance_id | BIGINT | key to `instances`
-- column:  frame_number | BIGINT | from 1
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018) of the segmentation
-- column:  segment_number | BIGINT | Referenced Segment Number (0062,000B): a segment of `segmentations`
-- column:  segment_why_not | VARCHAR | why segment_number is null or of no segment; null if it is of one
-- column:  source_instance_uid | VARCHAR | SOPInstanceUID of the first source image that the frame names
-- column:  source_frame_numbers | BIGINT[] | frames of that image, from 1; null if none are referenced
-- column:  source_instance_uids | VARCHAR[] | all source images, in order; null if the frame references none
-- column:  ImagePositionPatient | DOUBLE[] | Image Position (Patient) (0020,0032), mm, LPS
-- column:  ImageOrientationPatient | DOUBLE[] | Image Orientation (Patient) (0020,0037), direction cosines of a row, then of a column
-- column:  position_why_not | VARCHAR | why ImagePositionPatient is null; null if it is not
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm, as stated: positions decide where they say otherwise
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that all other columns are null; null if nothing
create or replace view segment_frames as
with objects as (
    select
        instance_id,
        series_key,
        SOPInstanceUID,
        NumberOfFrames
    from instances
    where Modality = 'SEG' or SOPClassUID in ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
),

-- Images that a frame names, or all frames together (frame is null).
each_source as (
    select
        instance_id,
        try_cast(regexp_extract(path, '^PerFrameFunctionalGroupsSequence\[(\d+)\]', 1) as bigint) as frame,
        list_transform(regexp_extract_all(path, '\[(\d+)\]', 1), lambda n: try_cast(n as bigint)) as place,
        any_value(text) filter (where tag = '00081155') as uid,
        list("integer" order by "index") filter (where tag = '00081160' and vm > 0) as frame_numbers
    from normal_elements
    where
        tag in ('00081155', '00081160')
        -- Of the sorted table only the rows between both names are read.
        and path between 'PerFrameFunctionalGroupsSequence[' and 'SharedFunctionalGroupsSequence]'
        and regexp_full_match(
            path,
            '(PerFrameFunctionalGroupsSequence\[\d+\]|SharedFunctionalGroupsSequence\[0\])'
            || '\.DerivationImageSequence\[\d+\]\.SourceImageSequence\[\d+\]'
        )
        and instance_id in (select objects.instance_id from objects)
    group by instance_id, path
),

sources as (
    select
        instance_id,
        frame,
        list(uid order by place) as uids,
        arg_min(frame_numbers, place) as frame_numbers
    from each_source
    where uid is not null
    group by instance_id, frame
),

numbers as (
    select distinct
        instance_id,
        "integer" as number
    from normal_elements
    where
        tag = '00620004' and "index" = 0
        and path between 'SegmentSequence[' and 'SegmentSequence]'
        and regexp_full_match(path, 'SegmentSequence\[\d+\]')
),

kinds as (
    select
        instance_id,
        any_value(text) = 'LABELMAP' as is_label_map
    from normal_elements
    where tag = '00620001' and path = '' and "index" = 0
    group by instance_id
)

select
    objects.instance_id,
    frames.frame_number,
    objects.series_key,
    objects.SOPInstanceUID,
    if(len(frames.ReferencedSegmentNumber) = 1, frames.ReferencedSegmentNumber[1], null) as segment_number,
    case
        when frames.not_read is not null then null
        when frames.frame_number > coalesce(nullif(objects.NumberOfFrames, 0), 1)
            then 'functional groups of a frame that the object does not have'
        when kinds.is_label_map then 'a frame of a label map holds all segments'
        when not frames.has_own_groups and frames.ReferencedSegmentNumber is null
            then 'no functional groups describe the frame'
        when frames.ReferencedSegmentNumber is null then 'the frame names no segment'
        when len(frames.ReferencedSegmentNumber) > 1 then 'the frame names several segments'
        when numbers.number is null then 'the object has no segment of that number'
    end as segment_why_not,
    coalesce(own.uids, shared.uids)[1] as source_instance_uid,
    if(own.uids is null, shared.frame_numbers, own.frame_numbers) as source_frame_numbers,
    coalesce(own.uids, shared.uids) as source_instance_uids,
    frames.ImagePositionPatient,
    frames.ImageOrientationPatient,
    frames.position_why_not,
    frames.PixelSpacing,
    frames.SliceThickness,
    frames.SpacingBetweenSlices,
    frames.not_read
from objects
join frames on objects.instance_id = frames.instance_id
left join sources as own on frames.instance_id = own.instance_id and frames.frame_number - 1 = own.frame
left join sources as shared on frames.instance_id = shared.instance_id and shared.frame is null
left join numbers
    on frames.instance_id = numbers.instance_id and frames.ReferencedSegmentNumber[1] = numbers.number
left join kinds on objects.instance_id = kinds.instance_id;
