-- One row per file whose instance is stored from another file.
--
-- A used SOP Instance UID does not make a copy: `dicom-warehouse duplicates` and `wh.duplicates()`
-- read both files and say whether and where they differ. The file whose path comes first holds the instance; which one was read first does not matter.
--
-- grain:   file_path
-- depends: files
-- column:  file_path | VARCHAR | file that is a duplicate
-- column:  held_by | VARCHAR | file from which the rows of the instance were read
-- column:  instance_key | VARCHAR | identity of the instance
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  is_same_size | BOOLEAN | both files have as many bytes, as copies have
-- column:  is_same_pixel_length | BOOLEAN | their pixel data have the same length; null without pixel data, or if transfer syntaxes differ
create or replace view duplicates as
select
    duplicate_files.file_path,
    holders.file_path as held_by,
    duplicate_files.instance_key,
    duplicate_files.SOPInstanceUID,
    duplicate_files.size_bytes = holders.size_bytes as is_same_size,
    if(
        duplicate_files.TransferSyntaxUID is not distinct from holders.TransferSyntaxUID
        and coalesce(duplicate_files.pixel_length, holders.pixel_length) is not null,
        duplicate_files.pixel_length is not distinct from holders.pixel_length, null
    ) as is_same_pixel_length
from files as duplicate_files
left join files as holders
    on duplicate_files.instance_key = holders.instance_key and holders.status = 'ingested'
where duplicate_files.status = 'duplicate';
