-- An instance was read in the batch of its file.
--
-- depends: instances, files
select files.file_path, files.batch, instances.batch as instances_batch
from files
join instances on files.instance_id = instances.instance_id
where files.batch <> instances.batch
