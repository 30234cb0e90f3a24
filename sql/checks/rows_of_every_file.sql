-- Every file that was read for its elements has rows of them.
--
-- depends: elements, files
select files.file_path, files.batch
from files
left join (select distinct instance_id from elements) as present
    on files.instance_id = present.instance_id
where
    files.status = 'ingested'
    and present.instance_id is null
    -- In mode normal a file of nothing but private elements has none.
    and (files.mode = 'full' or (files.mode = 'normal' and files.SOPInstanceUID is not null))
