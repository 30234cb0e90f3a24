-- Files of a series as they were ingested, with a name for a copy of each: an instance may have no UID.
select
    coalesce(SOPInstanceUID, replace(instance_key, ':', '-')) as name,
    file_path,
    size_bytes,
    epoch_us(modified_at) as modified_us
from files
where
    status = 'ingested'
    and instance_id in (select instance_id from instances where series_key = $1)
