-- Every stored instance belongs to exactly one ingested file.
--
-- depends: instances, files
select instances.instance_id, instances.path
from instances
left join files
    on instances.instance_id = files.instance_id and files.status = 'ingested'
where files.path is null or files.path <> instances.path
