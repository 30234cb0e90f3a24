-- The rows of an instance lie in the batch of its file.
--
-- depends: elements, files
select files.path, files.batch, elements.batch as elements_batch
from files
join (select distinct instance_id, batch from elements) as elements
    on files.instance_id = elements.instance_id
where files.batch <> elements.batch
