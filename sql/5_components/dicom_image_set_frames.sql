-- One row per frame of a DICOM image set: a value that is a series of the archive.
--
-- The six keys that Grand Challenge keeps of each frame. One instance is one file, whatever frames it
-- has. The identity of a frame is a digest of its instance and number.
--
-- grain:   value_id, image_frame_id
-- depends: socket_values, instances
-- column:  value_id | VARCHAR | key to `socket_values`
-- column:  image_frame_id | VARCHAR | identity of the frame, 32 hex digits
-- column:  frame_number | BIGINT | number of the frame in its instance, from 1
-- column:  frame_size_in_bytes | BIGINT | bytes of the pixels of a native frame; of a compressed one the mean of its instance
-- column:  study_instance_uid | VARCHAR | study
-- column:  series_instance_uid | VARCHAR | series
-- column:  sop_instance_uid | VARCHAR | instance, and the name of its file
-- column:  stored_transfer_syntax_uid | VARCHAR | how the pixels are encoded
create or replace view dicom_image_set_frames as
select
    socket_values.value_id,
    md5(concat(instances.instance_key, '/', frames.number)) as image_frame_id,
    frames.number as frame_number,
    if(
        instances.is_encapsulated, instances.pixel_length // frames.count,
        -- The value may have a padding byte.
        least(
            instances.pixel_length // frames.count,
            (
                cast(instances.Rows as bigint) * instances.Columns
                * coalesce(instances.SamplesPerPixel, 1) * instances.BitsAllocated + 7
            ) // 8
        )
    ) as frame_size_in_bytes,
    instances.StudyInstanceUID as study_instance_uid,
    instances.SeriesInstanceUID as series_instance_uid,
    instances.SOPInstanceUID as sop_instance_uid,
    instances.TransferSyntaxUID as stored_transfer_syntax_uid
from socket_values
inner join instances on socket_values.series_key = instances.series_key
cross join lateral (
    -- A header may say more frames than there are bytes.
    select
        stated.frames as count,
        unnest(range(1, stated.frames + 1)) as number
    from (
        select
            if(
                coalesce(instances.NumberOfFrames, 1) between 1 and instances.pixel_length,
                coalesce(instances.NumberOfFrames, 1), 1
            ) as frames
    ) as stated
) as frames
where socket_values.form = 'series' and instances.pixel_offset is not null;
