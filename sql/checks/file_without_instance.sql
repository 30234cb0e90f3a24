-- Every ingested file has its instance.
--
-- depends: instances, files
select files.file_path, files.instance_id
from files
left join instances on files.instance_id = instances.instance_id
where files.status = 'ingested' and instances.instance_id is null
