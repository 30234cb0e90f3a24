-- One row per file whose instance is held by another file.
--
-- The file whose path comes first holds the instance; which one was read first does not matter.
--
-- grain:   path
-- depends: files
-- column:  path | VARCHAR | file that is a duplicate
-- column:  held_by | VARCHAR | file whose rows stand for the instance
-- column:  instance_key | VARCHAR | identity of the instance
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
create or replace view duplicates as
select
    duplicate_files.path,
    holders.path as held_by,
    duplicate_files.instance_key,
    duplicate_files.SOPInstanceUID
from files as duplicate_files
left join files as holders
    on duplicate_files.instance_key = holders.instance_key and holders.status = 'ingested'
where duplicate_files.status = 'duplicate';
