-- What a query at image level can ask, and where the bytes of an instance are.
select
    instances.* exclude (file_path),
    files.file_path,
    files.size_bytes,
    epoch_us(files.modified_at) as modified_us
from instances
inner join files using (file_path)
where instances.SOPInstanceUID is not null and instances.SeriesInstanceUID is not null
