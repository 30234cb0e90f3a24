-- Every stored instance belongs to exactly one ingested file.
--
-- depends: instances, files
select instances.instance_id, instances.file_path
from instances
left join files
    on instances.instance_id = files.instance_id and files.status = 'ingested'
where files.file_path is null or files.file_path <> instances.file_path
