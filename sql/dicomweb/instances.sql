-- Which instances a resource of DICOMweb has, and where their files lie.
--
-- $1, $2 and $3 are keys, $4 is the path of a file; null takes all of them.
select
    instances.instance_id,
    instances.instance_key,
    instances.series_key,
    instances.study_key,
    instances.SOPClassUID,
    instances.TransferSyntaxUID,
    instances.NumberOfFrames,
    instances.pixel_offset is not null as has_pixels,
    instances.file_path,
    files.size_bytes,
    epoch_us(files.modified_at) as modified_us
from instances
inner join files on instances.instance_id = files.instance_id
where
    ($1 is null or instances.study_key = $1)
    and ($2 is null or instances.series_key = $2)
    and ($3 is null or instances.instance_key = $3)
    and ($4 is null or instances.file_path = $4)
order by
    instances.study_key, instances.series_key, instances.InstanceNumber, instances.instance_key
