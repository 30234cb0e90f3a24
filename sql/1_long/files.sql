-- One row per source file that was listed by an ingest, with its status.
--
-- grain:   file_path
-- example: select status, reason, count(*) as n from files group by all order by n desc
-- table:   files
-- column:  batch | VARCHAR | ingest batch that read the file last
-- column:  file_path | VARCHAR | absolute path; archive.zip!/member inside an archive; a file URL if the name is not UTF-8
-- column:  status | VARCHAR | ingested, duplicate (another file holds the same instance), rejected or removed
-- column:  reason | VARCHAR | why the file was rejected, or what is unusual about an ingested file
-- column:  error_offset | BIGINT | byte at which a rejected file stopped making sense
-- column:  size_bytes | BIGINT | size when it was read; null if it could not be
-- column:  modified_at | TIMESTAMP | modification time when it was read, UTC; of the archive for its members
-- column:  mode | VARCHAR | import mode: minimal, normal or full
-- column:  reader | VARCHAR | which reader took it: fast or pydicom
-- column:  instance_id | BIGINT | key to `instances` and `elements`; null unless ingested
-- column:  instance_key | VARCHAR | identity of the instance in the file
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  TransferSyntaxUID | VARCHAR | Transfer Syntax UID (0002,0010)
-- column:  pixel_offset | BIGINT | first byte of the pixel data in the file; null without pixel data
-- column:  pixel_length | BIGINT | bytes of the pixel data, item headers included if encapsulated
-- column:  is_encapsulated | BOOLEAN | the pixel data are compressed fragments
create or replace view files as
select
    batch,
    path as file_path,
    status,
    reason,
    error_offset,
    size_bytes,
    modified_at,
    mode,
    reader,
    instance_id,
    instance_key,
    SOPInstanceUID,
    TransferSyntaxUID,
    pixel_offset,
    pixel_length,
    is_encapsulated
from read_parquet(
    getvariable('stored').files, hive_partitioning = true, hive_types = {'batch': varchar}
);
